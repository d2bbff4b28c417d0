//! Where records are, as an administrator tells those who hand something in there.

use std::path::PathBuf;

use kube::Client;

use crate::Published;

#[derive(Clone, Debug, clap::Args)]
pub struct RecordsAt {
    /// Where records take what is handed in.
    #[arg(
        long = "records-url",
        env = "PILOTHOUSE_RECORDS_URL",
        default_value = "https://pilothouse-store.pilothouse-system.svc:7443"
    )]
    pub url: String,
    /// ConfigMap of this namespace whose key ca.crt vouches for records.
    #[arg(
        long = "records-ca",
        env = "PILOTHOUSE_RECORDS_CA",
        default_value = "pilothouse-server-ca"
    )]
    ca: String,
    /// File with the token that records accept.
    #[arg(
        long = "records-token",
        env = "PILOTHOUSE_RECORDS_TOKEN",
        default_value = "/var/run/secrets/pilothouse/records/token"
    )]
    pub token: PathBuf,
}

impl RecordsAt {
    /// What vouches for them.
    pub fn bundle(&self, client: Client, namespace: &str) -> Published {
        Published::new(client, namespace, &self.ca)
    }
}
