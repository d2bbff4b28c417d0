//! What is typed in place of serving: the store copied to standard output while it works, one taken in from standard input, the move of all records into PostgreSQL, and what is to be
//! said to one that was brought back.

use std::io::{Write as _, stderr, stdin, stdout};

use clap::Subcommand;
use jiff::Timestamp;
use records::{BackupError, MigrateError};

use crate::{options::Options, slot::Keeping};

#[derive(Clone, Copy, Debug, Subcommand)]
pub enum Command {
    /// Write a consistent copy of the records to standard output, while they are in use.
    Backup,
    /// Take a copy of the records from standard input; it takes their place when the store starts next.
    Restore,
    /// Copy the records of the folder, which no store may have open, into an empty database of PostgreSQL, as a whole or not at all.
    Migrate,
    /// Say that the database of PostgreSQL was brought back from a copy: watches list anew, and receipts hold for namespaces by their names.
    Restored,
}

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    #[error("the backup came to nothing")]
    Backup(#[from] BackupError),
    #[error("the move came to nothing")]
    Migrate(#[from] MigrateError),
    #[error("PostgreSQL was not told")]
    Restored(#[from] records::Error),
    #[error("records are in PostgreSQL, whose own tools copy it and bring it back")]
    KeptElsewhere,
    #[error("--postgres-url-file says where PostgreSQL is, and is missing")]
    NoPostgres,
}

impl Command {
    pub async fn carry_out(self, options: &Options) -> Result<(), CommandError> {
        let (folder, now) = (&options.data_dir, Timestamp::now());
        match (self, options.keeping()) {
            (Self::Backup, Keeping::Folder(_)) => {
                records::backup(folder, &mut stdout().lock())?;
            }
            (Self::Restore, Keeping::Folder(_)) => {
                records::restore(folder, &mut stdin().lock(), now)?;
                say(
                    "the backup is taken in; restart the store to use it: kubectl rollout restart statefulset/pilothouse-server",
                );
            }
            (Self::Migrate, Keeping::Postgres(settings)) => {
                for (table, amount) in records::migrate(folder, settings, now).await? {
                    let records::Amount { count, bytes } = amount;
                    say(&format!(
                        "{table}: {count} copied and counted, {bytes} bytes"
                    ));
                }
                say("all records are in PostgreSQL; what is in the folder stays as it is");
            }
            (Self::Backup | Self::Restore, Keeping::Postgres(_)) => {
                return Err(CommandError::KeptElsewhere);
            }
            (Self::Restored, Keeping::Postgres(settings)) => {
                records::restored(settings, now).await?;
            }
            (Self::Migrate | Self::Restored, Keeping::Folder(_)) => {
                return Err(CommandError::NoPostgres);
            }
        }
        Ok(())
    }
}

/// Nobody may listen; what was done stays done.
fn say(line: &str) {
    let _ = writeln!(stderr(), "{line}");
}
