//! The way to the store: hands batches over, reads a run's ledger back, passes on what readers ask. It never retries by itself; every error says whether a retry can help.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use crds::{
    archive::Archived,
    audit::AuditEntry,
    execution::{Acknowledgement, Batch, Execution, KnownRows},
    receipt::Receipt,
};
use futures::future::BoxFuture;
use reqwest::{
    Certificate, RequestBuilder, Response, StatusCode,
    header::{HeaderMap, HeaderValue},
};
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;

use crate::MAX_BATCHES;

/// Time for a connection, and for a whole request.
const CONNECT: Duration = Duration::from_secs(5);
const REQUEST: Duration = Duration::from_secs(30);
/// Time for an answer that is followed; watches end within an hour.
const LONGEST: Duration = Duration::from_hours(2);
/// Bytes of a refusal's text that are kept.
const MAX_TEXT: usize = 512;

/// Gives the authorities as they stand today, a PEM bundle; nothing when they cannot be read just now.
type Source = dyn Fn() -> BoxFuture<'static, Option<String>> + Send + Sync;

/// A connection to the records' ingest. Cloning shares it.
#[derive(Clone)]
pub struct Client {
    trust: Arc<RwLock<Trust>>,
    source: Option<Arc<Source>>,
    url: String,
    token: PathBuf,
    places: Arc<Semaphore>,
}

/// Connections, and the authorities that they were made to trust.
#[derive(Clone)]
struct Trust {
    ca_pem: String,
    http: reqwest::Client,
}

impl Trust {
    fn new(ca_pem: String) -> Result<Self, Error> {
        let authorities =
            Certificate::from_pem_bundle(ca_pem.as_bytes()).map_err(Error::Authority)?;
        let http = reqwest::Client::builder()
            .tls_certs_only(authorities)
            .https_only(true)
            .no_proxy()
            .connect_timeout(CONNECT)
            .timeout(REQUEST)
            .build()
            .map_err(Error::Authority)?;
        Ok(Self { ca_pem, http })
    }
}

