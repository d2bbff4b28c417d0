//! Ended runs told as traces to an OpenTelemetry collector, in OTLP over HTTP. While it is away the latest runs wait for it, and the others are not told; nothing else is lost.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use crds::{names::ANNOTATION_EFFECT, v1alpha1::JobRun};
use decide::trace::{Place, Span, TraceId};
use jiff::Timestamp;
use kube::ResourceExt as _;
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::{
        ResourceSpans, ScopeSpans, Span as Told, Status, span::SpanKind, status::StatusCode,
    },
};
use prost::Message as _;
use reqwest::{
    Client, StatusCode as Http, Url,
    header::{HeaderMap, HeaderName, HeaderValue},
    redirect::Policy,
};
use tokio::{sync::Notify, time::sleep};

use crate::{controllers::run::part::family, error::chain};

/// Spans that wait for the collector at most.
const WAITING: usize = 50_000;
/// Spans of one request.
const AT_ONCE: usize = 512;
const PATIENCE: Duration = Duration::from_secs(10);
/// Rest between two tries.
const REST: Duration = Duration::from_secs(2);

/// Where traces go, and how many of them.
#[derive(Clone, Debug, clap::Args)]
pub struct Otlp {
    /// Address of an OpenTelemetry collector that takes OTLP over HTTP, such as http://collector.monitoring:4318. Without it no traces are told.
    #[arg(long = "otlp-endpoint", env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    endpoint: Option<Url>,
    /// Headers for it, as name=value, separated by commas.
    #[arg(long = "otlp-header", env = "OTEL_EXPORTER_OTLP_HEADERS", value_delimiter = ',', value_parser = header, hide_env_values = true)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Share of runs that are told, from 0 to 1.
    #[arg(
        long = "trace-ratio",
        env = "OTEL_TRACES_SAMPLER_ARG",
        default_value_t = 1.0
    )]
    ratio: f64,
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once('=').ok_or("a header is name=value")?;
    let name = HeaderName::try_from(name.trim()).map_err(|e| e.to_string())?;
    let mut value = HeaderValue::try_from(value.trim()).map_err(|e| e.to_string())?;
    value.set_sensitive(true);
    Ok((name, value))
}

/// The way to the collector, where there is one.
pub struct Traces {
    ratio: f64,
    waiting: Option<Arc<Waiting>>,
}

/// Runs that are not told yet.
#[derive(Default)]
struct Waiting {
    runs: Mutex<VecDeque<Run>>,
    more: Notify,
}

type Run = (TraceId, Vec<Span>);

impl Waiting {
    /// Lines a run up; how many before it are given up for it.
    fn push(&self, run: Run) -> usize {
        let mut runs = self.runs.lock().expect("no holder panics");
        runs.push_back(run);
        let mut over = 0;
        while runs.len() > 1 && runs.iter().map(|(_, spans)| spans.len()).sum::<usize>() > WAITING {
            runs.pop_front();
            over += 1;
        }
        self.more.notify_one();
        over
    }

    async fn next(&self) -> Run {
        loop {
            let next = self.runs.lock().expect("no holder panics").pop_front();
            match next {
                Some(run) => return run,
                None => self.more.notified().await,
            }
        }
    }
}

impl Traces {
    pub fn open(otlp: &Otlp, instance: &str) -> reqwest::Result<Self> {
        let mut waiting = None;
        if let Some(endpoint) = &otlp.endpoint {
            let collector = Collector::new(endpoint, &otlp.headers, instance)?;
            let runs = waiting.insert(Arc::<Waiting>::default()).clone();
            tokio::spawn(async move { collector.serve(&runs).await });
        }
        Ok(Self {
            ratio: otlp.ratio,
            waiting,
        })
    }

    /// The run's place in its trace; none where no traces are told.
    pub fn place(&self, run: &JobRun) -> Option<Place> {
        self.waiting.as_ref()?;
        let (uid, family) = (run.uid().unwrap_or_default(), family(run));
        let effect = run.annotations().get(ANNOTATION_EFFECT);
        let effect = effect.filter(|_| !family.is_empty()).map(String::as_str);
        Some(Place::of(family.last().unwrap_or(&uid), effect, self.ratio))
    }

    /// Tells the spans of a run as soon as the collector takes them.
    pub fn tell(&self, place: &Place, spans: Vec<Span>) {
        let waiting = self.waiting.as_ref().filter(|_| place.sampled);
        let given_up = waiting.map_or(0, |waiting| waiting.push((place.trace, spans)));
        if given_up > 0 {
            tracing::warn!(given_up, "too many runs wait for the trace collector");
        }
    }
}

struct Collector {
    client: Client,
    url: String,
    resource: Resource,
}

