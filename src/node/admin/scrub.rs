//! Verifying copies: what the worker is told, what it did, and doing it now.

use super::{Fault, report};
use crate::node::Node;
use crate::workers::ordered::{SCRUB, ScrubOrder};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The subject of a scrub of everything.
const ALL: &str = "all";

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    Look {},
    Now { backend: Option<String> },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Scrub {
    pub period_seconds: u64,
    pub bytes_per_second: u64,
    /// Whether the worker verifies copies at providers too.
    pub providers: bool,
    /// Since the node started.
    pub verified_copies: u64,
    pub verified_bytes: u64,
    pub mismatches: u64,
    /// What was ordered, as `jobs` calls it.
    pub job: Option<String>,
}

pub async fn answer(node: Arc<Node>, request: Request) -> Result<Scrub, Fault> {
    let job = match request {
        Request::Look {} => None,
        Request::Now { backend } => Some(begin(&node, backend).await?),
    };
    let config = node.config().scrub.clone();
    let figures = node.store.figures().await?.scrub;
    Ok(Scrub {
        period_seconds: config.period.as_secs(),
        bytes_per_second: config.bytes_per_second,
        providers: config.providers,
        verified_copies: figures.replicas,
        verified_bytes: figures.bytes,
        mismatches: figures.mismatches,
        job,
    })
}

async fn begin(node: &Node, backend: Option<String>) -> Result<String, Fault> {
    if let Some(name) = &backend {
        report::known_backend(node, name)?;
    }
    let subject = backend.clone().unwrap_or_else(|| ALL.to_owned());
    let order = serde_json::to_string(&ScrubOrder { backend }).unwrap_or_default();
    report::begin(node, &SCRUB, &subject, &order).await
}
