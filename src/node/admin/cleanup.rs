//! The cleanup queue: what waits in it, and emptying it now.

use super::Fault;
use crate::jobs::State;
use crate::node::Node;
use crate::workers::cleanup::NAME;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Counting further would be slow just when there is much to do.
const MAX_COUNTED: usize = 100_000;
/// What a dry run lists at most.
const MAX_LISTED: usize = 1_000;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// How much waits.
    Look {},
    /// Which blobs would be deleted.
    DryRun {},
    /// Delete them: one bounded pass, now.
    Run {},
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Cleanup {
    pub waiting: u64,
    /// There are more; counting ended there.
    pub or_more: bool,
    pub waiting_bytes: u64,
    /// Of those that wait: somebody still reads them.
    pub held: u64,
    /// Deleted by this request.
    pub deleted: u64,
    pub paused: bool,
    /// Of a dry run.
    pub blobs: Vec<Blob>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Blob {
    pub id: String,
    pub bytes: u64,
    /// Bytes of a write that was never finished.
    pub stray: bool,
    pub held: bool,
}

pub async fn answer(node: Arc<Node>, request: Request) -> Result<Cleanup, Fault> {
    let deleted = match request {
        Request::Run {} => node.store.cleanup_pass().await?.done,
        _ => 0,
    };
    let queue = node.store.cleanup_queue(MAX_COUNTED).await?;
    let listed = if matches!(request, Request::DryRun {}) { MAX_LISTED } else { 0 };
    let job = node.jobs.find(NAME).map(|job| job.report().state);
    Ok(Cleanup {
        waiting: queue.len() as u64,
        or_more: queue.len() == MAX_COUNTED,
        waiting_bytes: queue.iter().map(|queued| queued.bytes).sum(),
        held: queue.iter().filter(|queued| queued.held).count() as u64,
        deleted,
        paused: job == Some(State::Paused),
        blobs: queue.into_iter().take(listed).map(Blob::from).collect(),
    })
}

impl From<store::Queued> for Blob {
    fn from(queued: store::Queued) -> Self {
        let store::Queued { blob, bytes, stray, held } = queued;
        Self { id: blob.to_string(), bytes, stray, held }
    }
}
