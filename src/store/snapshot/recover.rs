//! What was written after a snapshot, from what the backends say of themselves; and what of the snapshot is
//! there no more.
//!
//! Nothing is deleted here, and nothing that may live is queued for it. Where two versions of a key are there, the
//! newer one has the name, and the older one is set beside it: it may have been renamed or copied in the
//! time that nobody remembers.

use backend::{About, Fault, Found};
use bytes::BytesMut;
use futures_util::stream::{StreamExt as _, iter};
use meta::{CHUNK_BYTES, Content, Draft, Meta, NewBlob, ObjectRecord, Order, Place, Table, Target, Txn};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use types::checksum::chunk_sum;
use types::hex::hex;
use types::{BlobId, BucketId, BucketName, ByteRange, Checksum, ETag, Key, ObjectHeaders};
use types::{Timestamp, WriteConditions};

use super::manifest::Manifest;
use super::restore::Restored;
use crate::adopt;
use crate::compare::{Comparison, Stretch, Wrong};
use crate::fleet::Fleet;
use crate::md5::Md5;
use crate::member::Member;
use crate::purpose::{UNTYPED, blob_of, checksum_of, tags_of};
use crate::reconcile::queued_targets;
use crate::settings::InForce;
use crate::{OrderError, StoreError};

const STRETCH_NAMES: usize = 100_000;
const WALK_BLOBS: usize = 1000;
const AT_A_TIME: usize = 8;
const COMMIT: usize = 256;
/// How long unfinished uploads of the snapshot can still be finished.
const UPLOADS_REST_MS: u64 = 7 * 24 * 3_600_000;
/// Numbers a second that a node may hand out: no restore begins within what an earlier one gave.
const NUMBERS_BITS: u32 = 20;
const KEY_MAX_BYTES: usize = 1024;

pub(super) struct Recovery<'a> {
    meta: &'a Meta,
    fleet: &'a Fleet,
    settings: &'a InForce,
    manifest: &'a Manifest,
    now: Timestamp,
    /// Replicas of the snapshot that are not there.
    absent: HashSet<(BlobId, Target)>,
    /// Blobs that no record names.
    candidates: BTreeMap<BlobId, Candidate>,
    /// Copies of the snapshot's blobs that no record names.
    copies: Vec<(BlobId, Target)>,
    intended: BTreeSet<BlobId>,
    highest: u64,
}

/// A blob that describes itself.
struct Candidate {
    bucket: BucketId,
    key: Option<Key>,
    part: Option<u16>,
    size: u64,
    md5: Option<String>,
    checksum: Option<Checksum>,
    time: Timestamp,
    headers: ObjectHeaders,
    incomplete: bool,
    targets: Vec<Target>,
}

/// One that was read, and is what it says.
struct Whole {
    id: BlobId,
    candidate: Candidate,
    sums: Vec<u32>,
    md5: [u8; 16],
}

/// What is left of a blob of the snapshot.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Left {
    There,
    /// Gone from backends that are there: it was deleted.
    Deleted,
    /// Gone with the data directory.
    Lost,
}

impl<'a> Recovery<'a> {
    pub fn new(
        meta: &'a Meta,
        fleet: &'a Fleet,
        settings: &'a InForce,
        manifest: &'a Manifest,
        now: Timestamp,
    ) -> Self {
        let (absent, candidates, intended) = (HashSet::new(), BTreeMap::new(), BTreeSet::new());
        let copies = Vec::new();
        Self { meta, fleet, settings, manifest, now, absent, candidates, copies, intended, highest: 0 }
    }

    pub async fn run(mut self, without: &[String], restored: &mut Restored) -> Result<(), OrderError> {
        self.intended = self.meta.intents()?.into_iter().map(|(blob, _)| blob).collect();
        for member in self.fleet.members().iter().filter(|member| !without.contains(&member.name)) {
            self.look(member, restored).await.map_err(|error| {
                let name = &member.name;
                OrderError::Refused(format!("backend {name}: {error} (if it is gone: --without {name})"))
            })?;
        }
        restored.missing_copies = self.absent.len() as u64;
        let by_time = self.now.secs() << NUMBERS_BITS;
        self.meta
            .begin_anew(self.manifest.next, by_time.max(self.highest.saturating_add(1 << NUMBERS_BITS)))?;
        self.note_absent()?;
        for (blob, target) in std::mem::take(&mut self.copies) {
            let recover = move |txn: &mut Txn<'_>| txn.recover_replica(blob, target);
            restored.found_copies += u64::from(self.meta.commit_and_wait(Order::Shared, recover)?);
        }
        self.record_candidates(restored).await?;
        self.keep_intended(without).await?;
        self.drop_deleted(restored)?;
        Ok(self.meta.postpone_expiries(self.now.saturating_add_ms(UPLOADS_REST_MS))?)
    }

