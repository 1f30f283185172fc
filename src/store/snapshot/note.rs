//! Joints on their way to where they are kept.

use bytes::Bytes;
use futures_util::future::join_all;
use std::sync::Arc;
use std::time::Duration;
use types::{BucketId, BucketName};

use super::joint::Joint;
use super::place;
use crate::member::Member;
use crate::{Store, StoreError};

/// So long an answer waits for its note at most.
const PATIENCE: Duration = Duration::from_secs(10);

impl Store {
    /// The name of a bucket whose joints are noted: not where all bytes are in the data directory.
    pub(crate) fn noted_bucket(&self, bucket: BucketId) -> Option<BucketName> {
        if self.0.fleet.is_simple() {
            return None;
        }
        self.0.settings.bucket_name(bucket)
    }

    /// Says where the bytes of an object are kept what it is made of. Without a snapshot there is nothing that a
    /// restore could put it onto. That it could not be said is not worth a failure: the next snapshot has it.
    pub(crate) async fn note_joint(&self, joint: Option<Joint>) {
        let Some(joint) = joint else { return };
        let noted = match self.holders(&joint).await {
            Ok(holders) => join_all(holders.iter().map(|member| self.note_at(member, &joint))).await,
            Err(error) => vec![Err(error)],
        };
        for error in noted.into_iter().filter_map(Result::err) {
            let key = joint.key.as_str();
            tracing::warn!(%error, key, "a restore would not know this object before the next snapshot");
        }
    }

    /// The backends that the first of its bytes are on; none where no note is wanted.
    async fn holders(&self, joint: &Joint) -> Result<Vec<Arc<Member>>, StoreError> {
        if self.last_snapshot().await?.is_none() {
            return Ok(Vec::new());
        }
        let Some(first) = joint.parts.first().map(|part| part.blob) else { return Ok(Vec::new()) };
        let record = self.blocking(move |inner| Ok(inner.meta.blob(first)?)).await?;
        let replicas = record.as_ref().map(|record| record.replicas()).unwrap_or_default();
        let members = replicas.iter().filter_map(|replica| self.0.fleet.get(replica.backend));
        Ok(members.filter(|member| !member.is_embedded()).collect())
    }

    async fn note_at(&self, member: &Arc<Member>, joint: &Joint) -> Result<(), StoreError> {
        let at = place::joint(&self.0.node, joint.blob);
        let writing = async {
            member.may_call(1).await;
            member.judge(place::write(&*member.backend, at, Bytes::from(joint.encode())).await)
        };
        match tokio::time::timeout(PATIENCE, writing).await {
            Ok(written) => Ok(written?),
            Err(_) => Err(member.too_late().into()),
        }
    }
}
