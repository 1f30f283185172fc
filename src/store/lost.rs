//! Objects that cannot be read any more: every copy of some of their bytes is damaged, missing, or on a backend that
//! was taken out. They are found by a walk over a bucket's objects, and given up on order.
//!
//! What the records say is not enough to give anything up: each such copy is read through once more first, and
//! one that cannot be judged now (its backend is away) saves its object.

use meta::{BackendId, BlobRecord, Content, Item, Order, Replica, Start};
use std::collections::HashSet;
use std::sync::Arc;
use types::{BlobId, BucketId, Key, Version, WriteConditions};

use crate::{Inner, Store, StoreError};

const STEP_OBJECTS: usize = 1000;

/// What became of an object without a readable copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Lost,
    /// As `Lost`, and it is no object any more.
    Forgotten,
    /// A copy could not be looked at: nothing is done.
    Unjudged,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    pub key: String,
    pub size: u64,
    pub fate: Fate,
    /// Which copies there are, or why it could not be judged.
    pub why: String,
}

/// How far a step came.
#[derive(Debug, Clone, Default)]
pub struct LostStep {
    /// Where the next step begins; `None`: there is nothing behind it.
    pub next: Option<String>,
    pub seen: u64,
    pub found: Vec<Unreadable>,
}

/// An object that has no good copy by the records.
struct Suspect {
    key: Key,
    version: Version,
    size: u64,
    /// Of its blobs those that are the reason.
    blobs: Vec<BlobId>,
}

impl Store {
    /// One step of a walk over the objects of a bucket. `forget`: what is lost is deleted.
    pub async fn lost_step(
        &self,
        bucket: BucketId,
        after: Option<String>,
        forget: bool,
    ) -> Result<LostStep, StoreError> {
        let (mut step, suspects, gone) = self.blocking(move |inner| suspects(inner, bucket, after)).await?;
        let gone = Arc::new(gone);
        for suspect in suspects {
            let Some((mut fate, why)) = self.judge_suspect(&suspect, &gone).await? else { continue };
            if fate == Fate::Lost && forget && self.give_up(bucket, &suspect, &gone).await? {
                fate = Fate::Forgotten;
            }
            let key = suspect.key.as_str().to_owned();
            step.found.push(Unreadable { key, size: suspect.size, fate, why });
        }
        Ok(step)
    }

    /// `None`: it can be read after all.
    async fn judge_suspect(
        &self,
        suspect: &Suspect,
        gone: &HashSet<BackendId>,
    ) -> Result<Option<(Fate, String)>, StoreError> {
        let mut told = Vec::new();
        for blob in &suspect.blobs {
            let Some((_pin, record)) = self.living(*blob).await? else { continue };
            let mut copies = Vec::new();
            for replica in record.replicas() {
                let name = self.0.fleet.name_of(replica.backend);
                if gone.contains(&replica.backend) {
                    copies.push("one on a backend that was taken out".to_owned());
                    continue;
                }
                match self.verify_replica(*blob, &record, &replica.target()).await {
                    Ok(true) => {
                        copies.clear();
                        break;
                    }
                    Ok(false) => copies.push(format!("the one on {name} is damaged or missing")),
                    Err(error) => {
                        let why = format!("the copy on {name} cannot be looked at: {error}");
                        return Ok(Some((Fate::Unjudged, why)));
                    }
                }
            }
            if !copies.is_empty() {
                told.push(format!("blob {blob}: {}", copies.join(", ")));
            }
        }
        Ok((!told.is_empty()).then(|| (Fate::Lost, told.join("; "))))
    }

    /// Judged again, now that nothing can come between: an object that was written anew stays, and so does
    /// one of which a copy is good after all. `false`: it stays.
    async fn give_up(
        &self,
        bucket: BucketId,
        suspect: &Suspect,
        gone: &Arc<HashSet<BackendId>>,
    ) -> Result<bool, StoreError> {
        let (key, version, blobs) = (suspect.key.clone(), suspect.version, suspect.blobs.clone());
        let gone = Arc::clone(gone);
        self.commit(Order::Shared, move |txn| {
            if txn.object(bucket, &key)?.is_none_or(|object| object.version != version) {
                return Ok(false);
            }
            let mut lost = false;
            for blob in blobs {
                lost |= txn.blob(blob)?.is_some_and(|record| !has_good(&record, &gone));
            }
            if lost {
                txn.delete_object(bucket, &key, &WriteConditions::default())?;
            }
            Ok(lost)
        })
        .await
    }
}

/// A page of objects, those of them that have no good copy, and the backends that were taken out.
fn suspects(
    inner: &Inner,
    bucket: BucketId,
    after: Option<String>,
) -> Result<(LostStep, Vec<Suspect>, HashSet<BackendId>), StoreError> {
    let gone = inner.taken_out()?;
    let start = after.map_or(Start::Beginning, Start::After);
    let page = inner.meta.list(bucket, "", None, &start, STEP_OBJECTS)?;
    let mut step = LostStep { seen: page.items.len() as u64, ..LostStep::default() };
    let mut suspects = Vec::new();
    for item in page.items {
        let Item::Entry(key, object) = item else { continue };
        step.next = page.more.then(|| key.as_str().to_owned());
        let blobs = without_good(inner, object.blob, &gone)?;
        if !blobs.is_empty() {
            suspects.push(Suspect { key, version: object.version, size: object.size, blobs });
        }
    }
    Ok((step, suspects, gone))
}

fn without_good(inner: &Inner, blob: BlobId, gone: &HashSet<BackendId>) -> Result<Vec<BlobId>, StoreError> {
    // An object that is replaced at this moment loses its blob.
    let Some(record) = inner.meta.blob(blob)? else { return Ok(Vec::new()) };
    let Content::Parts(parts) = &record.content else {
        return Ok(if has_good(&record, gone) { Vec::new() } else { vec![blob] });
    };
    let mut found = Vec::new();
    for part in parts {
        if inner.meta.blob(part.blob)?.is_some_and(|record| !has_good(&record, gone)) {
            found.push(part.blob);
        }
    }
    Ok(found)
}

fn has_good(record: &BlobRecord, gone: &HashSet<BackendId>) -> bool {
    record.replicas().iter().any(|replica: &Replica| replica.is_good() && !gone.contains(&replica.backend))
}
