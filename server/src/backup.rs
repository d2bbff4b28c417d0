//! The store copied to standard output while it works, and one taken in from standard input; both are typed in the store's pod.

use std::{
    io::{Write as _, stderr, stdin, stdout},
    path::Path,
};

use clap::Subcommand;
use jiff::Timestamp;
use records::BackupError;

#[derive(Clone, Copy, Debug, Subcommand)]
pub enum Command {
    /// Write a consistent copy of the records to standard output, while they are in use.
    Backup,
    /// Take a copy of the records from standard input; it takes their place when the store starts next.
    Restore,
}

impl Command {
    pub fn carry_out(self, folder: &Path) -> Result<(), BackupError> {
        match self {
            Self::Backup => records::backup(folder, &mut stdout().lock()),
            Self::Restore => {
                records::restore(folder, &mut stdin().lock(), Timestamp::now())?;
                // Nobody may listen; what was done stays done.
                let _ = writeln!(
                    stderr(),
                    "the backup is taken in; restart the store to use it: kubectl rollout restart statefulset/pilothouse-server"
                );
                Ok(())
            }
        }
    }
}
