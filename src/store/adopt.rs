//! Bytes that are somebody else's become objects where they lie: nothing is read, nothing is moved.
//!
//! What is known of them is what their backend says: name, size, ETag, time, headers. They have no checksums
//! until they are read through once, by scrub or for a copy; until then a read can only check their size.

use backend::{About, Fault, Found};
use futures_util::stream::{StreamExt as _, iter};
use meta::{Account, Draft, NewBlob, Order, Place, Reservation, Target, Txn};
use std::sync::Arc;
use types::{BlobId, BucketId, ETag, Key, ObjectHeaders, Timestamp, WriteConditions};

use crate::ingest::out_of_room;
use crate::md5::Md5;
use crate::member::Member;
use crate::purpose::{REDIRECT, STORAGE_CLASS};
use crate::reconcile::{Odd, Oddity, odd};
use crate::{Store, StoreError};

const AT_A_TIME: usize = 8;

pub(crate) struct Adoption<'a> {
    pub store: &'a Store,
    pub member: &'a Arc<Member>,
    pub bucket: BucketId,
}

/// Bytes that can become an object.
struct Candidate {
    found: Found,
    key: Key,
    new: NewBlob,
    draft: Draft,
}

impl Adoption<'_> {
    /// One commit for all. A key that has an object keeps it.
    pub async fn adopt(&self, foreign: Vec<Found>, dry_run: bool) -> Result<Vec<Odd>, StoreError> {
        let looking: Vec<_> = foreign.into_iter().map(|found| self.look(found, dry_run)).collect();
        let looked: Vec<_> = iter(looking).buffered(AT_A_TIME).collect().await;
        let (mut all, mut candidates) = (Vec::new(), Vec::new());
        for looked in looked {
            match looked? {
                Ok(candidate) if dry_run => all.push(odd(Oddity::Adopted, &candidate.found, "")),
                Ok(candidate) => candidates.push(candidate),
                Err(passed) => all.push(passed),
            }
        }
        if !candidates.is_empty() {
            all.extend(self.record(candidates).await?);
        }
        Ok(all)
    }

    async fn look(&self, found: Found, dry_run: bool) -> Result<Result<Candidate, Odd>, StoreError> {
        let Ok(key) = Key::new(found.location.as_str()) else {
            return Ok(Err(odd(Oddity::Passed, &found, "its name cannot be a key")));
        };
        if self.store.find(self.bucket, &key).await?.is_some() {
            return Ok(Err(odd(Oddity::Passed, &found, "its key has an object already")));
        }
        if dry_run {
            let about = About { found, headers: Vec::new(), metadata: Vec::new(), identity: Vec::new() };
            return Ok(Ok(self.candidate(BlobId(0), key, about)));
        }
        self.member.may_call(1).await;
        match self.member.judge(self.member.backend.head(&found.location).await) {
            Ok(about) => Ok(Ok(self.candidate(BlobId(self.store.0.meta.next_id()?), key, about))),
            Err(error) if error.fault == Fault::Absent => Ok(Err(odd(Oddity::Passed, &found, "gone"))),
            Err(error) => Err(error.into()),
        }
    }

    fn candidate(&self, id: BlobId, key: Key, about: About) -> Candidate {
        let found = about.found.clone();
        let copies = self.store.0.policy(Some(self.bucket)).copies();
        let place = Place::Object(found.location.as_str().into());
        let new = NewBlob {
            id,
            bucket: self.bucket,
            size: found.size,
            sums: Vec::new(),
            written: Timestamp(0),
            targets: vec![Target::new(self.member.id, place)],
            inline: None,
            unfinished: None,
            wants_more: copies > 1,
            named: Some(key.clone()),
        };
        let draft = Draft {
            blob: id,
            inline: false,
            size: found.size,
            etag: etag(&self.member.name, &found),
            modified: found.modified,
            checksum: None,
            headers: headers(about),
        };
        Candidate { found, key, new, draft }
    }

    async fn record(&self, candidates: Vec<Candidate>) -> Result<Vec<Odd>, StoreError> {
        let bytes = candidates.iter().map(|candidate| candidate.found.size).sum();
        let accounts = [(Account::Bucket(self.bucket), bytes), (Account::Backend(self.member.id), bytes)];
        let room = self.store.0.meta.ledger().reserve(&accounts).map_err(out_of_room)?;
        let bucket = self.bucket;
        self.store.commit(Order::Shared, move |txn| record(txn, bucket, candidates, &room)).await
    }
}

fn record(
    txn: &mut Txn<'_>,
    bucket: BucketId,
    candidates: Vec<Candidate>,
    room: &Reservation,
) -> Result<Vec<Odd>, StoreError> {
    let mut all = Vec::with_capacity(candidates.len());
    let nothing_there = WriteConditions { if_match: None, if_absent: true };
    for Candidate { found, key, new, draft } in candidates {
        if txn.object(bucket, &key)?.is_some() {
            all.push(odd(Oddity::Passed, &found, "its key has an object already"));
            continue;
        }
        txn.add_blob(new);
        txn.write_object(bucket, &key, draft, &nothing_there)?;
        all.push(odd(Oddity::Adopted, &found, ""));
    }
    txn.check_quota(Account::Bucket(bucket), room)?;
    Ok(all)
}

/// The provider's where it has the form of one. Else one that is the same for the same bytes at the same
/// place, and that nobody takes for their MD5: it has the form of an upload in one part.
fn etag(backend: &str, found: &Found) -> ETag {
    let known = found.etag.as_deref().and_then(ETag::parse);
    known.unwrap_or_else(|| {
        let text = format!("{backend}\n{}\n{}\n{}", found.location, found.size, found.modified.millis());
        let etag = found.etag.as_deref().unwrap_or_default();
        let mut md5 = Md5::new();
        md5.update(format!("{text}\n{etag}").as_bytes());
        ETag { md5: md5.finish(), parts: Some(1) }
    })
}

pub(crate) fn headers(about: About) -> ObjectHeaders {
    let mut headers = ObjectHeaders { user_metadata: about.metadata, ..ObjectHeaders::default() };
    for (name, value) in about.headers {
        let field = match name.as_str() {
            "content-type" => &mut headers.content_type,
            "cache-control" => &mut headers.cache_control,
            "content-disposition" => &mut headers.content_disposition,
            "content-encoding" => &mut headers.content_encoding,
            "content-language" => &mut headers.content_language,
            "expires" => &mut headers.expires,
            REDIRECT => &mut headers.website_redirect_location,
            STORAGE_CLASS => &mut headers.storage_class,
            _ => continue,
        };
        *field = Some(value);
    }
    headers
}
