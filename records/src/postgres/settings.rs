//! Where PostgreSQL is and how it is spoken to. Both files are read anew for each connection, so that a Secret that changes is taken up without a restart.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use tokio::fs;
use tokio_postgres::{Config, config::SslMode};

use super::tls::Tls;

/// Time for a connection, for what was sent to be acknowledged, and of silence before the peer is asked whether it is still there.
const CONNECT: Duration = Duration::from_secs(5);
const ACKNOWLEDGED: Duration = Duration::from_secs(15);
const SILENCE: Duration = Duration::from_secs(10);

/// Files that say where PostgreSQL is and whom to trust there.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Holds a connection string, as a URL or as pairs of keys and values.
    pub url_file: PathBuf,
    /// Holds the authorities (PEM) of the server's certificate; without it the connection string has to say `sslmode=disable`.
    pub ca_file: Option<PathBuf>,
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("{} cannot be read", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} holds no connection string", path.display())]
    Url {
        path: PathBuf,
        #[source]
        source: tokio_postgres::Error,
    },
    #[error(
        "the connection string asks for TLS and no authorities are given: give them, or say sslmode=disable"
    )]
    NoAuthorities,
    #[error("{} holds no certificates of authorities: {reason}", path.display())]
    Authorities { path: PathBuf, reason: String },
    #[error("TLS cannot be spoken")]
    Tls(#[source] rustls::Error),
}

/// What a connection is made with.
pub struct Way {
    pub config: Config,
    /// Absent where the connection string says so.
    pub tls: Option<Tls>,
}

impl Settings {
    /// Reads both files.
    pub async fn read(&self) -> Result<Way, SettingsError> {
        let text = read(&self.url_file).await?;
        let mut config = parse(text.trim()).map_err(|source| SettingsError::Url {
            path: self.url_file.clone(),
            source,
        })?;
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT);
        }
        if config.get_application_name().is_none() {
            config.application_name("pilothouse");
        }
        config.tcp_user_timeout(ACKNOWLEDGED);
        config.keepalives_idle(SILENCE);
        if config.get_ssl_mode() == SslMode::Disable {
            return Ok(Way { config, tls: None });
        }
        // Where there is TLS it is proven: no less is taken than was asked for, and never a certificate of anybody.
        config.ssl_mode(SslMode::Require);
        let tls = Some(self.tls().await?);
        Ok(Way { config, tls })
    }

    async fn tls(&self) -> Result<Tls, SettingsError> {
        let path = self.ca_file.as_ref().ok_or(SettingsError::NoAuthorities)?;
        let wrong = |reason: String| SettingsError::Authorities {
            path: path.clone(),
            reason,
        };
        let pem = read(path).await?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let certificate = certificate.map_err(|e| wrong(e.to_string()))?;
            roots.add(certificate).map_err(|e| wrong(e.to_string()))?;
        }
        if roots.is_empty() {
            return Err(wrong("there is none in it".to_owned()));
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(SettingsError::Tls)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Tls::new(config))
    }
}

/// Libpq's words for what is done here in any case, and the driver does not know.
fn parse(text: &str) -> Result<Config, tokio_postgres::Error> {
    text.replace("sslmode=verify-full", "sslmode=require")
        .replace("sslmode=verify-ca", "sslmode=require")
        .parse()
}

async fn read(path: &PathBuf) -> Result<String, SettingsError> {
    let text = fs::read_to_string(path).await;
    text.map_err(|source| SettingsError::Read {
        path: path.clone(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::{Settings, SettingsError};

    fn settings(folder: &TempDir, url: &str, ca: Option<&str>) -> Settings {
        let (url_file, ca_file) = (folder.path().join("url"), folder.path().join("ca"));
        fs::write(&url_file, url).expect("a file");
        let ca_file = ca.map(|ca| {
            fs::write(&ca_file, ca).expect("a file");
            ca_file
        });
        Settings { url_file, ca_file }
    }

    #[tokio::test]
    async fn without_tls_only_where_the_string_says_so() {
        let folder = TempDir::new().expect("a folder");
        let plain = settings(&folder, "postgresql://u@h/d?sslmode=disable\n", None);
        let way = plain.read().await.expect("it is usable");
        assert!(way.tls.is_none());
        for url in [
            "postgresql://u@h/d",
            "host=h user=u sslmode=prefer",
            "host=h user=u sslmode=verify-full",
        ] {
            let read = settings(&folder, url, None).read().await;
            assert!(matches!(read, Err(SettingsError::NoAuthorities)), "{url}");
        }
    }

    #[tokio::test]
    async fn authorities_are_certificates() {
        let folder = TempDir::new().expect("a folder");
        let none = settings(&folder, "postgresql://u@h/d", Some("nothing"));
        let read = none.read().await;
        assert!(matches!(read, Err(SettingsError::Authorities { .. })));
    }

    #[tokio::test]
    async fn what_is_no_connection_string_is_not_repeated_in_the_error() {
        let folder = TempDir::new().expect("a folder");
        let wrong = settings(&folder, "postgresql://u:hidden@h:port/d", None);
        let Err(SettingsError::Url { source, .. }) = wrong.read().await else {
            panic!("it has no port");
        };
        assert!(!format!("{source:?} {source}").contains("hidden"));
    }
}
