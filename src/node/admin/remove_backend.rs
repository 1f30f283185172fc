//! Taking a backend out for good.

use super::Fault;
use crate::node::Node;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub backend: String,
    /// It is gone for good: forget what it held.
    pub lost: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Removal {
    pub backend: String,
    /// The configuration need not have it any more, and nothing is missing.
    pub removed: bool,
    /// Replicas that are forgotten, since there are others.
    pub forgotten: u64,
    /// Blobs without another good replica: still on record.
    pub only_copies: u64,
    /// Objects that need one of them: the first thousand.
    pub lost: Vec<Lost>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Lost {
    pub bucket: String,
    pub key: String,
    pub bytes: u64,
}

pub async fn answer(node: Arc<Node>, request: Request) -> Result<Removal, Fault> {
    let Request { backend, lost } = request;
    if !lost {
        node.store.remove_backend(&backend).await?;
        return Ok(Removal { backend, removed: true, forgotten: 0, only_copies: 0, lost: Vec::new() });
    }
    let forgotten = node.store.forget_backend(&backend).await?;
    let named =
        |object: store::LostObject| Lost { bucket: object.bucket, key: object.key, bytes: object.size };
    Ok(Removal {
        backend,
        removed: forgotten.only_copies == 0,
        forgotten: forgotten.replicas,
        only_copies: forgotten.only_copies,
        lost: forgotten.lost.into_iter().map(named).collect(),
    })
}