    /// Lists a backend as a whole.
    async fn look(&mut self, member: &Arc<Member>, restored: &mut Restored) -> Result<(), StoreError> {
        let mut next = None;
        loop {
            let stretch = Stretch::list(member, "", next.clone(), STRETCH_NAMES).await?;
            next.clone_from(&stretch.until);
            let mut comparison = Comparison::new(stretch);
            let mut after = None;
            loop {
                let blobs = self.meta.blobs(after, WALK_BLOBS)?;
                blobs.iter().for_each(|(id, record)| comparison.record(member, *id, record));
                after = match blobs.last() {
                    Some((last, _)) => Some(*last),
                    None => break,
                };
            }
            for (blob, target) in queued_targets(self.meta)? {
                comparison.named(member, blob, &target);
            }
            let wrong = std::mem::take(&mut comparison.wrong);
            self.confirm(member, wrong).await?;
            let ours = comparison.unnamed().filter(|found| member.number_in(&found.location).is_some());
            self.sort(member, ours.collect(), restored).await?;
            if next.is_none() {
                return Ok(());
            }
        }
    }

    /// Each is asked for once more by itself: a listing may be late.
    async fn confirm(&mut self, member: &Arc<Member>, wrong: Vec<Wrong>) -> Result<(), StoreError> {
        let looking: Vec<_> = wrong.into_iter().map(|wrong| is_gone(member, wrong)).collect();
        let mut looked = iter(looking).buffer_unordered(AT_A_TIME);
        while let Some(gone) = looked.next().await {
            self.absent.extend(gone?.map(|wrong| (wrong.blob, wrong.target)));
        }
        Ok(())
    }

    /// What each says of itself.
    async fn sort(
        &mut self,
        member: &Arc<Member>,
        found: Vec<Found>,
        restored: &mut Restored,
    ) -> Result<(), StoreError> {
        let asking: Vec<_> = found.into_iter().map(|found| described(member, found)).collect();
        let mut asked = iter(asking).buffered(AT_A_TIME);
        while let Some(about) = asked.next().await {
            let Some(about) = about? else { continue };
            let location = about.found.location.clone();
            if let Err(why) = self.take(member, about)? {
                restored.left.push(format!("{location} on {}: {why}", member.name));
            }
        }
        Ok(())
    }

