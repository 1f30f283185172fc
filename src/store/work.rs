//! The steps of background work; when they run is the node's affair.

use meta::{CleanupTask, Order, Txn};
use types::BlobId;

use crate::{Inner, Progress, Store, StoreError, UploadRef};

/// What one pass deletes at most: its commit stays small beside what clients wait for.
const PASS_BLOBS: usize = 512;

impl Store {
    /// Resolves when there may be work on the cleanup queue.
    pub async fn cleanup_due(&self) {
        self.0.cleanup.0.notified().await;
    }

    /// What waits for cleanup, oldest first, `max` at most.
    pub async fn cleanup_queue(&self, max: usize) -> Result<Vec<Queued>, StoreError> {
        self.blocking(move |inner| {
            let tasks = inner.meta.cleanups(None, max)?;
            tasks.into_iter().map(|(id, task)| queued(inner, id, &task)).collect()
        })
        .await
    }

    /// Deletes what nobody refers to and nobody reads: the only code that deletes a replica.
    pub async fn cleanup_pass(&self) -> Result<Progress, StoreError> {
        let passed = self.pass().await;
        if matches!(&passed, Err(error) if !matches!(error, StoreError::Fenced)) {
            // Its work is still there.
            self.0.cleanup.0.notify_one();
        }
        passed
    }

    async fn pass(&self) -> Result<Progress, StoreError> {
        let (doomed, found) = self.blocking(delete_files).await?;
        let done = doomed.len() as u64;
        if doomed.is_empty() {
            if found > 0 {
                // Pinned ones: look again later.
                self.0.cleanup.0.notify_one();
            }
            return Ok(Progress { done: 0, left: found });
        }
        self.commit(Order::Shared, move |txn| {
            for doomed in doomed {
                forget(txn, &doomed)?;
            }
            Ok(())
        })
        .await?;
        self.0.cleanup.0.notify_one();
        Ok(Progress { done, left: found.saturating_sub(done) })
    }

    /// Ends uploads without activity for the configured time, and forgets finished ones.
    pub async fn expire_uploads(&self) -> Result<u64, StoreError> {
        let until = self.now().saturating_sub_ms(self.0.settings.multipart_expiry_ms());
        let due = self.blocking(move |inner| Ok(inner.meta.expiring(until, PASS_BLOBS)?)).await?;
        let mut expired = 0;
        for (since, bucket, key, id) in due {
            let upload = UploadRef { bucket, key, id };
            let ended = self
                .commit(Order::Alone, move |txn| {
                    txn.end_expiry(since, id);
                    // A task from before the upload was finished must not end the note early.
                    if txn.finished(id)?.is_some_and(|note| note.modified <= until) {
                        txn.forget_finished(id);
                    }
                    let UploadRef { bucket, key, id } = upload;
                    let Some(_) = txn.upload(bucket, &key, id)? else { return Ok(0) };
                    let parts = txn.parts(id)?;
                    match parts.iter().map(|(_, part)| part.modified).max() {
                        Some(active) if active > until => {
                            txn.queue_expiry(bucket, &key, id, active);
                            Ok(0)
                        }
                        _ => txn
                            .end_upload(bucket, &key, id, &parts, |_| false)
                            .map(|()| 1)
                            .map_err(Into::into),
                    }
                })
                .await?;
            expired += ended;
        }
        Ok(expired)
    }
}

/// An entry of the cleanup queue.
#[derive(Debug, Clone, Copy)]
pub struct Queued {
    pub blob: BlobId,
    pub bytes: u64,
    /// Bytes of a write that was never finished.
    pub stray: bool,
    /// Somebody still reads it.
    pub held: bool,
}

fn queued(inner: &Inner, blob: BlobId, task: &CleanupTask) -> Result<Queued, StoreError> {
    let (bytes, stray) = match task {
        CleanupTask::Stray(intent) => (intent.size, true),
        CleanupTask::Blob => (inner.meta.blob(blob)?.map_or(0, |record| record.size), false),
    };
    Ok(Queued { blob, bytes, stray, held: inner.pins.holds(blob) })
}

/// A cleanup that nobody's reading holds up.
struct Doomed {
    id: BlobId,
    task: CleanupTask,
    /// Its files are gone. Otherwise it was referenced again when it was looked at.
    deleted: bool,
}

fn forget(txn: &mut Txn<'_>, doomed: &Doomed) -> Result<(), StoreError> {
    let Doomed { id, task, deleted } = doomed;
    let settled = match (task, deleted) {
        (CleanupTask::Stray(_), _) => true,
        (CleanupTask::Blob, true) => txn.forget_blob(*id)?,
        // It may have been released once more since: then its files still stand, and it stays in the queue.
        (CleanupTask::Blob, false) => txn.blob(*id)?.is_none_or(|record| record.references > 0),
    };
    if settled {
        txn.end_cleanup(*id, task);
    }
    Ok(())
}

/// Deletes the files of unpinned, unreferenced blobs; also says how many tasks it saw.
fn delete_files(inner: &Inner) -> Result<(Vec<Doomed>, u64), StoreError> {
    // A batch that failed may be on the disk all the same, with a reference to what looks unreferenced.
    if inner.is_fenced() {
        return Err(StoreError::Fenced);
    }
    let mut queued = inner.meta.cleanups(None, PASS_BLOBS)?;
    let mut found = queued.len() as u64;
    let mut unpinned = inner.pins.unpinned(queued.clone());
    // A queue whose head is all pinned must not hold up what lies behind.
    while unpinned.is_empty() && queued.len() == PASS_BLOBS {
        queued = inner.meta.cleanups(queued.last().map(|(id, _)| *id), PASS_BLOBS)?;
        found += queued.len() as u64;
        unpinned = inner.pins.unpinned(queued.clone());
    }
    let mut files = Vec::new();
    let mut doomed = Vec::with_capacity(unpinned.len());
    for (id, task) in unpinned {
        let record = inner.meta.blob(id)?;
        let deleted = record.as_ref().is_none_or(|record| record.references == 0);
        if deleted && record.as_ref().is_none_or(in_file) {
            files.push(id);
        }
        doomed.push(Doomed { id, task, deleted });
    }
    inner.local.remove(&files)?;
    Ok((doomed, found))
}

fn in_file(record: &meta::BlobRecord) -> bool {
    match &record.content {
        meta::Content::Bytes { replicas, .. } => replicas.iter().any(|r| r.place == meta::Place::File),
        meta::Content::Parts(_) => false,
    }
}
