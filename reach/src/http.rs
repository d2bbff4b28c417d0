//! One HTTP request in somebody's name: to an address that is not off limits, resolved once, without proxies and redirects, and with a bounded answer.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use crds::v1alpha1::HttpMethod;
use http::StatusCode;
use reqwest::{Certificate, Client, Method, Url, redirect};

use crate::{
    Fence,
    off_limits::{Avoided, Whose},
};

/// Bytes of an answer that are read.
const BODY: usize = 1 << 20;

/// The way out: only while the fence is open, and never to what is off limits.
#[derive(Clone, Debug)]
pub struct Outbound {
    avoided: Avoided,
    fence: Fence,
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: HttpMethod,
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: Option<String>,
    /// PEM certificates in place of the public roots.
    pub ca_bundle: Option<String>,
    /// How long it may take to reach the server.
    pub connect: Duration,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: http::HeaderMap,
    /// The first MiB.
    pub body: Vec<u8>,
}

/// A request that got no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{url:?} is not a URL of http or https with a host")]
    BadUrl { url: String },
    #[error("the header {name} cannot be sent")]
    BadHeader { name: String },
    #[error("caBundle holds no certificates that can be read")]
    BadBundle(#[source] reqwest::Error),
    #[error("{host} cannot be resolved")]
    Resolve {
        host: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{host} is {ip}, which is {whose}; operator.outbound.allow can allow it")]
    AddressOffLimits {
        host: String,
        ip: IpAddr,
        whose: Whose,
    },
    #[error("the server cannot be reached")]
    Connect(#[source] reqwest::Error),
    #[error("the server did not answer")]
    Answer(#[source] reqwest::Error),
}

impl Error {
    /// Category of the error, in CamelCase.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::BadUrl { .. } => "BadUrl",
            Self::BadHeader { .. } => "BadHeader",
            Self::BadBundle(_) => "BadBundle",
            Self::Resolve { .. } => "NameNotResolved",
            Self::AddressOffLimits { .. } => "AddressOffLimits",
            Self::Connect(_) => "ConnectFailed",
            Self::Answer(_) => "NoAnswer",
        }
    }

    /// Whether the server cannot have seen the request.
    pub fn is_before(&self) -> bool {
        !matches!(self, Self::Answer(_))
    }

    /// Whether the same request may get through later.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Resolve { .. } | Self::Connect(_))
    }
}

impl Outbound {
    pub fn new(avoided: Avoided, fence: Fence) -> Self {
        Self { avoided, fence }
    }

    /// Sends the request and reads the answer.
    pub async fn send(&self, request: &Request) -> Result<Answer, Error> {
        let url = Url::parse(&request.url).ok();
        let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let url = url.ok_or_else(|| Error::BadUrl {
            url: request.url.clone(),
        })?;
        let addresses = addresses(&self.avoided, &url).await?;
        let asked = asked(request, url, &addresses)?;
        self.fence.passed().await;
        let answer = asked.send().await.map_err(|error| {
            let error = error.without_url();
            if error.is_connect() {
                Error::Connect(error)
            } else {
                Error::Answer(error)
            }
        })?;
        Ok(Answer {
            status: answer.status(),
            headers: answer.headers().clone(),
            body: read(answer).await?,
        })
    }
}

fn asked(
    request: &Request,
    url: Url,
    addresses: &[SocketAddr],
) -> Result<reqwest::RequestBuilder, Error> {
    let client = client(request, &url, addresses)?;
    let mut builder = client.request(method(request.method), url);
    for (name, value) in &request.headers {
        let sound = http::HeaderName::try_from(name)
            .ok()
            .zip(http::HeaderValue::try_from(value).ok());
        let (name, mut value) = sound.ok_or_else(|| Error::BadHeader { name: name.clone() })?;
        value.set_sensitive(true);
        builder = builder.header(name, value);
    }
    Ok(match &request.body {
        Some(body) => builder.body(body.clone()),
        None => builder,
    })
}

async fn read(mut answer: reqwest::Response) -> Result<Vec<u8>, Error> {
    let mut body = Vec::new();
    while body.len() < BODY
        && let Some(piece) = answer
            .chunk()
            .await
            .map_err(|e| Error::Answer(e.without_url()))?
    {
        let room = BODY - body.len();
        body.extend_from_slice(&piece[..piece.len().min(room)]);
    }
    Ok(body)
}

/// Where the URL leads, if that is nowhere off limits. These very addresses are connected to, so that no second look-up can lead elsewhere.
async fn addresses(avoided: &Avoided, url: &Url) -> Result<Vec<SocketAddr>, Error> {
    let host = url
        .host_str()
        .unwrap_or_default()
        .trim_matches(['[', ']'])
        .to_owned();
    let port = url.port_or_known_default().unwrap_or(80);
    let found = tokio::net::lookup_host((host.as_str(), port)).await;
    let found: Vec<_> = found
        .map_err(|source| Error::Resolve {
            host: host.clone(),
            source,
        })?
        .collect();
    for address in &found {
        if let Some(whose) = avoided.judge(address.ip(), None) {
            let ip = address.ip();
            return Err(Error::AddressOffLimits { host, ip, whose });
        }
    }
    Ok(found)
}

fn client(request: &Request, url: &Url, addresses: &[SocketAddr]) -> Result<Client, Error> {
    let roots = match &request.ca_bundle {
        _ if url.scheme() == "http" => Vec::new(),
        Some(bundle) => {
            Certificate::from_pem_bundle(bundle.as_bytes()).map_err(Error::BadBundle)?
        }
        None => public_roots(),
    };
    let host = url.host_str().unwrap_or_default();
    Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .connect_timeout(request.connect)
        .tls_certs_only(roots)
        .resolve_to_addrs(host, addresses)
        .pool_max_idle_per_host(0)
        .build()
        .map_err(Error::BadBundle)
}

fn public_roots() -> Vec<Certificate> {
    let all = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter();
    all.filter_map(|der| Certificate::from_der(der).ok())
        .collect()
}

fn method(of: HttpMethod) -> Method {
    match of {
        HttpMethod::Get => Method::GET,
        HttpMethod::Head => Method::HEAD,
        HttpMethod::Post => Method::POST,
        HttpMethod::Put => Method::PUT,
        HttpMethod::Patch => Method::PATCH,
        HttpMethod::Delete => Method::DELETE,
    }
}