impl Collector {
    fn new(
        endpoint: &Url,
        headers: &[(HeaderName, HeaderValue)],
        instance: &str,
    ) -> reqwest::Result<Self> {
        let headers = headers.iter().cloned().collect::<HeaderMap>();
        let roots = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter();
        let roots = roots.filter_map(|der| reqwest::Certificate::from_der(der).ok());
        let client = Client::builder()
            .no_proxy()
            // The headers are for this collector and nobody that it may point to.
            .redirect(Policy::none())
            .default_headers(headers)
            .tls_certs_only(roots)
            .timeout(PATIENCE);
        let attributes = [
            ("service.name", "pilothouse-operator".to_owned()),
            ("service.instance.id", instance.to_owned()),
            ("service.version", env!("CARGO_PKG_VERSION").to_owned()),
        ];
        Ok(Self {
            client: client.build()?,
            url: format!("{}/v1/traces", endpoint.as_str().trim_end_matches('/')),
            resource: Resource {
                attributes: attributes.into_iter().map(attribute).collect(),
                ..Resource::default()
            },
        })
    }

    async fn serve(&self, waiting: &Waiting) {
        loop {
            let (trace, spans) = waiting.next().await;
            for spans in spans.chunks(AT_ONCE) {
                self.send(&self.request(trace, spans).encode_to_vec()).await;
            }
        }
    }

    /// Until it is taken, or refused for good.
    async fn send(&self, body: &[u8]) {
        loop {
            let request = self.client.post(&self.url).body(body.to_vec());
            let sent = request.header("Content-Type", "application/x-protobuf");
            let refused = match sent.send().await.map(|answer| answer.status()) {
                Ok(status) if status.is_success() => return,
                Ok(status) if !status.is_server_error() && status != Http::TOO_MANY_REQUESTS => {
                    tracing::warn!(%status, "the trace collector refused spans of a run");
                    return;
                }
                Ok(status) => status.to_string(),
                Err(error) => chain(&error),
            };
            tracing::debug!(refused, "the trace collector takes nothing now");
            sleep(REST).await;
        }
    }

    fn request(&self, trace: TraceId, spans: &[Span]) -> ExportTraceServiceRequest {
        let scope = InstrumentationScope {
            name: "pilothouse".into(),
            ..InstrumentationScope::default()
        };
        let spans = ScopeSpans {
            scope: Some(scope),
            spans: spans.iter().map(|span| told(trace, span)).collect(),
            ..ScopeSpans::default()
        };
        ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(self.resource.clone()),
                scope_spans: vec![spans],
                ..ResourceSpans::default()
            }],
        }
    }
}

fn told(trace: TraceId, span: &Span) -> Told {
    let status = span.failed.as_ref().map(|why| Status {
        message: why.clone(),
        code: StatusCode::Error.into(),
    });
    let attributes = span.attributes.iter().cloned();
    Told {
        trace_id: trace.to_vec(),
        span_id: span.id.to_vec(),
        parent_span_id: span.parent.map(Vec::from).unwrap_or_default(),
        name: span.name.clone(),
        kind: SpanKind::Internal.into(),
        start_time_unix_nano: nanoseconds(span.start),
        end_time_unix_nano: nanoseconds(span.end),
        attributes: attributes.map(attribute).collect(),
        status,
        ..Told::default()
    }
}

fn attribute((key, value): (&str, String)) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(Value::StringValue(value)),
        }),
        ..KeyValue::default()
    }
}

/// What lies before 1970 is told as 1970.
fn nanoseconds(at: Timestamp) -> u64 {
    u64::try_from(at.as_nanosecond()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn run(n: u8, spans: usize) -> Run {
        let span = Span {
            id: [n; 8],
            parent: None,
            name: "one".into(),
            start: Timestamp::UNIX_EPOCH,
            end: Timestamp::UNIX_EPOCH,
            attributes: Vec::new(),
            failed: None,
        };
        ([n; 16], vec![span; spans])
    }

    #[test]
    fn while_the_collector_is_away_the_latest_runs_wait_for_it() {
        let waiting = Waiting::default();
        let given_up: Vec<_> = (1..=4).map(|n| waiting.push(run(n, WAITING / 2))).collect();
        assert_eq!(given_up, [0, 0, 1, 1]);
        assert_eq!(
            waiting.push(run(5, WAITING + 1)),
            2,
            "one is told whatever its size"
        );
        let next = || waiting.next().now_or_never().map(|(trace, _)| trace[0]);
        assert_eq!((next(), next()), (Some(5), None));
    }

    #[test]
    fn a_header_has_a_name_and_a_value() {
        let (name, value) = header("Authorization = Basic eDp5").expect("a header");
        assert_eq!(
            (name.as_str(), value.as_bytes()),
            ("authorization", &b"Basic eDp5"[..])
        );
        assert!(header("nothing").is_err() && header("a b=c").is_err());
    }
}
