//! PutObject.

use meta::{Account, Draft, Order};
use types::{BlobId, BucketId, ETag, Key, WriteConditions};

use crate::ingest::Ingested;
use crate::lanes::Landed;
use crate::purpose::Purpose;
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
        match size {
            Some(size) if size > max => return Err(StoreError::TooLarge { size, max }),
            _ if self.0.disk.is_full() => return Err(StoreError::Full),
            _ if conditions.is_none() => return Ok(()),
            _ => {}
        }
        let current = self.find(bucket, key).await?;
        conditions.check(current.as_ref().map(|c| &c.etag)).map_err(StoreError::Refused)
    }

    pub async fn put<S: Source>(&self, request: PutRequest, source: S) -> Result<Written, StoreError> {
        let PutRequest { bucket, key, headers, conditions, promised } = request;
        self.check_put(bucket, &key, &conditions, promised.size).await?;
        let current = self.find(bucket, &key).await?;
        let net = promised.size.map(|size| size.saturating_sub(current.map_or(0, |c| c.size)));
        let purpose = Purpose { bucket, key: &key, headers: &headers, part: None };
        let Ingested { blob, md5, checksum, room, landed } =
            self.ingest(purpose, &promised, net, source).await?;
        let id = blob.id;
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
        self.commit_landed(Order::Shared, id, landed, work).await
    }

    /// A commit that records what intents announced: if it fails, the bytes go to cleanup.
    pub(crate) async fn commit_landed<T, F>(
        &self,
        order: Order,
        blob: BlobId,
        landed: Landed,
        work: F,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut meta::Txn<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        // Only replicas that are still being written need one, and the store to follow them.
        let follow = (!landed.running.is_empty()).then(|| (self.clone(), tokio::runtime::Handle::current()));
        self.0.meta.commit(order, work, move |answer| {
            if answer.is_ok() {
                landed.settle(blob, follow);
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
