//! The last log lines.

use super::Fault;
use crate::log_ring::Line;
use crate::node::Node;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// Then a follower asks again.
const WAIT: Duration = Duration::from_secs(20);
const MAX_LINES: usize = 2_000;

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub lines: usize,
    #[serde(default)]
    pub audit: bool,
    /// Only lines behind this one.
    #[serde(default)]
    pub after: u64,
    /// If there are none, wait for some.
    #[serde(default)]
    pub wait: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Logs {
    pub lines: Vec<LogLine>,
    /// The number of the last of them; ask for what is behind it.
    pub last: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LogLine {
    pub number: u64,
    pub audit: bool,
    pub text: String,
}

pub async fn answer(node: Arc<Node>, request: Request) -> Result<Logs, Fault> {
    let Request { audit, after, wait, .. } = request;
    let max = request.lines.min(MAX_LINES);
    let ring = &node.log.ring;
    let lines = match wait && max > 0 {
        true => tokio::time::timeout(WAIT, ring.next(after, max, audit)).await.unwrap_or_default(),
        false => ring.last(after, max, audit),
    };
    let last = lines.last().map_or(after, |line| line.number);
    Ok(Logs { lines: lines.into_iter().map(LogLine::from).collect(), last })
}

impl From<Line> for LogLine {
    fn from(Line { number, audit, text }: Line) -> Self {
        Self { number, audit, text }
    }
}
