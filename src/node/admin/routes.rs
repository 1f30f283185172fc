//! The table of what the node can be asked: `POST /v1/NAME`, JSON in, JSON out.

use super::{
    Fault, cleanup, credentials, drain, jobs, locate, log_level, logs, lost, mount, mounts, rebalance,
    reconcile, reload, remove_backend, report, scrub, snapshot, status, umount, usage, version,
};
use crate::node::Node;
use hyper::body::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::pin::Pin;
use std::sync::Arc;

type Answering = Pin<Box<dyn Future<Output = Result<Vec<u8>, Fault>> + Send>>;

pub struct Route {
    pub name: &'static str,
    pub answer: fn(Arc<Node>, Bytes) -> Answering,
}

macro_rules! routes {
    ($($name:literal => $answer:path),* $(,)?) => {
        const ROUTES: &[Route] = &[$(Route {
            name: $name,
            answer: |node, body| Box::pin(async move { encode(&$answer(node, decode(&body)?).await?) }),
        }),*];
    };
}

routes! {
    "cleanup" => cleanup::answer,
    "credentials" => credentials::answer,
    "drain" => drain::answer,
    "jobs" => jobs::answer,
    "locate" => locate::answer,
    "log-level" => log_level::answer,
    "logs" => logs::answer,
    "lost" => lost::answer,
    "mount" => mount::answer,
    "mounts" => mounts::answer,
    "rebalance" => rebalance::answer,
    "reconcile" => reconcile::answer,
    "reload" => reload::answer,
    "remove-backend" => remove_backend::answer,
    "report" => report::answer,
    "scrub" => scrub::answer,
    "snapshot" => snapshot::answer,
    "status" => status::answer,
    "umount" => umount::answer,
    "usage" => usage::answer,
    "version" => version::answer,
}

pub fn find(path: &str) -> Option<&'static Route> {
    let name = path.strip_prefix("/v1/")?;
    ROUTES.iter().find(|route| route.name == name)
}

/// No body is a question without details.
fn decode<Q: DeserializeOwned>(body: &[u8]) -> Result<Q, Fault> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| Fault::bad_request(format!("the request: {error}")))
}

fn encode<A: Serialize>(answer: &A) -> Result<Vec<u8>, Fault> {
    serde_json::to_vec(answer).map_err(|error| Fault::new(super::FaultCode::Failed, error.to_string()))
}