    fn take(&mut self, member: &Member, about: About) -> Result<Result<(), &'static str>, StoreError> {
        let Some(number) = member.number_in(&about.found.location) else { return Ok(Ok(())) };
        self.highest = self.highest.max(number.0);
        match about.said("node") {
            Some(node) if node == self.manifest.node => {}
            Some(_) => return Ok(Err("it says that it is another node's")),
            None if member.backend.is_remote() => return Ok(Err("it does not say whose it is")),
            None => {}
        }
        let id = blob_of(&about).unwrap_or(number);
        self.highest = self.highest.max(id.0);
        let target = Target::new(member.id, Place::Object(about.found.location.as_str().into()));
        if let Some(record) = self.meta.blob(id)? {
            if record.size == about.found.size && !record.is_composite() {
                self.copies.push((id, target));
            }
            return Ok(Ok(()));
        }
        if id.0 < self.manifest.next && !self.intended.contains(&id) {
            // Older than the snapshot, and not in it: it was deleted before.
            return Ok(Ok(()));
        }
        Ok(self.candidate(id, about, target))
    }

    fn candidate(&mut self, id: BlobId, about: About, target: Target) -> Result<(), &'static str> {
        let bucket = about.said("bucket").and_then(|name| BucketName::new(name.to_owned()).ok());
        let bucket = bucket.and_then(|name| self.settings.buckets.read().get(&name).map(|record| record.id));
        let bucket = bucket.ok_or("it does not say which bucket it is of, or that is not configured")?;
        let incomplete = about.said("incomplete").is_some();
        let written = about.said("written").and_then(|text| text.parse().ok()).map(Timestamp);
        let candidate = Candidate {
            bucket,
            key: about.said("key").and_then(|key| Key::new(key).ok()),
            part: about.said("part").and_then(|part| part.parse().ok()),
            size: about.found.size,
            md5: about.said("md5").map(str::to_owned),
            checksum: about.said("checksum").and_then(checksum_of),
            time: written.unwrap_or(about.found.modified),
            incomplete,
            targets: vec![target],
            headers: headers(about),
        };
        match self.candidates.remove(&id) {
            Some(known) if known.size == candidate.size => {
                self.candidates.insert(id, known.and(candidate));
            }
            Some(known) => {
                self.candidates.insert(id, known);
                return Err("it has another size than another copy");
            }
            None => drop(self.candidates.insert(id, candidate)),
        }
        Ok(())
    }

    fn note_absent(&self) -> Result<(), StoreError> {
        let absent: Vec<_> = self.absent.iter().cloned().collect();
        for some in absent.chunks(COMMIT) {
            let (some, now) = (some.to_vec(), self.now);
            self.meta.commit_and_wait(Order::Shared, move |txn| {
                for (blob, target) in &some {
                    txn.judge_replica(*blob, target, meta::Health::Bad(now), None)?;
                }
                Ok::<(), StoreError>(())
            })?;
        }
        Ok(())
    }

    /// Reads every candidate to its end, and makes objects of those that are what they say.
    async fn record_candidates(&mut self, restored: &mut Restored) -> Result<(), StoreError> {
        let mut by_key: BTreeMap<(BucketId, Option<Key>), Vec<Whole>> = BTreeMap::new();
        let candidates = std::mem::take(&mut self.candidates);
        let fleet = self.fleet;
        let reading: Vec<_> = candidates.into_iter().map(|(id, one)| read(fleet, id, one)).collect();
        let mut readings = iter(reading).buffered(AT_A_TIME);
        while let Some(read) = readings.next().await {
            match read {
                Ok(whole) => {
                    let key = whole.candidate.key.clone().filter(|_| whole.candidate.part.is_none());
                    by_key.entry((whole.candidate.bucket, key)).or_default().push(whole);
                }
                Err(why) => restored.left.push(why),
            }
        }
        for ((bucket, key), mut all) in by_key {
            all.sort_by_key(|whole| (whole.candidate.time, whole.id));
            let newest = match &key {
                Some(key) => {
                    let current = self.meta.object(bucket, key)?;
                    let newest = all.pop_if(|newest| self.is_newer(newest, current.as_ref()));
                    newest.map(|newest| (key, newest, current))
                }
                None => None,
            };
            if let Some((key, newest, current)) = newest {
                let beside = match current {
                    Some(current) if self.left_of(current.blob)? == Left::There => {
                        let name = beside(key.as_str(), &current.blob.to_string());
                        restored.set_beside.extend(name.as_ref().map(|name| self.shown(bucket, name)));
                        name.map(|name| (name, current))
                    }
                    _ => None,
                };
                self.record(key.clone(), newest, beside)?;
                restored.recovered += 1;
            }
            for whole in all {
                let Some(name) = whole.name() else { continue };
                restored.set_beside.push(self.shown(bucket, &name));
                self.record(name, whole, None)?;
            }
        }
        Ok(())
    }

    fn is_newer(&self, whole: &Whole, current: Option<&ObjectRecord>) -> bool {
        current.is_none_or(|current| {
            let gone = !matches!(self.left_of(current.blob), Ok(Left::There));
            gone || whole.id.0 > current.version.0 || whole.candidate.time > current.modified
        })
    }

    fn shown(&self, bucket: BucketId, key: &Key) -> String {
        let name = self.settings.bucket_name(bucket);
        format!("{}/{}", name.map(|name| name.to_string()).unwrap_or_default(), key.as_str())
    }

    /// One commit: the object, and what it displaces under another name.
    fn record(&self, key: Key, whole: Whole, beside: Option<(Key, ObjectRecord)>) -> Result<(), StoreError> {
        let Whole { id, candidate, sums, md5 } = whole;
        let (bucket, size) = (candidate.bucket, candidate.size);
        let new = NewBlob {
            id,
            bucket,
            size,
            sums,
            written: candidate.time,
            targets: candidate.targets,
            inline: None,
            unfinished: None,
            wants_more: false,
            named: None,
        };
        let draft = Draft {
            blob: id,
            inline: false,
            size,
            etag: ETag::single(md5),
            modified: candidate.time,
            checksum: candidate.checksum,
            headers: candidate.headers,
        };
        let work = move |txn: &mut Txn<'_>| {
            let always = WriteConditions::default();
            if let Some((name, current)) = beside {
                txn.reference_blob(current.blob)?;
                let ObjectRecord { blob, inline, size, etag, modified, checksum, headers, .. } = current;
                let draft = Draft { blob, inline, size, etag, modified, checksum, headers };
                txn.write_object(bucket, &name, draft, &always)?;
            }
            // The intent ends with the settling of all of them: other places may be in it.
            let intent = txn.intent(id)?;
            txn.add_blob(new);
            if let Some(intent) = intent {
                txn.add_intent(id, &intent);
            }
            txn.write_object(bucket, &key, draft, &always)?;
            Ok::<(), StoreError>(())
        };
        self.meta.commit_and_wait(Order::Shared, work)
    }

    /// Unfinished writes of the snapshot go to cleanup where there is nothing but an upload that was not ended.
    /// Whatever is there may be wanted.
    async fn keep_intended(&self, without: &[String]) -> Result<(), StoreError> {
        for (blob, intent) in self.meta.intents()? {
            let mut kept = Vec::new();
            for target in intent.targets {
                let member = self.fleet.get(target.backend).filter(|member| !without.contains(&member.name));
                let location = member.and_then(|member| {
                    let at = member.location(blob, &target.place)?;
                    Some((member, at))
                });
                let absent = match location {
                    Some((member, location)) => match member.backend.head(&location).await {
                        Err(error) if error.fault == Fault::Absent => true,
                        Err(error) => return Err(error.into()),
                        Ok(_) => false,
                    },
                    None => false,
                };
                if !absent {
                    kept.push(target);
                }
            }
            self.meta.commit_and_wait(Order::Shared, move |txn| {
                txn.keep_intended(blob, &kept)?;
                Ok::<(), StoreError>(())
            })?;
        }
        Ok(())
    }

    fn left_of(&self, id: BlobId) -> Result<Left, meta::MetaError> {
        let Some(record) = self.meta.blob(id)? else { return Ok(Left::Lost) };
        match &record.content {
            Content::Parts(parts) => {
                let mut all = Vec::with_capacity(parts.len());
                for part in parts {
                    all.push(self.left_of(part.blob)?);
                }
                Ok(match () {
                    () if all.iter().all(|left| *left == Left::There) => Left::There,
                    () if all.iter().all(|left| *left == Left::Deleted) => Left::Deleted,
                    () => Left::Lost,
                })
            }
            Content::Bytes { replicas, .. } => {
                let gone = |r: &meta::Replica| self.absent.contains(&(id, r.target()));
                let elsewhere = |r: &meta::Replica| r.backend != meta::EMBEDDED;
                Ok(match () {
                    () if !replicas.iter().all(gone) => Left::There,
                    () if replicas.iter().any(elsewhere) => Left::Deleted,
                    () => Left::Lost,
                })
            }
        }
    }

    /// Objects of the snapshot without any bytes: deleted after it, or lost with the data directory.
    fn drop_deleted(&self, restored: &mut Restored) -> Result<(), StoreError> {
        let mut deleted = Vec::new();
        self.meta.walk(Table::Objects, |key, value| {
            let bad = meta::MetaError::damaged(Table::Objects);
            let (bucket, key) = meta::keyspace::split_bucket(key).map_err(&bad)?;
            let object = ObjectRecord::decode(value).map_err(&bad)?;
            restored.objects += 1;
            if self.absent.is_empty() {
                return Ok(());
            }
            let left = self.left_of(object.blob)?;
            let Ok(key) = Key::from_utf8(key.to_vec()) else { return Ok(()) };
            match left {
                Left::There => {}
                Left::Deleted => deleted.push((bucket, key)),
                Left::Lost => restored.lost.push(self.shown(bucket, &key)),
            }
            Ok(())
        })?;
        restored.deleted = deleted.len() as u64;
        restored.objects -= restored.deleted;
        for some in deleted.chunks(COMMIT) {
            let some = some.to_vec();
            self.meta.commit_and_wait(Order::Shared, move |txn| {
                for (bucket, key) in &some {
                    txn.delete_object(*bucket, key, &WriteConditions::default())?;
                }
                Ok::<(), StoreError>(())
            })?;
        }
        Ok(())
    }
}

