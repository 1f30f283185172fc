//! Blobs whose file a kernel may read by itself: one local file that holds exactly their bytes, and that was
//! verified since the node started. Nobody verifies what is read that way.

use meta::{BackendId, Target};
use parking_lot::Mutex;
use std::collections::HashSet;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use types::BlobId;

use crate::pace::Pace;
use crate::replicas::{Blob, Opened};
use crate::verify::Seen;
use crate::{OpenObject, Store, StoreError};

/// Beyond so many, all are verified again when they are opened again.
const MAX_KNOWN: usize = 1 << 20;

#[derive(Default)]
pub(crate) struct Verified(Mutex<HashSet<(BlobId, BackendId)>>);

impl Verified {
    /// Its bytes were hashed on their way in, or read and found good.
    pub fn note(&self, blob: BlobId, backend: BackendId) {
        let mut known = self.0.lock();
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert((blob, backend));
    }

    fn has(&self, blob: BlobId, backend: BackendId) -> bool {
        self.0.lock().contains(&(blob, backend))
    }
}

/// What a kernel may do with an object's bytes.
pub enum Plain {
    File(OwnedFd),
    /// Verify it, and ask again.
    Unverified,
    No,
}

/// The replica that would be read, if it is a file of ours.
fn plain_replica(store: &Store, opened: &OpenObject) -> Option<(Blob, Target)> {
    let record = opened.record().filter(|record| record.is_summed())?;
    let blob = Blob { id: opened.object().blob, record: Arc::clone(record), end: record.size };
    let target = blob.best(&store.0, &[], None)?;
    let good = record.replica_at(&target).is_some_and(meta::Replica::is_good);
    (good && is_own_file(store, blob.id, &target)).then_some((blob, target))
}

/// What was adopted where it lay may be changed there by whoever put it there.
fn is_own_file(store: &Store, blob: BlobId, target: &Target) -> bool {
    let Some(member) = store.0.fleet.get(target.backend).filter(|member| !member.backend.is_remote()) else {
        return false;
    };
    let location = member.location(blob, &target.place);
    location.is_some_and(|location| member.backend.is_reserved(&location))
}

impl Store {
    /// Opens the file, and nothing else.
    pub fn plain(&self, opened: &OpenObject) -> Result<Plain, StoreError> {
        let Some((blob, target)) = plain_replica(self, opened) else { return Ok(Plain::No) };
        if !self.0.verified.has(blob.id, target.backend) {
            return Ok(Plain::Unverified);
        }
        let source = blob.open_local(&self.0, &target).map_err(|trouble| trouble.into_error(blob.id))?;
        match source.map(|source| source.opened) {
            Some(Opened::File(file)) => Ok(Plain::File(file.as_fd().try_clone_to_owned()?)),
            _ => Ok(Plain::No),
        }
    }

    /// Its bytes were hashed on their way to `targets`.
    pub(crate) fn note_written(&self, blob: BlobId, targets: &[Target]) {
        let files = targets.iter().filter(|target| is_own_file(self, blob, target));
        files.for_each(|target| self.0.verified.note(blob, target.backend));
    }

    /// Reads all of it once, which takes as long as the disk needs for that.
    pub async fn verify_plain(&self, opened: &OpenObject) -> Result<(), StoreError> {
        let Some((blob, target)) = plain_replica(self, opened) else { return Ok(()) };
        let look = self.look_at(blob.id, &blob.record, &target, &Pace::new(None)).await;
        match &look.seen {
            Seen::Good => self.0.verified.note(blob.id, target.backend),
            Seen::Bad(_) => drop(self.note_seen(&[look]).await?),
            Seen::Summed(_) | Seen::Unread(_) => {}
        }
        Ok(())
    }
}
