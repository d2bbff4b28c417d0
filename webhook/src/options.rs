//! What an administrator chooses: flags, each also an environment variable.

use std::{net::SocketAddr, path::PathBuf};

use clap::Parser;
use serving::RecordsAt;

/// Answers the API server about commands, by CommandPolicies.
#[derive(Clone, Debug, Parser)]
#[command(name = "webhook", version)]
pub struct Options {
    /// Where the API server asks (TLS).
    #[arg(long, env = "PILOTHOUSE_WEBHOOK_ADDR", default_value = "0.0.0.0:9443")]
    pub addr: SocketAddr,
    /// Where health and metrics are served (plain).
    #[arg(long, env = "PILOTHOUSE_HEALTH_ADDR", default_value = "0.0.0.0:8080")]
    pub health_addr: SocketAddr,
    /// Name of this pod, under which it tells of what it decides.
    #[arg(long, env = "POD_NAME", default_value = "pilothouse-webhook")]
    pub pod: String,
    #[command(flatten)]
    pub records: RecordsAt,
    /// Namespace of this webhook.
    #[arg(long, env = "POD_NAMESPACE", default_value = "pilothouse-system")]
    pub namespace: String,
    /// Service under which it is reached; also the beginning of the names of its Secret and ConfigMap.
    #[arg(
        long,
        env = "PILOTHOUSE_SERVICE_NAME",
        default_value = "pilothouse-webhook"
    )]
    pub service_name: String,
    /// Folder with tls.crt, tls.key and ca.crt when somebody else keeps the certificate; without it the webhook makes and renews one, in a Secret.
    #[arg(long, env = "PILOTHOUSE_TLS_DIR")]
    pub tls_dir: Option<PathBuf>,
}

impl Options {
    /// Names by which the API server calls.
    pub fn dns_names(&self) -> Vec<String> {
        let full = format!("{}.{}.svc", self.service_name, self.namespace);
        vec![full.clone(), format!("{full}.cluster.local")]
    }
}