impl Candidate {
    /// Another copy of the same blob: which says more is believed.
    fn and(self, other: Self) -> Self {
        let described = |one: &Self| (one.md5.is_some(), !one.incomplete);
        let (mut best, other) =
            if described(&self) >= described(&other) { (self, other) } else { (other, self) };
        best.checksum = best.checksum.or(other.checksum);
        let new = |target: &Target| best.targets.iter().all(|known| known.backend != target.backend);
        let more: Vec<Target> = other.targets.into_iter().filter(new).collect();
        best.targets.extend(more);
        best
    }
}

impl Whole {
    /// What it is called when its name is not known, or is another's.
    fn name(&self) -> Option<Key> {
        let id = self.id.to_string();
        match (&self.candidate.key, self.candidate.part) {
            (Some(key), Some(part)) => beside(key.as_str(), &format!("part-{part:05}-{id}")),
            (Some(key), None) => beside(key.as_str(), &id),
            (None, _) => Key::new(format!("restored/{id}")).ok(),
        }
    }
}

/// A directory's marker needs no second one.
fn beside(key: &str, what: &str) -> Option<Key> {
    let suffix = format!(".restored-{what}");
    let kept = key.floor_char_boundary(KEY_MAX_BYTES - suffix.len());
    let kept = key.get(..kept).unwrap_or_default();
    Key::new(format!("{kept}{suffix}")).ok().filter(|_| !key.ends_with('/'))
}

