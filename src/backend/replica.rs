//! What is said of a replica when it is made, and what a backend says of those it has.

use crate::{BackendError, Fault};
use std::fmt;
use std::sync::Arc;
use types::{BlobId, Timestamp};

/// The longest location of any kind, in bytes: S3 keys have 1,024.
pub const MAX_LOCATION_BYTES: usize = 1024;

/// A replica's name on its backend: a path below a disk's root, a key in a provider's bucket.
/// Cheap to clone. Only the backend that made it, or that listed it, can make sense of it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location(Arc<str>);

impl Location {
    /// For locations that come out of a record; a backend makes its own with `Backend::locate`.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// Names and values in UTF-8, names in lower case.
pub type Pairs = Vec<(String, String)>;

/// A replica that is about to be written.
#[derive(Debug, Clone)]
pub struct NewReplica {
    /// Part of the location, and what makes it unique.
    pub blob: BlobId,
    /// `{bucket}/{key}`, where the bucket's owner wants names on the backend that people can read.
    pub readable: Option<String>,
    /// If it is known: more or fewer bytes are then an error of `write` or `finish`.
    pub size: Option<u64>,
    /// Standard headers, by their HTTP names: `content-type`, `cache-control` ...
    pub headers: Pairs,
    /// The client's metadata, names without `x-amz-meta-`.
    pub metadata: Pairs,
    /// What the replica says of itself when the records are lost: `bucket`, `key`, `version`,
    /// `etag`, `checksum`, `part` ...: names are the store's. On files extended attributes
    /// (`user.s3o.NAME`), on S3 metadata (`s3o-NAME`).
    pub identity: Pairs,
}

impl NewReplica {
    pub fn of(blob: BlobId) -> Self {
        Self {
            blob,
            readable: None,
            size: None,
            headers: Vec::new(),
            metadata: Vec::new(),
            identity: Vec::new(),
        }
    }

    /// More bytes than were promised are refused before they are written.
    pub(crate) fn must_hold_at_most(&self, size: u64) -> Result<(), BackendError> {
        match self.size {
            Some(promised) if size > promised => Err(wrong_size(promised, size)),
            _ => Ok(()),
        }
    }

    pub(crate) fn must_hold(&self, size: u64) -> Result<(), BackendError> {
        match self.size {
            Some(promised) if size != promised => Err(wrong_size(promised, size)),
            _ => Ok(()),
        }
    }
}

fn wrong_size(promised: u64, size: u64) -> BackendError {
    BackendError::new(Fault::Corrupt, format!("{size} bytes written where {promised} were promised"))
}

/// A replica that is whole and durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub location: Location,
    pub size: u64,
    /// The provider's, without quotes; not ours, and not necessarily an MD5.
    pub etag: Option<String>,
}

/// One thing that a listing shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub location: Location,
    pub size: u64,
    /// The provider's, without quotes.
    pub etag: Option<String>,
    pub modified: Timestamp,
}

/// One page of a listing, in the byte order of the locations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    pub found: Vec<Found>,
    /// More may follow: go on with this as `after`. It stays good over restarts.
    pub next: Option<Location>,
}

/// Everything that a backend knows of one replica. Pairs as in [`NewReplica`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    pub found: Found,
    pub headers: Pairs,
    pub metadata: Pairs,
    pub identity: Pairs,
}

impl About {
    /// What it says of itself under a name.
    pub fn said(&self, name: &str) -> Option<&str> {
        self.identity.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// What a backend has cost since it was opened; only grows. Retries count, as they do on the bill.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    pub calls: u64,
    /// Bytes of bodies sent to the backend.
    pub ingress_bytes: u64,
    /// Bytes of bodies that came from it.
    pub egress_bytes: u64,
}
