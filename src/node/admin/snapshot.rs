//! Copies of the records on backends: taking one now, and which there are.

use super::{Fault, report};
use crate::node::Node;
use crate::times::rfc3339;
use crate::workers::ordered::{SNAPSHOT, SnapshotOrder};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The subject of a snapshot to every backend that is configured for it.
const ALL: &str = "all";

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    Now { backends: Vec<String> },
    List {},
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Snapshots {
    /// What was ordered, as `jobs` calls it.
    pub job: Option<String>,
    /// The newest first.
    pub snapshots: Vec<Snapshot>,
    /// Backends that could not be asked, and why.
    pub silent: Vec<(String, String)>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Snapshot {
    pub id: String,
    pub backend: String,
    pub taken: String,
    pub bytes: u64,
    /// Everything that it is made of is there.
    pub whole: bool,
}

pub async fn answer(node: Arc<Node>, request: Request) -> Result<Snapshots, Fault> {
    match request {
        Request::Now { backends } => {
            let job = Some(begin(&node, backends).await?);
            Ok(Snapshots { job, snapshots: Vec::new(), silent: Vec::new() })
        }
        Request::List {} => {
            let (found, silent) = node.store.snapshots().await;
            Ok(Snapshots { job: None, snapshots: found.into_iter().map(Snapshot::from).collect(), silent })
        }
    }
}

impl From<store::SnapshotAt> for Snapshot {
    fn from(at: store::SnapshotAt) -> Self {
        let store::SnapshotAt { backend, id, taken, bytes, whole, .. } = at;
        Self { id, backend, taken: rfc3339(taken), bytes, whole }
    }
}

async fn begin(node: &Node, backends: Vec<String>) -> Result<String, Fault> {
    for name in &backends {
        report::known_backend(node, name)?;
    }
    let subject = if backends.is_empty() { ALL.to_owned() } else { backends.join(",") };
    let configured = node.config().snapshots.clone();
    let backends = if backends.is_empty() { configured.backends } else { backends };
    let order = SnapshotOrder { backends, keep: configured.keep };
    let order = serde_json::to_string(&order).unwrap_or_default();
    report::begin(node, &SNAPSHOT, &subject, &order).await
}
