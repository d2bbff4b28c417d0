//! A PostgreSQL beside the nodes of the local cluster, where the pods of the store reach it, with a user and a password.

use std::{env, fs, path::PathBuf};

use records::private::PrivatePostgres;

use crate::network;

/// The bridge of the local cluster, by which its guests are reached.
const ADDRESS: &str = "172.31.250.1";
/// Who is let in: from afar with a password only.
const ACCESS: &str = "local all all trust\nhost records pilothouse all scram-sha-256\n";

/// Ended and gone with its folder when dropped.
pub struct Postgres {
    server: PrivatePostgres,
    access: PathBuf,
}

impl Postgres {
    /// Starts one with an empty database.
    pub fn start() -> Self {
        let access = env::temp_dir().join(format!("pilothouse-access-{}", std::process::id()));
        fs::write(&access, ACCESS).expect("a file of its own");
        let listen = format!("listen_addresses={ADDRESS}");
        let rules = format!("hba_file={}", access.display());
        let server = network::within(|| PrivatePostgres::start(&[&listen, &rules]));
        let server = server.expect("a server of the package postgresql");
        for statement in [
            "CREATE USER pilothouse PASSWORD 'of-the-story'",
            "CREATE DATABASE records OWNER pilothouse ENCODING 'UTF8' TEMPLATE template0",
        ] {
            server.sql("postgres", statement).expect("it is done");
        }
        Self { server, access }
    }

    /// Where it is, for the Secret of the chart.
    pub fn url(&self) -> String {
        format!("postgresql://pilothouse:of-the-story@{ADDRESS}:5432/records?sslmode=disable")
    }

    /// What a statement answers, as text.
    pub fn sql(&self, statement: &str) -> String {
        self.server.sql("records", statement).expect("an answer")
    }

    /// Ends it as by a power cut.
    pub fn kill(&mut self) {
        self.server.kill().expect("it is ours");
    }

    /// Starts it again.
    pub fn up(&mut self) {
        network::within(|| self.server.up()).expect("it comes up");
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // What is left of it is in the folder for temporary files.
        let _ = fs::remove_file(&self.access);
    }
}
