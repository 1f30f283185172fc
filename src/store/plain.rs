//! Blobs whose file a kernel may read by itself: one local file that holds exactly their bytes, and that was
//! verified since the node started. Nobody verifies what is read that way.

use meta::{Content, Place};
use parking_lot::Mutex;
use std::collections::HashSet;
use std::os::fd::{AsFd as _, OwnedFd};
use types::{BlobId, ByteRange};

use crate::{OpenObject, Store, StoreError};

/// Beyond so many, all are verified again when they are opened again.
const MAX_KNOWN: usize = 1 << 20;
/// What is read at a time to verify a blob.
const STEP_BYTES: u64 = 4 << 20;

#[derive(Default)]
pub(crate) struct Verified(Mutex<HashSet<BlobId>>);

impl Verified {
    /// Its bytes were hashed on their way in, or read and found good.
    pub fn note(&self, blob: BlobId) {
        let mut known = self.0.lock();
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(blob);
    }

    fn has(&self, blob: BlobId) -> bool {
        self.0.lock().contains(&blob)
    }
}

/// What a kernel may do with an object's bytes.
pub enum Plain {
    File(OwnedFd),
    /// Verify it, and ask again.
    Unverified,
    No,
}

impl Store {
    /// Opens the file, and nothing else.
    pub fn plain(&self, opened: &OpenObject) -> Result<Plain, StoreError> {
        let blob = opened.object().blob;
        let is_file = opened.record().is_some_and(|record| match &record.content {
            Content::Bytes { replicas, .. } => replicas.iter().any(|replica| replica.place == Place::File),
            Content::Parts(_) => false,
        });
        match is_file {
            false => Ok(Plain::No),
            true if !self.0.verified.has(blob) => Ok(Plain::Unverified),
            true => Ok(Plain::File(self.0.local.get(blob)?.as_fd().try_clone_to_owned()?)),
        }
    }

    /// Reads all of it once. May take as long as the disk needs for that.
    pub fn verify_plain(&self, opened: &OpenObject) -> Result<(), StoreError> {
        let size = opened.object().size;
        let mut start = 0;
        while start < size {
            let end = (start + STEP_BYTES).min(size);
            opened.read_now(ByteRange { start, end })?;
            start = end;
        }
        self.0.verified.note(opened.object().blob);
        Ok(())
    }
}
