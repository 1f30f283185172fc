//! How the node is, on one screen: what is wrong comes first.

use super::mounts::Mount;
use super::{Fault, Nothing};
use crate::backends::{self, Backend};
use crate::finding::{Finding, Severity};
use crate::node::Node;
use crate::times::rfc3339;
use crate::usage::{self, Account};
use crate::{health, hints};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use store::{Figures, MAX_COUNTED};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    pub health: Health,
    pub findings: Vec<Finding>,
    pub version: String,
    pub uptime_seconds: u64,
    /// Where S3 is served.
    pub endpoint: String,
    pub configuration: PathBuf,
    pub data_dir: PathBuf,
    pub disk: Disk,
    pub queues: Vec<Queue>,
    pub buckets: Vec<Account>,
    pub backends: Vec<Account>,
    /// Of each of these: whether it answers, and what it was asked for this month.
    pub backend_conditions: Vec<Backend>,
    pub mounts: Vec<Mount>,
    /// When the last snapshot was taken that came to all of its backends.
    pub last_snapshot: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    Good,
    Warning,
    Bad,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Disk {
    pub room_bytes: u64,
    pub size_bytes: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Queue {
    pub name: String,
    pub waiting: u64,
    /// There are more; counting ended there.
    pub or_more: bool,
}

pub async fn answer(node: Arc<Node>, Nothing {}: Nothing) -> Result<Status, Fault> {
    let config = node.config();
    let findings = health::findings(&node);
    let room = node.store.disk_room();
    let queues = queues(&node.store.figures().await?, node.store.waiting_events());
    Ok(Status {
        health: judged(&findings),
        findings,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_seconds: node.started.elapsed().as_secs(),
        endpoint: hints::endpoint(&config, node.address),
        configuration: absolute(&config.file),
        data_dir: absolute(&config.data_dir),
        disk: Disk { room_bytes: room.room_bytes, size_bytes: room.size_bytes },
        queues,
        buckets: usage::buckets(&node),
        backends: usage::backends(&node),
        backend_conditions: backends::all(&node),
        mounts: node.mounts.all().iter().map(Mount::from).collect(),
        last_snapshot: node.store.last_snapshot().await?.map(rfc3339),
    })
}

fn queues(figures: &Figures, events: u64) -> Vec<Queue> {
    let copies = figures.copies;
    let more = [copies.missing, copies.excess, copies.deferred].iter().any(|kind| *kind >= MAX_COUNTED);
    let queue = |name: &str, waiting: u64, or_more| Queue { name: name.to_owned(), waiting, or_more };
    vec![
        queue("cleanup", figures.cleanup_queue as u64, figures.cleanup_queue >= MAX_COUNTED),
        queue("copies", copies.all() as u64, more),
        queue("webhooks", events, false),
    ]
}

/// As seen from anywhere.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn judged(findings: &[Finding]) -> Health {
    match findings.iter().map(|finding| finding.severity).min() {
        None => Health::Good,
        Some(Severity::Warning) => Health::Warning,
        Some(Severity::Error) => Health::Bad,
    }
}
