//! The certificate that listeners show, kept current without a restart: renewed in its Secret or read again from its folder, published, and handed
//! to the listeners through a watch.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::Client;
use rustls::{
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    sign::CertifiedKey,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    folder,
    publish::{Publication, PublishError},
    secret::{self, SecretError},
    telemetry::chain,
};

/// Time between looks, and after a failed one.
const PERIOD: Duration = Duration::from_secs(30);
const RETRY: Duration = Duration::from_secs(2);

/// A certificate with its key, ready to be shown.
#[derive(Debug)]
pub struct Identity {
    pub key: CertifiedKey,
    certificate: String,
}

/// Who keeps the certificate.
#[derive(Clone, Debug)]
pub enum Source {
    /// We do, in this Secret.
    SelfManaged { secret: String },
    /// Somebody else does, in this folder.
    Folder(PathBuf),
}

/// Everything needed to keep a certificate.
#[derive(Clone)]
pub struct Certificates {
    pub client: Client,
    pub namespace: String,
    /// DNS names of a certificate of ours.
    pub names: Vec<String>,
    pub source: Source,
    pub publication: Publication,
}

/// Why there is no usable certificate.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("own certificate is not available")]
    Secret(#[source] SecretError),
    #[error("folder {} is not readable", path.display())]
    Folder {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("certificate is not PEM: {0}")]
    Pem(String),
    #[error("certificate and key do not belong together")]
    Key(#[source] rustls::Error),
    #[error("bundle could not be published")]
    Publish(#[source] PublishError),
}

impl Identity {
    /// Reads a chain and its key, and checks that they belong together.
    pub fn from_pem(certificate: &str, key: &str) -> Result<Self, IdentityError> {
        let pem = |e: rustls::pki_types::pem::Error| IdentityError::Pem(e.to_string());
        let chain: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(certificate.as_bytes())
                .collect::<Result<_, _>>()
                .map_err(pem)?;
        let private = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(pem)?;
        let key = CertifiedKey::from_der(chain, private, &default_provider())
            .map_err(IdentityError::Key)?;
        Ok(Self {
            key,
            certificate: certificate.to_owned(),
        })
    }
}

impl Certificates {
    /// Keeps the certificate until the token is cancelled; `None` until there is one. A failure keeps what was there.
    pub fn keep(self, shutdown: CancellationToken) -> watch::Receiver<Option<Arc<Identity>>> {
        let (tell, current) = watch::channel(None);
        tokio::spawn(shutdown.run_until_cancelled_owned(async move {
            loop {
                let pause = match self.turn(&tell).await {
                    Ok(()) => PERIOD,
                    Err(e) => {
                        tracing::warn!(error = chain(&e), "serving certificate");
                        RETRY
                    }
                };
                tokio::time::sleep(pause).await;
            }
        }));
        current
    }

    async fn turn(&self, tell: &watch::Sender<Option<Arc<Identity>>>) -> Result<(), IdentityError> {
        let (certificate, key, bundle) = self.current().await?;
        let shown = tell
            .borrow()
            .as_ref()
            .is_some_and(|i| i.certificate == certificate);
        if !shown {
            let identity = Identity::from_pem(&certificate, &key)?;
            tracing::info!("serving certificate loaded");
            tell.send_replace(Some(Arc::new(identity)));
        }
        let Some(bundle) = bundle else { return Ok(()) };
        let published = self
            .publication
            .publish(&self.client, &self.namespace, &bundle)
            .await;
        published.map_err(IdentityError::Publish)
    }

    async fn current(&self) -> Result<(String, String, Option<String>), IdentityError> {
        match &self.source {
            Source::SelfManaged { secret } => {
                let material = secret::material(
                    &self.client,
                    &self.namespace,
                    secret,
                    &self.names,
                    Timestamp::now(),
                )
                .await;
                let material = material.map_err(IdentityError::Secret)?;
                let bundle = material.bundle();
                Ok((material.leaf.certificate, material.leaf.key, Some(bundle)))
            }
            Source::Folder(path) => {
                let mounted = folder::read(path)
                    .await
                    .map_err(|source| IdentityError::Folder {
                        path: path.clone(),
                        source,
                    })?;
                Ok((mounted.certificate, mounted.key, mounted.bundle))
            }
        }
    }
}
