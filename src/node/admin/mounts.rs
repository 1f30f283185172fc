//! Buckets that are mounted as directories.

use super::Fault;
use crate::mounts::Running;
use crate::node::Node;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;

/// How many hidden keys of a mount are listed by name.
const MAX_NAMED: usize = 1_000;

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Also look for what they cannot show.
    #[serde(default)]
    pub hidden: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Mounts {
    pub mounts: Vec<Mount>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Mount {
    pub bucket: String,
    /// Empty: the whole bucket.
    pub prefix: String,
    pub path: PathBuf,
    pub read_only: bool,
    /// Of the configuration: it comes again with the node.
    pub lasting: bool,
    /// It was unmounted while files in it were open.
    pub leaving: bool,
    /// Nobody else unmounted it.
    pub alive: bool,
    pub open_files: u64,
    /// What the kernel remembers of it.
    pub inodes: u64,
    /// If it was asked for.
    pub hidden: Option<Hidden>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Hidden {
    pub counts: Vec<Count>,
    /// The first of them.
    pub keys: Vec<HiddenKey>,
    /// The look ended before the bucket did.
    pub or_more: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Count {
    pub reason: String,
    pub keys: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HiddenKey {
    pub key: String,
    pub reason: String,
}

pub async fn answer(node: Arc<Node>, request: Request) -> Result<Mounts, Fault> {
    let mut mounts = Vec::new();
    for running in node.mounts.all() {
        let mut mount = Mount::from(&running);
        if request.hidden {
            let found = running.mount.hidden(MAX_NAMED).await;
            mount.hidden = Some(found.map_err(|error| Fault::failed(error.to_string()))?.into());
        }
        mounts.push(mount);
    }
    Ok(Mounts { mounts })
}

impl From<&Running> for Mount {
    fn from(running: &Running) -> Self {
        let options = running.mount.options();
        Self {
            bucket: options.bucket_name.as_str().to_owned(),
            prefix: options.prefix.clone(),
            path: running.mount.path().to_owned(),
            read_only: options.read_only,
            lasting: running.lasting,
            leaving: running.leaving,
            alive: running.mount.is_alive(),
            open_files: running.mount.open_handles() as u64,
            inodes: running.mount.inodes() as u64,
            hidden: None,
        }
    }
}

impl From<fuse::Hidden> for Hidden {
    fn from(found: fuse::Hidden) -> Self {
        let count = |(reason, keys): (&str, u64)| Count { reason: reason.to_owned(), keys };
        let named = |(key, reason): (String, &str)| HiddenKey { key, reason: reason.to_owned() };
        Self {
            counts: found.counts.into_iter().map(count).collect(),
            keys: found.keys.into_iter().map(named).collect(),
            or_more: found.or_more,
        }
    }
}
