//! The listener for monitoring: `/health/live`, `/health/ready`, `/metrics`, and nothing else.
//!
//! The S3 face's server carries it, with its guard and its clocks; it knows no credentials, so it
//! listens on loopback unless its owner says otherwise.

use super::encode::Figures;
use super::{Health, Metrics, snapshot, system};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;
use s3api::{Answered, Audit, Handler, RequestBody, RequestId, ResponseBody};
use std::net::SocketAddr;
use std::sync::Arc;
use types::Timestamp;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub struct Outside {
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    started: Timestamp,
}

impl Outside {
    pub fn new(health: Arc<Health>, metrics: Arc<Metrics>, started: Timestamp) -> Self {
        Self { health, metrics, started }
    }

    async fn answer(&self, method: &Method, path: &str) -> Response<ResponseBody> {
        let known = matches!(path, "/health/live" | "/health/ready" | "/metrics");
        if known && !matches!(*method, Method::GET | Method::HEAD) {
            let mut refused = text_answer(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".to_owned());
            refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refused;
        }
        match path {
            "/health/live" => text_answer(StatusCode::OK, "live\n".to_owned()),
            "/health/ready" => self.ready(),
            "/metrics" => self.metrics().await,
            _ => text_answer(StatusCode::NOT_FOUND, "/health/live /health/ready /metrics\n".to_owned()),
        }
    }

    fn ready(&self) -> Response<ResponseBody> {
        match self.health.obstacle() {
            None => text_answer(StatusCode::OK, "ready\n".to_owned()),
            Some(obstacle) => {
                text_answer(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {obstacle}\n"))
            }
        }
    }

    async fn metrics(&self) -> Response<ResponseBody> {
        match self.exposition().await {
            Ok(exposition) => {
                let mut answer = text_answer(StatusCode::OK, exposition);
                answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(OPEN_METRICS));
                answer
            }
            Err(error) => {
                tracing::error!(%error, "the metrics could not be read");
                text_answer(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n"))
            }
        }
    }

    async fn exposition(&self) -> anyhow::Result<String> {
        let mut figures = Vec::new();
        if let Some(node) = self.health.node() {
            figures.extend(snapshot::of_node(node).await?);
        }
        figures.push(super::encode::Figure::gauge(
            "ready",
            "1 while the node takes work",
            self.health.obstacle().is_none(),
        ));
        let mut ours = Registry::with_prefix("s3o");
        ours.register_collector(Box::new(Figures(figures)));
        let mut usual = Registry::default();
        let mut process = system::of_process(self.started);
        process.push(system::of_build());
        usual.register_collector(Box::new(Figures(process)));
        let mut out = String::with_capacity(32 << 10);
        for registry in [self.metrics.registry(), &ours, &usual] {
            text::encode_registry(&mut out, registry)?;
        }
        text::encode_eof(&mut out)?;
        Ok(out)
    }
}

impl Handler for Outside {
    async fn handle(&self, request: Request<RequestBody>, _: RequestId, _: SocketAddr) -> Answered {
        let mut response = self.answer(request.method(), request.uri().path()).await;
        if request.method() == Method::HEAD
            && let ResponseBody::Full(bytes) = response.body()
        {
            *response.body_mut() = ResponseBody::Head(bytes.len() as u64);
        }
        Answered { response, audit: Audit::default(), toll: None }
    }
}

fn text_answer(status: StatusCode, text: String) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
