//! DeleteObject, DeleteObjects, and the tags of an object.

use meta::Order;
use types::{BucketId, Key, Tags, WriteConditions};

use crate::{DeleteRequest, Store, StoreError};

impl Store {
    /// Whether there was something. Missing without a condition is no error.
    pub async fn delete(&self, bucket: BucketId, request: DeleteRequest) -> Result<bool, StoreError> {
        self.collect().await;
        self.commit(Order::Shared, move |txn| {
            let conditions = WriteConditions { if_match: request.if_match, if_absent: false };
            Ok(txn.delete_object(bucket, &request.key, &conditions)?.is_some())
        })
        .await
    }

    /// Each stands for itself; they wait for the same syncs.
    pub async fn delete_many(
        &self,
        bucket: BucketId,
        requests: Vec<DeleteRequest>,
    ) -> Vec<Result<bool, StoreError>> {
        let handed_in: Vec<_> = requests
            .into_iter()
            .map(|request| {
                let (sender, receiver) = tokio::sync::oneshot::channel();
                let work = move |txn: &mut meta::Txn<'_>| {
                    let conditions = WriteConditions { if_match: request.if_match, if_absent: false };
                    Ok(txn.delete_object(bucket, &request.key, &conditions)?.is_some())
                };
                self.0.meta.commit(Order::Shared, work, move |answer| drop(sender.send(answer)));
                receiver
            })
            .collect();
        let mut answers = Vec::with_capacity(handed_in.len());
        for receiver in handed_in {
            answers.push(receiver.await.unwrap_or(Err(StoreError::Busy)));
        }
        self.settle().await;
        answers
    }

    pub async fn set_tags(&self, bucket: BucketId, key: &Key, tags: Tags) -> Result<(), StoreError> {
        let key = key.clone();
        self.commit(Order::Shared, move |txn| {
            let mut record = txn.object(bucket, &key)?.ok_or(StoreError::NoSuchKey)?;
            record.headers.tags = tags;
            txn.restate_object(bucket, &key, &record);
            Ok(())
        })
        .await
    }
}
