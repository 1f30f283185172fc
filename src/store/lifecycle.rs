//! The end of objects that a rule of their bucket says have lived long enough. When it runs is the
//! node's affair.

use meta::{Item, ObjectRecord, Order, Start};
use std::time::Duration;
use types::{BucketId, Key, Version, WriteConditions};

use crate::{Store, StoreError};

/// Objects that one step looks at, and that one commit deletes at most: clients wait beside it.
const STEP_OBJECTS: usize = 1000;
const COMMIT_OBJECTS: usize = 100;

/// Objects that fit all of it expire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpiryRule {
    pub prefix: String,
    /// Each must be there, with this value.
    pub tags: Vec<(String, String)>,
    /// Since they were last written.
    pub age: Duration,
}

/// How far a step came.
#[derive(Debug, Clone, Default)]
pub struct Expired {
    /// Where the next step begins; `None`: there is nothing behind it.
    pub next: Option<String>,
    pub seen: u64,
    pub removed: u64,
}

impl ExpiryRule {
    fn fits(&self, object: &ObjectRecord, now: types::Timestamp) -> bool {
        let age_ms = u64::try_from(self.age.as_millis()).unwrap_or(u64::MAX);
        let tags = object.headers.tags.pairs();
        object.modified <= now.saturating_sub_ms(age_ms) && self.tags.iter().all(|tag| tags.contains(tag))
    }
}

impl Store {
    /// One step of a walk over the objects of a bucket that begin with the rule's prefix.
    pub async fn expire_step(
        &self,
        bucket: BucketId,
        rule: &ExpiryRule,
        after: Option<String>,
    ) -> Result<Expired, StoreError> {
        let now = self.now();
        let wanted = rule.clone();
        let (mut expired, mut due) = self
            .blocking(move |inner| {
                let start = after.map_or(Start::Beginning, Start::After);
                let page = inner.meta.list(bucket, &wanted.prefix, None, &start, STEP_OBJECTS)?;
                let mut expired = Expired { seen: page.items.len() as u64, ..Expired::default() };
                let (more, mut due) = (page.more, Vec::new());
                for item in page.items {
                    let Item::Entry(key, object) = item else { continue };
                    expired.next = Some(key.as_str().to_owned());
                    if wanted.fits(&object, now) {
                        due.push((key, object.version));
                    }
                }
                if !more {
                    expired.next = None;
                }
                Ok((expired, due))
            })
            .await?;
        while !due.is_empty() {
            let rest = due.split_off(due.len().min(COMMIT_OBJECTS));
            let batch = std::mem::replace(&mut due, rest);
            expired.removed += self.expire(bucket, rule.clone(), batch, now).await?;
        }
        Ok(expired)
    }

    /// Judged again, now that nothing can come between: what was written or tagged anew stays.
    async fn expire(
        &self,
        bucket: BucketId,
        rule: ExpiryRule,
        due: Vec<(Key, Version)>,
        now: types::Timestamp,
    ) -> Result<u64, StoreError> {
        self.commit(Order::Shared, move |txn| {
            let mut removed = 0;
            for (key, version) in due {
                let object = txn.object(bucket, &key)?;
                if object.is_some_and(|object| object.version == version && rule.fits(&object, now)) {
                    txn.delete_object(bucket, &key, &WriteConditions::default())?;
                    removed += 1;
                }
            }
            Ok(removed)
        })
        .await
    }
}
