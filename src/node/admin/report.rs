//! What ordered work that looks at bytes has found so far.

use super::Fault;
use super::jobs::JobLine;
use crate::node::Node;
use crate::reports::{Line, Report, Tally};
use crate::workers::ordered::{self, Kind};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Of one answer.
const LINES_MAX: usize = 1000;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub job: String,
    /// Lines that were read already.
    pub from: usize,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Found {
    pub job: JobLine,
    pub tally: Tally,
    pub lines: Vec<Line>,
    /// Lines for which there was no room; they are in the log.
    pub dropped: u64,
}

pub async fn answer(node: Arc<Node>, request: Request) -> Result<Found, Fault> {
    let Request { job: name, from } = request;
    let job = node.jobs.find(&name).ok_or_else(|| Fault::not_found(format!("there is no job {name}")))?;
    // In this order: what is over has told everything.
    let job = JobLine::from(job.report());
    let Report { tally, lines, dropped } = node.reports.read(&name, from, LINES_MAX);
    Ok(Found { job, tally, lines, dropped })
}

/// Orders a job whose lines can be asked for; its name.
pub async fn begin(node: &Node, kind: &Kind, subject: &str, order: &str) -> Result<String, Fault> {
    let name = format!("{}/{subject}", kind.name);
    if node.jobs.find(&name).is_none_or(|job| job.is_over()) {
        node.reports.begin(&name);
    }
    match ordered::begin(node, kind, subject, order).await? {
        Some(_) => Ok(name),
        None => Err(Fault::conflict(format!("{name} is under way: `jobs` shows how far it is"))),
    }
}

pub fn known_backend(node: &Node, name: &str) -> Result<(), Fault> {
    let backends = node.store.backends();
    if backends.iter().any(|backend| backend.name == name) {
        return Ok(());
    }
    let names: Vec<_> = backends.iter().map(|backend| backend.name.as_str()).collect();
    Err(Fault::not_found(format!("there is no backend {name}; there are: {}", names.join(", "))))
}
