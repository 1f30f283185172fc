//! The cleanup queue, for operators who want to look at it.

use meta::CleanupTask;
use types::{BlobId, Timestamp};

use crate::{Inner, Store, StoreError};

/// An entry of the cleanup queue.
#[derive(Debug, Clone, Copy)]
pub struct Queued {
    pub blob: BlobId,
    pub bytes: u64,
    /// Bytes of a write that was never finished, or of a replica that its blob no longer needs.
    pub stray: bool,
    /// Somebody still reads it.
    pub held: bool,
}

impl Store {
    /// What waits for cleanup, also what is tried again later, oldest first, `max` at most.
    pub async fn cleanup_queue(&self, max: usize) -> Result<Vec<Queued>, StoreError> {
        self.blocking(move |inner| {
            let tasks = inner.meta.cleanups(Timestamp(u64::MAX), None, max)?;
            tasks.into_iter().map(|queued| entry(inner, &queued.task)).collect()
        })
        .await
    }
}

fn entry(inner: &Inner, task: &CleanupTask) -> Result<Queued, StoreError> {
    let (bytes, stray) = match task {
        CleanupTask::Stray { size, .. } => (*size, true),
        CleanupTask::Blob { blob, .. } => (inner.meta.blob(*blob)?.map_or(0, |record| record.size), false),
    };
    let blob = task.blob();
    Ok(Queued { blob, bytes, stray, held: inner.pins.holds(blob) })
}
