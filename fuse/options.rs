//! What a mount is asked to be.

use std::path::PathBuf;
use types::{BucketId, BucketName, Timestamp};

#[derive(Debug, Clone)]
pub struct Options {
    pub bucket: BucketId,
    pub bucket_name: BucketName,
    pub path: PathBuf,
    /// Empty, or ends with a slash: only what lies below it is shown.
    pub prefix: String,
    pub read_only: bool,
    /// Mount over a directory that is not empty.
    pub nonempty: bool,
    /// Other users than the node's may use the mount, as far as the modes let them.
    pub allow_other: bool,
    /// Owner and modes of what has none of its own.
    pub uid: u32,
    pub gid: u32,
    pub file_mode: u32,
    pub dir_mode: u32,
    /// Event loops; `None` is what suits the machine.
    pub threads: Option<usize>,
    pub clock: fn() -> Timestamp,
}