/// Why records did not take or give something.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the certificate authority of records is not usable")]
    Authority(#[source] reqwest::Error),
    #[error("the token for records in {} is not usable", path.display())]
    Token {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("records are not reachable")]
    Unreachable(#[source] reqwest::Error),
    #[error("records do not accept this account ({0})")]
    Unauthorized(StatusCode),
    #[error("records refused what was sent ({status}): {message}")]
    Rejected { status: StatusCode, message: String },
    #[error("records cannot store now ({status}): {message}")]
    Unavailable { status: StatusCode, message: String },
    #[error("records answered what this program does not understand")]
    Answer(#[source] reqwest::Error),
    #[error("records acknowledged batch {found:?} instead of {wanted:?}")]
    Acknowledged { wanted: String, found: String },
}

impl Error {
    /// False when the same batch would be refused for ever.
    pub const fn is_retryable(&self) -> bool {
        !matches!(self, Self::Rejected { .. })
    }

    /// True when nothing is wrong but that records are away: what a run waits for with reason WaitingForRecords.
    pub const fn is_away(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Unavailable { .. })
    }
}

impl Client {
    /// Trusts only the given authorities (a PEM bundle, as the ConfigMap holds it). The token file is read anew for each request, because kubelet
    /// renews it.
    pub fn new(
        url: impl Into<String>,
        ca_pem: &[u8],
        token: impl Into<PathBuf>,
    ) -> Result<Self, Error> {
        let trust = Trust::new(String::from_utf8_lossy(ca_pem).into_owned())?;
        Ok(Self {
            trust: Arc::new(RwLock::new(trust)),
            source: None,
            url: url.into().trim_end_matches('/').to_owned(),
            token: token.into(),
            places: Arc::new(Semaphore::new(MAX_BATCHES)),
        })
    }

    /// Asks the source for the authorities after each failure to connect: a server that lost its own has made another, which nothing but a new
    /// bundle makes trusted.
    #[must_use]
    pub fn following<F, R>(self, source: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Option<String>> + Send + 'static,
    {
        Self {
            source: Some(Arc::new(move || Box::pin(source()))),
            ..self
        }
    }

    /// Returns once the batch is on disk.
    pub async fn append(&self, batch: &Batch) -> Result<(), Error> {
        self.post("batches", batch).await
    }

    /// Returns once finished objects are on disk. An older server, which does not keep them, is as good as away.
    pub async fn archive(&self, archived: Vec<Archived>) -> Result<(), Error> {
        let batch = Batch {
            archived,
            ..Batch::default()
        };
        self.post("archives", &batch).await
    }

    /// Returns once entries of the audit are on disk. An older server, which does not keep them, is as good as away.
    pub async fn audit(&self, entries: Vec<AuditEntry>) -> Result<(), Error> {
        let batch = Batch {
            audit: entries,
            ..Batch::default()
        };
        self.post("audit", &batch).await
    }

    /// The same of what a replica of the webhook has decided, which may tell of nothing else.
    pub async fn decisions(&self, entries: Vec<AuditEntry>) -> Result<(), Error> {
        let batch = Batch {
            audit: entries,
            ..Batch::default()
        };
        self.post("decisions", &batch).await
    }

    async fn post(&self, path: &str, batch: &Batch) -> Result<(), Error> {
        let _place = self.places.acquire().await;
        let request = self
            .trusting()
            .http
            .post(format!("{}/ingest/v1/{path}", self.url))
            .json(batch);
        let ack: Acknowledgement = self.ask(request).await?;
        if ack.acknowledged != batch.id {
            return Err(Error::Acknowledged {
                wanted: batch.id.clone(),
                found: ack.acknowledged,
            });
        }
        Ok(())
    }

    /// The latest state of every key of a run.
    pub async fn rows(&self, run_uid: &str) -> Result<Vec<Execution>, Error> {
        let request = self
            .trusting()
            .http
            .get(format!("{}/ingest/v1/runs/{run_uid}", self.url));
        let known: KnownRows = self.ask(request).await?;
        Ok(known.rows)
    }

    /// The receipt that stands under the run's name, on disk; the one handed in where there was none.
    pub async fn claim(&self, receipt: &Receipt) -> Result<Receipt, Error> {
        let request = self
            .trusting()
            .http
            .post(format!("{}/ingest/v1/receipts", self.url))
            .json(receipt);
        self.ask(request).await
    }

    /// Hands a reader's request on, and the answer back as it comes, whatever it is.
    pub async fn pass(&self, path: &str, headers: HeaderMap) -> Result<Response, Error> {
        let request = self
            .trusting()
            .http
            .get(format!("{}{path}", self.url))
            .headers(headers)
            .timeout(LONGEST);
        self.send(request).await
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, Error> {
        let token = self.token().await?;
        let sent = request
            .header(reqwest::header::AUTHORIZATION, token)
            .send()
            .await;
        if sent.as_ref().is_err_and(reqwest::Error::is_connect) {
            self.renew_trust().await;
        }
        sent.map_err(Error::Unreachable)
    }

    async fn ask<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Error> {
        let response = accepted(self.send(request).await?).await?;
        response.json().await.map_err(|e| {
            if e.is_decode() {
                Error::Answer(e)
            } else {
                Error::Unreachable(e)
            }
        })
    }

    fn trusting(&self) -> Trust {
        let trust = self.trust.read().unwrap_or_else(PoisonError::into_inner);
        trust.clone()
    }

    /// A bundle that is the same, or cannot be used, leaves what there is.
    async fn renew_trust(&self) {
        let Some(source) = &self.source else { return };
        let Some(ca_pem) = source().await else { return };
        if ca_pem == self.trusting().ca_pem {
            return;
        }
        if let Ok(renewed) = Trust::new(ca_pem) {
            *self.trust.write().unwrap_or_else(PoisonError::into_inner) = renewed;
        }
    }

    async fn token(&self) -> Result<HeaderValue, Error> {
        let unusable = |source| Error::Token {
            path: self.token.clone(),
            source,
        };
        let token = tokio::fs::read_to_string(&self.token)
            .await
            .map_err(unusable)?;
        let mut value = HeaderValue::try_from(format!("Bearer {}", token.trim()))
            .map_err(|e| unusable(io::Error::new(io::ErrorKind::InvalidData, e)))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

async fn accepted(response: Response) -> Result<Response, Error> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        return Err(Error::Unauthorized(status));
    }
    let message: String = response
        .text()
        .await
        .unwrap_or_default()
        .chars()
        .take(MAX_TEXT)
        .collect();
    // Only these are about what was sent; every other one is about the moment, or about who answers there.
    let about_the_batch = matches!(
        status,
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY
    );
    if about_the_batch {
        Err(Error::Rejected { status, message })
    } else {
        Err(Error::Unavailable { status, message })
    }
}
