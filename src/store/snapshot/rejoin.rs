//! Objects of several blobs that are younger than the snapshot, from what is said of them beside it: completed
//! uploads, and what was appended to.

use meta::{Content, Draft, ObjectRecord, Order, Txn};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use types::{BlobId, BucketId, Key, ObjectHeaders, WriteConditions};

use super::joint::Joint;
use super::place::{self, Kept};
use super::recover::{Left, Recovery, Whole, add_whole, beside, set_beside};
use super::restore::Restored;
use crate::StoreError;
use crate::member::Member;

/// One that can be put together, and how.
struct Rejoined {
    bucket: BucketId,
    key: Key,
    joint: Joint,
    /// Blobs that no record names yet.
    fresh: Vec<Whole>,
    displaced: Option<(Key, ObjectRecord)>,
}

impl Recovery<'_> {
    /// What a backend has of objects that are younger than the snapshot.
    pub(super) async fn look_for_joints(
        &mut self,
        member: &Arc<Member>,
        restored: &mut Restored,
    ) -> Result<(), StoreError> {
        let kept = Kept::list(&*member.backend, Some(&self.manifest.node)).await?;
        for ((_, blob), (location, size)) in kept.joints {
            self.highest = self.highest.max(blob.0);
            if self.joints.contains_key(&blob) || self.meta.blob(blob)?.is_some() {
                continue;
            }
            match place::read(&*member.backend, &location, size, Joint::decode).await? {
                Some(joint) if joint.blob == blob => drop(self.joints.insert(blob, joint)),
                _ => restored.left.push(format!("{location} on {}: it is not whole", member.name)),
            }
        }
        Ok(())
    }

    /// Takes out of `wholes` what they are made of. One that has lost a part was deleted, or displaced, since.
    pub(super) fn record_joints(
        &mut self,
        wholes: &mut BTreeMap<BlobId, Whole>,
        restored: &mut Restored,
    ) -> Result<(), StoreError> {
        // In the order in which they were made: one may be part of how the next came to be.
        for (_, joint) in std::mem::take(&mut self.joints) {
            let Some(bucket) = self.bucket_of(&joint.bucket) else { continue };
            let mut whole = true;
            for part in &joint.parts {
                whole &= wholes.contains_key(&part.blob) || self.left_of(part.blob)? == Left::There;
            }
            if !whole {
                continue;
            }
            let fresh = joint.parts.iter().filter_map(|part| wholes.remove(&part.blob)).collect();
            self.record_joint(bucket, joint, fresh, restored)?;
        }
        Ok(())
    }

    fn record_joint(
        &self,
        bucket: BucketId,
        joint: Joint,
        fresh: Vec<Whole>,
        restored: &mut Restored,
    ) -> Result<(), StoreError> {
        let current = self.meta.object(bucket, &joint.key)?;
        let (key, displaced) = match self.is_newer(joint.blob, joint.modified, current.as_ref()) {
            true => {
                restored.recovered += 1;
                (joint.key.clone(), self.displaced(bucket, &joint, current, restored)?)
            }
            false => {
                let Some(name) = beside(joint.key.as_str(), &joint.blob.to_string()) else { return Ok(()) };
                restored.set_beside.push(self.shown(bucket, &name));
                (name, None)
            }
        };
        let rejoined = Rejoined { bucket, key, joint, fresh, displaced };
        self.meta.commit_and_wait(Order::Shared, move |txn| rejoined.record(txn))
    }

    /// What has the name, and another one for it, unless the new object has all of its bytes.
    fn displaced(
        &self,
        bucket: BucketId,
        joint: &Joint,
        current: Option<ObjectRecord>,
        restored: &mut Restored,
    ) -> Result<Option<(Key, ObjectRecord)>, StoreError> {
        let Some(current) = current else { return Ok(None) };
        let has = |blob| joint.parts.iter().any(|part| part.blob == blob);
        let record = self.meta.blob(current.blob)?;
        let within = match record.as_ref().map(|record| &record.content) {
            Some(Content::Parts(parts)) => parts.iter().all(|part| has(part.blob)),
            _ => has(current.blob),
        };
        if within { Ok(None) } else { self.kept_beside(bucket, &joint.key, current, restored) }
    }
}

impl Rejoined {
    fn record(self, txn: &mut Txn<'_>) -> Result<(), StoreError> {
        let Self { bucket, key, joint, fresh, displaced } = self;
        set_beside(txn, bucket, displaced)?;
        let mut headers = fresh.first().map(Whole::headers);
        let mut held: BTreeSet<BlobId> = fresh.iter().map(Whole::id).collect();
        for whole in fresh {
            add_whole(txn, whole)?;
        }
        if let Some((of_upload, taken)) = end_upload(txn, bucket, &joint)? {
            headers = headers.or(Some(of_upload));
            held.extend(taken);
        }
        for part in joint.parts.iter().filter(|part| !held.contains(&part.blob)) {
            txn.reference_blob(part.blob)?;
        }
        let size = joint.parts.iter().map(|part| part.size).sum();
        let Joint { blob, modified, etag, checksum, parts, .. } = joint;
        txn.add_composite(blob, bucket, parts);
        let headers = headers.unwrap_or_default();
        let draft = Draft { blob, inline: false, size, etag, modified, checksum, headers };
        txn.write_object(bucket, &key, draft, &WriteConditions::default())?;
        Ok(())
    }
}

/// An upload that the snapshot has as unfinished ends as it did: with its headers, the blobs that the object takes over.
fn end_upload(
    txn: &mut Txn<'_>,
    bucket: BucketId,
    joint: &Joint,
) -> Result<Option<(ObjectHeaders, Vec<BlobId>)>, StoreError> {
    let Some(id) = joint.upload else { return Ok(None) };
    let Some(upload) = txn.upload(bucket, &joint.key, id)? else { return Ok(None) };
    let wanted: BTreeMap<u16, BlobId> = joint.parts.iter().map(|part| (part.number, part.blob)).collect();
    let parts = txn.parts(id)?;
    let taken = parts.iter().filter(|(number, part)| wanted.get(number) == Some(&part.blob));
    let taken: BTreeMap<u16, BlobId> = taken.map(|(number, part)| (*number, part.blob)).collect();
    txn.end_upload(bucket, &joint.key, id, &parts, |number| taken.contains_key(&number))?;
    txn.end_expiry(upload.initiated, id);
    Ok(Some((upload.headers, taken.into_values().collect())))
}
