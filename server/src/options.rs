//! What an administrator chooses: flags, each also an environment variable.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Parser, ValueEnum};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::ObjectReference;

use records::Settings;

use crate::{command::Command, slot::Keeping};

/// Serves the records of Pilothouse: the aggregated API for people, the ingest for the operator.
#[derive(Clone, Debug, Parser)]
#[command(name = "server", version)]
pub struct Options {
    /// What is done instead of serving.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Folder of the database, on a volume of its own.
    #[arg(
        long,
        global = true,
        env = "PILOTHOUSE_DATA_DIR",
        default_value = "/var/lib/pilothouse-records"
    )]
    pub data_dir: PathBuf,
    /// File with the connection string of PostgreSQL, which then keeps the records in place of the folder; there may be several stores on it.
    #[arg(long, global = true, env = "PILOTHOUSE_POSTGRES_URL_FILE")]
    pub postgres_url_file: Option<PathBuf>,
    /// File with the authorities (PEM) of PostgreSQL's certificate; without it the connection string has to say sslmode=disable.
    #[arg(long, global = true, env = "PILOTHOUSE_POSTGRES_CA_FILE")]
    pub postgres_ca_file: Option<PathBuf>,
    /// Where a front listens for the API server (TLS).
    #[arg(long, env = "PILOTHOUSE_API_ADDR", default_value = "0.0.0.0:6443")]
    pub api_addr: SocketAddr,
    /// Where the store listens for fronts and the operator (TLS).
    #[arg(long, env = "PILOTHOUSE_STORE_ADDR", default_value = "0.0.0.0:7443")]
    pub store_addr: SocketAddr,
    /// Where health and metrics are served (plain).
    #[arg(long, env = "PILOTHOUSE_HEALTH_ADDR", default_value = "0.0.0.0:8080")]
    pub health_addr: SocketAddr,
    /// Namespace of this server.
    #[arg(long, env = "POD_NAMESPACE", default_value = "pilothouse-system")]
    pub namespace: String,
    /// Namespaces that are served, where somebody else tells the API server the CA; without them all are, and the server tells it.
    #[arg(long, env = "PILOTHOUSE_NAMESPACES", value_delimiter = ',')]
    pub namespaces: Vec<String>,
    /// Name of this pod, which Events are about.
    #[arg(long, env = "POD_NAME", default_value = "pilothouse-server-0")]
    pub pod: String,
    /// Service under which clients reach this server; also the beginning of the names of its Secret and ConfigMap.
    #[arg(
        long,
        env = "PILOTHOUSE_SERVICE_NAME",
        default_value = "pilothouse-server"
    )]
    pub service_name: String,
    /// Who keeps the serving certificate.
    #[arg(long, env = "PILOTHOUSE_TLS_MODE", value_enum, default_value_t = TlsMode::SelfManaged)]
    pub tls_mode: TlsMode,
    /// Folder with tls.crt, tls.key and ca.crt when somebody else keeps it.
    #[arg(
        long,
        env = "PILOTHOUSE_TLS_DIR",
        default_value = "/etc/pilothouse/tls"
    )]
    pub tls_dir: PathBuf,
    /// Age at which rows and logs are taken away, as in 30d, 12h; an hour at least.
    #[arg(long, env = "PILOTHOUSE_RETENTION_AGE", default_value = "30d", value_parser = age)]
    pub retention_age: Duration,
    /// Age at which stretches of the audit are taken away, up to a checkpoint that stays.
    #[arg(long, env = "PILOTHOUSE_RETENTION_AUDIT_AGE", default_value = "365d", value_parser = age)]
    pub retention_audit_age: Duration,
    /// Size beyond which the oldest are taken away, as in 1Gi, 500Mi.
    #[arg(long, env = "PILOTHOUSE_RETENTION_SIZE", default_value = "1Gi", value_parser = size)]
    pub retention_size: u64,
    /// The store that answers: given, this process is a front and keeps nothing.
    #[arg(long, env = "PILOTHOUSE_STORE_URL")]
    pub store_url: Option<String>,
    /// File with the token by which the store knows a front.
    #[arg(
        long,
        env = "PILOTHOUSE_STORE_TOKEN",
        default_value = "/var/run/secrets/pilothouse/records/token"
    )]
    pub store_token: PathBuf,
    /// Service under which fronts and the operator reach the store.
    #[arg(
        long,
        env = "PILOTHOUSE_STORE_SERVICE_NAME",
        default_value = "pilothouse-store"
    )]
    pub store_service_name: String,
    /// User that fronts are; the account pilothouse-front in this namespace when absent.
    #[arg(long, env = "PILOTHOUSE_FRONT_ACCOUNT")]
    pub front_account: Option<String>,
    /// User that may write records; the operator's account in this namespace when absent.
    #[arg(long, env = "PILOTHOUSE_OPERATOR_ACCOUNT")]
    pub operator_account: Option<String>,
    /// User whose pods may add to the audit what each of them has decided, and write nothing else; the account pilothouse-webhook in this namespace when absent.
    #[arg(long, env = "PILOTHOUSE_WEBHOOK_ACCOUNT")]
    pub webhook_account: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TlsMode {
    /// The server makes and renews it, in a Secret.
    #[value(name = "self")]
    SelfManaged,
    /// Somebody else does, in a mounted folder.
    Files,
}

