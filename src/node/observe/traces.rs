//! Traces: a span for each request, sent to a collector over OTLP (HTTP, protobuf).
//!
//! A request that is part of a client's trace (`traceparent`) goes on with it.

use crate::config::Telemetry;
use anyhow::Context as _;
use http::{Request, Response};
use hyper_rustls::HttpsConnectorBuilder;
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_http::{Bytes, HttpClient, HttpError};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use s3api::{Audit, Outcome, RequestId, TraceParent};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tracing::Span;
use tracing::field::Empty;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

/// What the spans here are known by, so that nothing else is sent.
const TARGET: &str = "trace";
const TIMEOUT: Duration = Duration::from_secs(10);
/// Where a collector takes traces (<https://opentelemetry.io/docs/specs/otlp/#otlphttp-request>).
const PATH: &str = "/v1/traces";

/// Sends what was traced; kept until the node ends.
#[derive(Clone)]
pub struct Traces(SdkTracerProvider);

impl Traces {
    /// Needs the runtime that is to carry the spans away.
    pub fn new(telemetry: &Telemetry) -> anyhow::Result<Option<Self>> {
        let Some(endpoint) = &telemetry.otlp_endpoint else { return Ok(None) };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(OnRuntime::new()?)
            .with_endpoint(with_path(endpoint))
            .with_timeout(TIMEOUT)
            .build()
            .context("traces")?;
        let resource = Resource::builder()
            .with_service_name("s3-orchestrator")
            .with_attribute(opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(telemetry.sample_ratio)));
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_sampler(sampler)
            .with_resource(resource)
            .build();
        Ok(Some(Self(provider)))
    }

    /// Whatever the log shows, traces have their own mind.
    pub fn layer<S>(&self) -> Box<dyn Layer<S> + Send + Sync>
    where
        S: tracing::Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        let tracer = self.0.tracer("s3-orchestrator");
        let layer =
            tracing_opentelemetry::layer().with_tracer(tracer).with_location(false).with_threads(false);
        layer.with_filter(filter_fn(|about| about.target() == TARGET)).boxed()
    }

    /// Sends what is left. It waits: not for the threads that serve sockets.
    pub fn finish(&self) {
        if let Err(error) = self.0.shutdown_with_timeout(TIMEOUT) {
            tracing::warn!(%error, "not every trace was sent");
        }
    }
}

fn with_path(endpoint: &str) -> String {
    let trimmed = endpoint.trim_end_matches('/');
    let has_path = trimmed.split_once("://").is_some_and(|(_, rest)| rest.contains('/'));
    if has_path { endpoint.to_owned() } else { format!("{trimmed}{PATH}") }
}

/// Begins the span of a request, below the client's own.
pub fn begin(id: &RequestId, trace: TraceParent<'_>) -> Span {
    let span = tracing::info_span!(
        target: TARGET,
        "request",
        otel.name = Empty,
        otel.kind = "server",
        otel.status_code = Empty,
        request_id = id.as_str(),
        rpc.system = "aws-api",
        rpc.service = "S3",
        rpc.method = Empty,
        aws.s3.bucket = Empty,
        aws.s3.key = Empty,
        client.address = Empty,
        http.response.status_code = Empty,
        http.request.body.size = Empty,
        http.response.body.size = Empty,
        error.type = Empty,
    );
    if trace.traceparent.is_some() {
        // An unreadable parent is none; without a layer there is nothing to set.
        let _ = span.set_parent(TraceContextPropagator::new().extract(&Carrier(trace)));
    }
    span
}

pub fn end(span: &Span, audit: &Audit, outcome: &Outcome<'_>) {
    let operation = if audit.operation.is_empty() { "request" } else { audit.operation };
    span.record("otel.name", operation);
    span.record("rpc.method", operation);
    span.record("aws.s3.bucket", audit.bucket.as_deref());
    span.record("aws.s3.key", audit.key.as_deref());
    span.record("client.address", tracing::field::display(outcome.remote.ip()));
    span.record("http.response.status_code", outcome.status_code());
    span.record("http.request.body.size", outcome.bytes_in);
    span.record("http.response.body.size", outcome.bytes_out);
    span.record("error.type", audit.code.map(s3api::Code::name));
    if outcome.status_code() >= 500 {
        span.record("otel.status_code", "ERROR");
    }
}

struct Carrier<'a>(TraceParent<'a>);

impl Extractor for Carrier<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            "traceparent" => self.0.traceparent,
            "tracestate" => self.0.tracestate,
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent", "tracestate"]
    }
}

/// The exporter has a thread of its own, and hyper needs the runtime: it is carried over.
struct OnRuntime {
    runtime: Handle,
    client: Arc<dyn HttpClient>,
}

impl OnRuntime {
    fn new() -> anyhow::Result<Self> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(provider)
            .context("the system's certificates")?
            .https_or_http()
            .enable_http1()
            .build();
        let client = Arc::new(HyperClient::new(connector, TIMEOUT, None));
        Ok(Self { runtime: Handle::current(), client })
    }
}

impl fmt::Debug for OnRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnRuntime")
    }
}

type Sent<'a> = Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'a>>;

impl HttpClient for OnRuntime {
    fn send_bytes<'a, 'b>(&'a self, request: Request<Bytes>) -> Sent<'b>
    where
        'a: 'b,
        Self: 'b,
    {
        let client = Arc::clone(&self.client);
        let sent = self.runtime.spawn(async move { client.send_bytes(request).await });
        Box::pin(async move { sent.await? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_without_a_path_gets_the_usual_one() {
        assert_eq!(with_path("http://127.0.0.1:4318"), "http://127.0.0.1:4318/v1/traces");
        assert_eq!(with_path("http://127.0.0.1:4318/"), "http://127.0.0.1:4318/v1/traces");
        assert_eq!(with_path("https://otlp.example.org/x/v1/traces"), "https://otlp.example.org/x/v1/traces");
    }
}
