//! What the operator is told when it starts.

use std::{net::SocketAddr, path::PathBuf};

use crds::v1alpha1::Duration;
use decide::Limits;
use reach::off_limits::Range;
use serving::RecordsAt;

use crate::traces::Otlp;

/// Controllers of Pilothouse.
#[derive(Clone, Debug, clap::Parser)]
#[command(version)]
pub struct Args {
    /// Namespace that the operator runs in; its Lease lives there.
    #[arg(
        long,
        env = "PILOTHOUSE_NAMESPACE",
        default_value = "pilothouse-system"
    )]
    pub namespace: String,
    /// Namespaces that are served; all of them where none is named.
    #[arg(long, env = "PILOTHOUSE_NAMESPACES", value_delimiter = ',')]
    pub namespaces: Vec<String>,
    /// Name under which this replica holds the Lease.
    #[arg(long, env = "POD_NAME", default_value = "pilothouse-operator")]
    pub identity: String,
    #[command(flatten)]
    pub records: RecordsAt,
    /// The toolkit that is copied to hosts.
    #[arg(long, env = "PILOTHOUSE_TOOLKIT", default_value = "/toolkit")]
    pub toolkit: PathBuf,
    /// Address of health and metrics.
    #[arg(long, env = "PILOTHOUSE_HEALTH_ADDR", default_value = "0.0.0.0:8080")]
    pub health_addr: SocketAddr,
    /// Targets that one run may have; the schema allows 2000.
    #[arg(long, env = "PILOTHOUSE_MAX_TARGETS", default_value_t = 200)]
    pub max_targets: usize,
    /// Parameters that one Job may have; the schema allows 300.
    #[arg(long, env = "PILOTHOUSE_MAX_PARAMETERS", default_value_t = 30)]
    pub max_parameters: usize,
    /// Executions in flight over all runs; a namespace may hold four for each place that is free.
    #[arg(long, env = "PILOTHOUSE_MAX_IN_FLIGHT", default_value_t = 500)]
    pub max_in_flight: usize,
    /// How long a run or a ticket stays after its end where it does not say so itself; without this, until somebody deletes it. The archive keeps what goes.
    #[arg(long, env = "PILOTHOUSE_ARCHIVE_AFTER")]
    pub archive_after: Option<Duration>,
    /// Ranges of addresses that Hosts may have although they are the cluster's own or the machine's, in CIDR notation.
    #[arg(long, env = "PILOTHOUSE_OUTBOUND_ALLOW", value_delimiter = ',')]
    pub outbound_allow: Vec<Range>,
    /// Ranges of addresses that no Host may have, in CIDR notation; the cluster's own are found out where all namespaces are served.
    #[arg(long, env = "PILOTHOUSE_OUTBOUND_DENY", value_delimiter = ',')]
    pub outbound_deny: Vec<Range>,
    /// How long the Lease is held without being renewed.
    #[arg(long, env = "PILOTHOUSE_LEASE_SECONDS", default_value_t = 15)]
    pub lease_seconds: u64,
    #[command(flatten)]
    pub otlp: Otlp,
}

impl Args {
    /// A leader that was replaced has ended after this time.
    pub fn lease(&self) -> std::time::Duration {
        std::time::Duration::from_secs(self.lease_seconds)
    }

    pub fn limits(&self) -> Limits {
        Limits {
            targets: self.max_targets,
            parameters: self.max_parameters,
        }
    }
}
