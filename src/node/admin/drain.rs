//! Emptying a backend, and putting it back into use.

use super::Fault;
use super::jobs::cancel;
use crate::node::Node;
use crate::workers::ordered::{self, DRAIN};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub backend: String,
    /// Break it off, or put back into use what was emptied or taken out.
    pub cancel: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Drain {
    pub backend: String,
    /// What `jobs` calls it.
    pub job: String,
    /// It is being emptied from now on; if not, it takes writes again.
    pub draining: bool,
    /// What it holds now.
    pub bytes: u64,
    pub objects: u64,
    /// What the quotas of the others leave, if all have one.
    pub room_bytes: Option<u64>,
}

pub async fn answer(node: Arc<Node>, request: Request) -> Result<Drain, Fault> {
    let Request { backend, cancel } = request;
    let job = format!("{}/{backend}", DRAIN.name);
    match cancel {
        true => end(&node, &backend, &job).await?,
        false => begin(&node, &backend, &job).await?,
    }
    let holding = node.store.holding(&backend).await?.unwrap_or_default();
    let room_bytes = node.store.room_besides(&backend);
    let (bytes, objects) = (holding.bytes, holding.objects);
    Ok(Drain { backend, job, draining: !cancel, bytes, objects, room_bytes })
}

async fn begin(node: &Node, backend: &str, job: &str) -> Result<(), Fault> {
    node.store.can_drain(backend)?;
    match ordered::begin(node, &DRAIN, backend, "").await? {
        Some(_) => Ok(()),
        None => Err(Fault::conflict(format!("{job} is under way: `jobs` shows how far it is"))),
    }
}

async fn end(node: &Node, backend: &str, job: &str) -> Result<(), Fault> {
    if node.jobs.find(job).is_some_and(|job| !job.is_over()) {
        return cancel(node, job).await.map(drop);
    }
    match node.store.end_drain(backend).await? {
        true => Ok(()),
        false => Err(Fault::conflict(format!("{backend} is in use: there is nothing to break off"))),
    }
}
