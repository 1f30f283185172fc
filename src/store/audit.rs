//! A walk over all blobs whenever what is asked of them changed: other numbers of copies, a backend
//! more or fewer, one that is being emptied, one that was lost. It only queues work.

use meta::{BackendState, BlobRecord, Content, Order};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use types::{BlobId, BucketId};

use crate::copies::judged;
use crate::{Inner, Store, StoreError};

/// Blobs that one step looks at: a few milliseconds.
const STEP_BLOBS: usize = 1000;

impl Store {
    /// Whether something changed since the last whole walk; what the next one is for.
    pub async fn audit_due(&self) -> Result<Option<u64>, StoreError> {
        self.blocking(|inner| {
            let asked = asked(inner);
            Ok((inner.meta.audited()? != Some(asked)).then_some(asked))
        })
        .await
    }

    /// One step of a walk, behind `after`; `None` when it is at the end.
    pub async fn audit_step(&self, after: Option<BlobId>) -> Result<Option<BlobId>, StoreError> {
        let now = self.now();
        let (last, tasks) = self
            .blocking(move |inner| {
                let blobs = inner.meta.blobs(after, STEP_BLOBS)?;
                let tasks: Vec<_> =
                    blobs.iter().filter_map(|(id, record)| judged(inner, *id, record, now)).collect();
                Ok((blobs.last().map(|(id, _)| *id), tasks))
            })
            .await?;
        if !tasks.is_empty() {
            self.commit(Order::Shared, move |txn| {
                tasks.iter().for_each(|task| txn.queue_copies(task));
                Ok(())
            })
            .await?;
        }
        Ok(last)
    }

    /// A walk for what `audit_due` said is complete.
    pub async fn audit_done(&self, asked: u64) -> Result<(), StoreError> {
        self.blocking(move |inner| Ok(inner.meta.note_audit(asked)?)).await
    }

    /// Blobs of the first format do not say whose they are: the objects do. One step of a walk over the
    /// objects of a bucket; `None` when it is at the end.
    pub async fn adopt_step(
        &self,
        bucket: BucketId,
        after: Option<String>,
    ) -> Result<Option<String>, StoreError> {
        let (last, found) = self
            .blocking(move |inner| {
                let start = after.map_or(meta::Start::Beginning, meta::Start::After);
                let page = inner.meta.list(bucket, "", None, &start, STEP_BLOBS)?;
                let mut found = Vec::new();
                let mut last = None;
                for item in page.items {
                    let meta::Item::Entry(key, object) = item else { continue };
                    last = Some(key.as_str().to_owned());
                    unowned(inner, object.blob, &mut found)?;
                }
                Ok((last, found))
            })
            .await?;
        if !found.is_empty() {
            self.commit(Order::Shared, move |txn| {
                for blob in found {
                    txn.adopt_blob(blob, bucket)?;
                }
                Ok(())
            })
            .await?;
        }
        Ok(last)
    }

    /// Buckets whose blobs may have to be told whose they are.
    pub fn bucket_ids(&self) -> Vec<BucketId> {
        self.0.settings.policies().into_iter().map(|(bucket, _)| bucket).collect()
    }
}

/// A blob and those that it is made of, as far as nobody knows whose they are.
fn unowned(inner: &Inner, id: BlobId, found: &mut Vec<BlobId>) -> Result<(), StoreError> {
    let Some(BlobRecord { bucket: None, content, .. }) = inner.meta.blob(id)? else { return Ok(()) };
    found.push(id);
    if let Content::Parts(parts) = content {
        found.extend(parts.iter().map(|part| part.blob));
    }
    Ok(())
}

/// A number for everything that decides which copies there should be.
fn asked(inner: &Inner) -> u64 {
    let mut hasher = DefaultHasher::new();
    for (bucket, policy) in inner.settings.policies() {
        (bucket.0, policy.copies()).hash(&mut hasher);
    }
    for member in inner.fleet.members().iter() {
        let state = match member.state() {
            BackendState::Draining if member.is_held() => 3,
            BackendState::Active => 0,
            BackendState::Draining => 1,
            BackendState::Removed => 2_u8,
        };
        (member.id.0, state, inner.is_lost(member)).hash(&mut hasher);
    }
    hasher.finish()
}