impl Options {
    /// Full name of the account whose pods tell of what they have decided.
    pub fn webhook(&self) -> String {
        let default = || self.account("pilothouse-webhook");
        self.webhook_account.clone().unwrap_or_else(default)
    }

    /// Where records are kept.
    pub fn keeping(&self) -> Keeping {
        match &self.postgres_url_file {
            Some(url_file) => Keeping::Postgres(Settings {
                url_file: url_file.clone(),
                ca_file: self.postgres_ca_file.clone(),
            }),
            None => Keeping::Folder(self.data_dir.clone()),
        }
    }

    /// Full name of the account that may write.
    pub fn operator(&self) -> String {
        let default = || self.account("pilothouse-operator");
        self.operator_account.clone().unwrap_or_else(default)
    }

    /// Full name of the account of fronts.
    pub fn front(&self) -> String {
        let default = || self.account("pilothouse-front");
        self.front_account.clone().unwrap_or_else(default)
    }

    /// What Events of this process are about.
    pub fn this_pod(&self) -> ObjectReference {
        ObjectReference {
            kind: Some("Pod".to_owned()),
            name: Some(self.pod.clone()),
            namespace: Some(self.namespace.clone()),
            ..ObjectReference::default()
        }
    }

    fn account(&self, name: &str) -> String {
        format!("system:serviceaccount:{}:{name}", self.namespace)
    }

    /// Names by which clients in the cluster call fronts and store, which show the same certificate.
    pub fn dns_names(&self) -> Vec<String> {
        let names = |service: &String| {
            let full = format!("{service}.{}", self.namespace);
            [
                format!("{full}.svc"),
                format!("{full}.svc.cluster.local"),
                full,
                service.clone(),
            ]
        };
        [&self.service_name, &self.store_service_name]
            .into_iter()
            .flat_map(names)
            .collect()
    }
}

/// Days count 24 hours here; jiff alone would ask which calendar.
fn age(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not an age such as 30d or 12h");
    if let Some(days) = text.strip_suffix('d') {
        let days: u32 = days.parse().map_err(|_| wrong())?;
        return Ok(Duration::from_hours(u64::from(days) * 24));
    }
    let parsed: SignedDuration = text.parse().map_err(|_| wrong())?;
    Duration::try_from(parsed).map_err(|_| wrong())
}

fn size(text: &str) -> Result<u64, String> {
    let units = [
        ("Ki", 1 << 10),
        ("Mi", 1 << 20),
        ("Gi", 1 << 30),
        ("Ti", 1 << 40),
    ];
    let unit = units
        .iter()
        .find_map(|(name, bytes)| Some((text.strip_suffix(name)?, *bytes)));
    let (number, bytes) = unit.unwrap_or((text, 1_u64));
    let number: u64 = number
        .parse()
        .map_err(|_| format!("{text:?} is not a size such as 500Mi or 1Gi"))?;
    number
        .checked_mul(bytes)
        .ok_or_else(|| format!("{text:?} is more than can be counted"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser as _;

    use super::{Options, age, size};
    use crate::slot::Keeping;

    #[test]
    fn ages_and_sizes_are_read_or_refused() {
        assert_eq!(age("30d"), Ok(Duration::from_hours(720)));
        assert_eq!(age("90m"), Ok(Duration::from_mins(90)));
        assert!(age("soon").is_err() && age("-1h").is_err() && age("d").is_err());
        assert_eq!(size("500Mi"), Ok(500 << 20));
        assert_eq!(size("7"), Ok(7));
        assert!(size("1 GB").is_err() && size("99999999999Gi").is_err());
    }

    #[test]
    fn defaults_name_the_operator_of_the_own_namespace() {
        let options = Options::parse_from(["server", "--namespace", "ops"]);
        assert_eq!(
            options.operator(),
            "system:serviceaccount:ops:pilothouse-operator"
        );
        assert_eq!(options.dns_names()[0], "pilothouse-server.ops.svc");
    }

    #[test]
    fn records_are_kept_in_the_folder_unless_postgresql_is_named() {
        let keeping = |words: &[&str]| Options::parse_from(words).keeping();
        assert!(matches!(keeping(&["server"]), Keeping::Folder(_)));
        let words = ["server", "--postgres-url-file=/postgres/url"];
        assert!(matches!(keeping(&words), Keeping::Postgres(_)));
    }
}
