//! Bytes behind those of an object: a new version of its blobs and one more. No byte of the old ones moves.

use meta::{Account, BlobPart, Content, Draft, Order, Txn};
use std::sync::Arc;
use types::{BlobId, Checksum, ETag, Key, ObjectHeaders, Version, WriteConditions};

use crate::ingest::Ingested;
use crate::md5::Md5;
use crate::snapshot::Joint;
use crate::{Arrived, Asker, Held, Object, OpenObject, Store, StoreError};

/// An object of more pieces is better written anew.
pub const MAX_PIECES: usize = 500;

pub struct Append {
    pub asker: Asker,
    pub key: Key,
    /// What the bytes come behind, kept from cleanup.
    pub base: OpenObject,
    /// Behind whatever the key has by now: nobody who appends at the same time loses anything.
    pub to_current: bool,
    pub headers: ObjectHeaders,
    pub version: Version,
}

pub enum Appended {
    /// The version that it made.
    Done(Held),
    /// Nothing changed.
    TooManyPieces,
}

impl Store {
    pub async fn append(&self, append: Append, more: Arrived) -> Result<Appended, StoreError> {
        let Ingested { blob, etag: of_more, checksum, room, landed } = more.0;
        let blob_id = blob.id;
        let (modified, waits, inner) = (self.now(), append.asker.waits, Arc::clone(&self.0));
        let name = self.noted_bucket(append.asker.bucket);
        let work = move |txn: &mut Txn<'_>| {
            let Append { asker, key, base, to_current, headers, version } = append;
            let bucket = asker.bucket;
            txn.caused_by(asker.origin);
            let current = txn.object(bucket, &key)?.filter(|_| to_current);
            let before = current.as_ref().unwrap_or_else(|| base.object());
            let mut parts = pieces(txn, before)?;
            if parts.len() > MAX_PIECES {
                // Raised by nothing else in here, and makes the commit roll back.
                return Err(StoreError::InvalidPartOrder);
            }
            let number = parts.last().map_or(1, |part| part.number.saturating_add(1));
            let size = before.size + blob.size;
            let whole = whole_checksum(before, &checksum, blob.size);
            let etag = etag(before, of_more.md5, parts.len() + 1);
            parts.push(BlobPart { number, blob: blob.id, size: blob.size, checksum: Some(checksum) });
            txn.add_blob(blob);
            let id = BlobId(txn.next_id()?);
            let pin = inner.pins.pin(id);
            let joint = name.map(|bucket| Joint {
                blob: id,
                bucket,
                key: key.clone(),
                upload: None,
                modified,
                etag,
                checksum: whole,
                parts: parts.clone(),
            });
            txn.add_composite(id, bucket, parts);
            let draft = Draft { blob: id, inline: false, size, etag, modified, checksum: whole, headers };
            let record = txn.write_version(bucket, &key, draft, &WriteConditions::default(), version)?;
            txn.check_quota(Account::Bucket(bucket), &room)?;
            // The old one's pin goes back with the answer: see `copy`.
            Ok((Held::of(&record, pin), joint, base))
        };
        let done = match waits {
            true => self.commit_landed(Order::Shared, blob_id, landed, work).await,
            false => self.commit_landed_alone(Order::Shared, blob_id, landed, work).await,
        };
        match done {
            Ok((held, joint, _pinned)) => {
                self.note_joint(joint).await;
                Ok(Appended::Done(held))
            }
            Err(StoreError::InvalidPartOrder) => Ok(Appended::TooManyPieces),
            Err(error) => Err(error),
        }
    }
}

/// The blobs of an object, each with one reference more.
fn pieces(txn: &mut Txn<'_>, object: &Object) -> Result<Vec<BlobPart>, StoreError> {
    let Object { blob, size, checksum, .. } = object;
    let record = txn.blob(*blob)?;
    let record = record.ok_or_else(|| StoreError::Corrupt(format!("blob {blob} has no record")))?;
    let parts = match record.content {
        // A part is never made of parts.
        Content::Parts(parts) => parts,
        Content::Bytes { .. } => {
            vec![BlobPart { number: 1, blob: *blob, size: *size, checksum: *checksum }]
        }
    };
    for part in &parts {
        txn.reference_blob(part.blob)?;
    }
    Ok(parts)
}

fn whole_checksum(before: &Object, more: &Checksum, more_bytes: u64) -> Option<Checksum> {
    let before = before.checksum.filter(|sum| sum.parts().is_none())?;
    before.combine(more, more_bytes)
}

/// As of a multipart object of two parts.
fn etag(before: &Object, md5: [u8; 16], pieces: usize) -> ETag {
    let mut both = Md5::new();
    both.update(&before.etag.md5);
    both.update(&md5);
    ETag { md5: both.finish(), parts: Some(u16::try_from(pieces).unwrap_or(u16::MAX)) }
}
