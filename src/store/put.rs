//! PutObject.

use meta::{Account, Draft, Order};
use types::{BlobId, BucketId, Key, ObjectHeaders, Version, WriteConditions};

use crate::ingest::Ingested;
use crate::lanes::Landed;
use crate::purpose::Purpose;
use crate::{Asker, Object, PutRequest, Source, Store, StoreError, Written};

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
        let purpose = Purpose { bucket, key: &key, headers: &headers, part: None };
        let body = self.ingest(purpose, &promised, replaced_bytes, source).await?;
        let asker = Asker { bucket, origin: meta::Origin::default(), waits: true };
        let record = self.record(asker, key, headers, conditions, body, None).await?;
        Ok(Written::of(&record))
    }

    /// Makes a body that came in an object, under a number that was taken for it if there is one.
    pub(crate) async fn record(
        &self,
        asker: Asker,
        key: Key,
        headers: ObjectHeaders,
        conditions: WriteConditions,
        body: Ingested,
        version: Option<Version>,
    ) -> Result<Object, StoreError> {
        let Asker { bucket, origin, waits } = asker;
        let Ingested { blob, etag, checksum, room, landed } = body;
        let (id, targets) = (blob.id, blob.targets.clone());
        let draft = Draft {
            blob: id,
            inline: blob.is_inline(),
            size: blob.size,
            etag,
            modified: self.now(),
            checksum: Some(checksum),
            headers,
        };
        let work = move |txn: &mut meta::Txn<'_>| {
            txn.caused_by(origin);
            txn.add_blob(blob);
            let record = match version {
                Some(version) => txn.write_version(bucket, &key, draft, &conditions, version)?,
                None => txn.write_object(bucket, &key, draft, &conditions)?,
            };
            txn.check_quota(Account::Bucket(bucket), &room)?;
            Ok(record)
        };
        let record = match waits {
            true => self.commit_landed(Order::Shared, id, landed, work).await,
            false => self.commit_landed_alone(Order::Shared, id, landed, work).await,
        }?;
        self.note_written(id, &targets);
        Ok(record)
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
        let answer = self.commit_landed_alone(order, blob, landed, work).await;
        self.settle().await;
        answer
    }

    /// Without waiting for mounts: see `commit_alone`.
    pub(crate) async fn commit_landed_alone<T, F>(
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
