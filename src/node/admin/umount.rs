//! Unmounting: what is being written is committed first.

use super::Fault;
use crate::mounts::Unmounted;
use crate::node::Node;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// From the root, without symbolic links.
    pub path: PathBuf,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ended {
    pub path: PathBuf,
    /// Files in it are still open, and can be used until they are closed.
    pub in_use: bool,
}

pub async fn answer(node: Arc<Node>, request: Request) -> Result<Ended, Fault> {
    let path = request.path.clone();
    let removed = tokio::task::spawn_blocking(move || node.mounts.remove(&path)).await;
    let path = request.path;
    match removed.map_err(|error| Fault::failed(error.to_string()))? {
        Unmounted::Ended => Ok(Ended { path, in_use: false }),
        Unmounted::InUse => Ok(Ended { path, in_use: true }),
        Unmounted::NotMounted => {
            Err(Fault::not_found(format!("this node has nothing mounted on {}", path.display())))
        }
    }
}