async fn is_gone(member: &Arc<Member>, wrong: Wrong) -> Result<Option<Wrong>, StoreError> {
    let Some(location) = member.location(wrong.blob, &wrong.target.place) else { return Ok(None) };
    match member.backend.head(&location).await {
        // What is there and of another size is for scrub to judge.
        Ok(_) => Ok(None),
        Err(error) if error.fault == Fault::Absent => Ok(Some(wrong)),
        Err(error) => Err(error.into()),
    }
}

async fn described(member: &Arc<Member>, found: Found) -> Result<Option<About>, StoreError> {
    match member.backend.head(&found.location).await {
        Ok(about) => Ok(Some(about)),
        Err(error) if error.fault == Fault::Absent => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Reads one copy to its end, the near ones first. Those that are not what they say are left out.
async fn read(fleet: &Fleet, id: BlobId, mut candidate: Candidate) -> Result<Whole, String> {
    let mut targets = std::mem::take(&mut candidate.targets);
    let remote = |target: &Target| fleet.get(target.backend).is_none_or(|member| member.backend.is_remote());
    targets.sort_by_key(remote);
    let mut why = "no backend".to_owned();
    while !targets.is_empty() {
        let target = targets.remove(0);
        match read_one(fleet, id, &target, &candidate).await {
            Ok((sums, md5)) => {
                candidate.targets = std::iter::once(target).chain(targets).collect();
                return Ok(Whole { id, candidate, sums, md5 });
            }
            Err(error) => why = error.to_string(),
        }
    }
    Err(format!("blob {id}: {why}"))
}

async fn read_one(
    fleet: &Fleet,
    id: BlobId,
    target: &Target,
    candidate: &Candidate,
) -> Result<(Vec<u32>, [u8; 16]), StoreError> {
    let gone = || StoreError::Unavailable("the backend is not configured".to_owned());
    let member = fleet.get(target.backend).ok_or_else(gone)?;
    let location = member.location(id, &target.place).ok_or_else(gone)?;
    let (mut md5, mut sums, mut rest) = (Md5::new(), Vec::new(), BytesMut::new());
    if candidate.size > 0 {
        let mut reader = member.backend.read(&location, ByteRange { start: 0, end: candidate.size }).await?;
        while let Some(piece) = reader.next().await? {
            md5.update(&piece);
            rest.extend_from_slice(&piece);
            while rest.len() as u64 >= CHUNK_BYTES {
                sums.push(chunk_sum(&rest.split_to(CHUNK_BYTES as usize)));
            }
        }
    }
    if !rest.is_empty() {
        sums.push(chunk_sum(&rest));
    }
    let md5 = md5.finish();
    match &candidate.md5 {
        Some(said) if *said != hex(&md5) => {
            Err(StoreError::Corrupt("its bytes are not what it says".to_owned()))
        }
        _ => Ok((sums, md5)),
    }
}

/// Providers give a type to what has none.
fn headers(about: About) -> ObjectHeaders {
    let tags = about.said("tags").map(tags_of).unwrap_or_default();
    let untyped = about.said(UNTYPED).is_some();
    let headers = adopt::headers(about);
    ObjectHeaders { tags, content_type: headers.content_type.filter(|_| !untyped), ..headers }
}
