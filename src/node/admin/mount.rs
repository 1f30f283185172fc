//! Mounting a bucket, until it is unmounted or the node stops.

use super::{Fault, FaultCode, mounts};
use crate::config;
use crate::node::Node;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;
use types::BucketName;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub bucket: String,
    /// From the root: the node need not be where the asker is.
    pub path: PathBuf,
    #[serde(default)]
    pub prefix: String,
    #[serde(default = "yes")]
    pub read_only: bool,
    #[serde(default)]
    pub nonempty: bool,
    #[serde(default)]
    pub allow_other: bool,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub file_mode: Option<u32>,
    pub dir_mode: Option<u32>,
}

fn yes() -> bool {
    true
}

pub async fn answer(node: Arc<Node>, request: Request) -> Result<mounts::Mount, Fault> {
    let mount = wanted(&node, request)?;
    // It waits for the kernel.
    let added = tokio::task::spawn_blocking(move || node.mounts.add(&mount, false)).await;
    let added = added.map_err(|error| Fault::failed(error.to_string()))?;
    let added = added.map_err(|error| Fault::new(FaultCode::Conflict, format!("{error:#}")))?;
    Ok(mounts::Mount::from(&added))
}

fn wanted(node: &Node, request: Request) -> Result<config::Mount, Fault> {
    let found = BucketName::new(request.bucket.clone()).ok();
    let bucket = found.filter(|name| node.store.bucket(name).is_some());
    let bucket = bucket.ok_or_else(|| Fault::not_found(format!("there is no bucket {}", request.bucket)))?;
    if !request.path.is_absolute() {
        return Err(Fault::bad_request("the path does not begin at the root"));
    }
    let modes = [request.file_mode, request.dir_mode];
    if modes.iter().flatten().any(|mode| *mode > 0o777) {
        return Err(Fault::bad_request("a mode is at most 0777"));
    }
    let prefix = config::check_prefix(&request.prefix).map_err(Fault::bad_request)?;
    Ok(config::Mount {
        bucket,
        path: request.path,
        prefix,
        read_only: request.read_only,
        nonempty: request.nonempty,
        allow_other: request.allow_other,
        uid: request.uid,
        gid: request.gid,
        file_mode: request.file_mode.unwrap_or(config::DEFAULT_FILE_MODE),
        dir_mode: request.dir_mode.unwrap_or(config::DEFAULT_DIR_MODE),
    })
}
