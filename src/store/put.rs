//! PutObject.

use meta::{Account, Draft, Order};
use types::{BucketId, ETag, Key, WriteConditions};

use crate::ingest::{Claim, Ingested};
use crate::{PutRequest, Source, Store, StoreError, Written};

impl Store {
    /// Early, cheap check of what the commit will decide again: conditions, size, room.
    pub async fn check_put(
        &self,
        bucket: BucketId,
        key: &Key,
        conditions: &WriteConditions,
        size: Option<u64>,
    ) -> Result<(), StoreError> {
        let max = self.limits().max_object_size_bytes;
        if let Some(size) = size.filter(|size| *size > max) {
            return Err(StoreError::TooLarge { size, max });
        }
        self.check_room()?;
        if conditions.is_none() {
            return Ok(());
        }
        let current = self.find(bucket, key).await?;
        conditions.check(current.as_ref().map(|c| &c.etag)).map_err(StoreError::Refused)
    }

    pub async fn put<S: Source>(&self, request: PutRequest, source: S) -> Result<Written, StoreError> {
        let PutRequest { bucket, key, headers, conditions, promised } = request;
        self.check_put(bucket, &key, &conditions, promised.size).await?;
        let replaced_bytes = self.find(bucket, &key).await?.map_or(0, |current| current.size);
        let Ingested { blob, md5, checksum, room, claim } =
            self.ingest(bucket, &promised, replaced_bytes, source).await?;
        let draft = Draft {
            blob: blob.id,
            inline: blob.is_inline(),
            size: blob.size,
            etag: ETag::single(md5),
            modified: self.now(),
            checksum: Some(checksum),
            headers,
        };
        let work = move |txn: &mut meta::Txn<'_>| {
            txn.add_blob(blob);
            let record = txn.write_object(bucket, &key, draft, &conditions)?;
            txn.check_quota(Account::Bucket(bucket), &room)?;
            Ok(Written::of(&record))
        };
        self.commit_claimed(Order::Shared, claim, work).await
    }

    /// A commit that records what an intent announced: if it fails, the bytes go to cleanup.
    pub(crate) async fn commit_claimed<T, F>(
        &self,
        order: Order,
        claim: Option<Claim>,
        work: F,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut meta::Txn<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        self.0.meta.commit(order, work, move |answer| {
            if let (Ok(_), Some(claim)) = (&answer, claim) {
                claim.settle();
            }
            drop(sender.send(answer));
        });
        receiver.await.unwrap_or(Err(StoreError::Busy))
    }
}

impl Written {
    pub(crate) fn of(record: &meta::ObjectRecord) -> Self {
        Self {
            etag: record.etag,
            version: record.version,
            modified: record.modified,
            size: record.size,
            checksum: record.checksum,
        }
    }
}
