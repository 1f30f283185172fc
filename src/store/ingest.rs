//! A body on its way in: once through the hashes and to its place, with a bounded window.
//!
//! Hashing and writing run beside the socket's thread and beside each other (`pipeline.rs`).

use bytes::{Bytes, BytesMut};
use meta::{
    Account, BackendId, BlobRecord, CHUNK_BYTES, Content, EMBEDDED, Intent, NewBlob, Place, QuotaExceeded,
    Replica, Reservation, Target,
};
use sha2::Digest as _;
use std::sync::Arc;
use types::checksum::{Hasher, chunk_sum};
use types::{Algorithm, BlobId, BucketId, Checksum, ETag};

use crate::claim::claimed;
use crate::even::Even;
use crate::lanes::{Chosen, Landed, Lanes};
use crate::md5::Md5;
use crate::pipeline::Pipeline;
use crate::placement::Policy;
use crate::purpose::{Purpose, identity_of};
use crate::{DigestMismatch, Promised, Source, Store, StoreError};

/// Values up to this size lie in RocksDB: a file each costs more there (measured up to 16 KiB).
pub const INLINE_MAX_BYTES: usize = 16 << 10;
/// What is hashed and written at a time; a whole number of chunks.
const WINDOW_BYTES: usize = 2 * CHUNK_BYTES as usize;
/// Where the size is not known beforehand, room is taken in steps of this, while there is that much.
const RESERVE_STEP_BYTES: u64 = 8 << 20;

/// A body that has come in, verified and durable (or small and in memory), not yet recorded.
pub struct Ingested {
    pub blob: NewBlob,
    pub etag: ETag,
    pub checksum: Checksum,
    /// Give it to the commit; dropped without one, it sends the bytes to cleanup.
    pub landed: Landed,
    /// After `landed`, so that it is dropped after it: bytes on their way to cleanup count without a gap.
    pub room: Reservation,
}

/// All digests of one body but MD5: together they are about as much work as MD5 alone, and are done
/// beside it.
pub struct Sums {
    sha256: Option<sha2::Sha256>,
    pub checksum: Hasher,
    pub chunks: Vec<u32>,
}

impl Sums {
    pub fn new(promised: &Promised) -> Self {
        let algorithm = promised.checksum.map(|c| c.algorithm()).or(promised.algorithm);
        Self {
            sha256: promised.payload_sha256.map(|_| sha2::Sha256::new()),
            checksum: Hasher::new(algorithm.unwrap_or(Algorithm::Crc64Nvme)),
            chunks: Vec::new(),
        }
    }

    /// Every call but the last brings whole chunks.
    pub fn update(&mut self, bytes: &[u8]) {
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(bytes);
        }
        self.checksum.update(bytes);
        self.chunks.extend(bytes.chunks(CHUNK_BYTES as usize).map(chunk_sum));
    }
}

/// Where nothing was promised.
impl Default for Sums {
    fn default() -> Self {
        Self::new(&Promised::default())
    }
}

/// What a body turned out to be.
struct Verified {
    md5: [u8; 16],
    checksum: Checksum,
    chunks: Vec<u32>,
}

fn verify(
    md5: [u8; 16],
    sums: Sums,
    promised: &Promised,
    trailer: Option<Checksum>,
) -> Result<Verified, StoreError> {
    if promised.content_md5.is_some_and(|wanted| wanted != md5) {
        return Err(StoreError::Digest(DigestMismatch::ContentMd5 { computed: md5 }));
    }
    if let (Some(sha256), Some(wanted)) = (sums.sha256, promised.payload_sha256) {
        let computed: [u8; 32] = sha256.finalize().into();
        if computed != wanted {
            return Err(StoreError::Digest(DigestMismatch::PayloadSha256 { computed }));
        }
    }
    let checksum = sums.checksum.finish();
    for wanted in [promised.checksum, trailer].into_iter().flatten() {
        if wanted != checksum {
            return Err(StoreError::Digest(DigestMismatch::Checksum(wanted.algorithm())));
        }
    }
    Ok(Verified { md5, checksum, chunks: sums.chunks })
}

impl Store {
    /// Takes a body in. `replaced_bytes` is what the bucket gives up in exchange if all goes well.
    pub(crate) async fn ingest<S: Source>(
        &self,
        purpose: Purpose<'_>,
        promised: &Promised,
        replaced_bytes: u64,
        source: S,
    ) -> Result<Ingested, StoreError> {
        self.check_room()?;
        let mut source = Even::new(source);
        let mut room = self.0.meta.ledger().reserve(&[]).map_err(out_of_room)?;
        let (bucket, size) = (purpose.bucket, promised.size.unwrap_or(0));
        let chosen = self.choose(bucket, size, size.saturating_sub(replaced_bytes), &mut room)?;
        let backends = chosen.backends();
        let max = self.limits().max_object_size_bytes;
        let mut body = Incoming { bucket, size: 0, promised, max, room, replaced_bytes, held_bytes: size };
        let mut window = BytesMut::new();
        while window.len() <= INLINE_MAX_BYTES {
            match body.next(&mut source, &backends).await? {
                Some(piece) => window.extend_from_slice(&piece),
                None => {
                    return self.ingest_small(purpose, body, window.freeze(), source.trailer(), chosen).await;
                }
            }
        }
        self.ingest_large(purpose, body, window, source, chosen).await
    }

    /// Takes room in the bucket and on as many backends as there are to be copies.
    pub(crate) fn choose(
        &self,
        bucket: BucketId,
        size: u64,
        net_bytes: u64,
        room: &mut Reservation,
    ) -> Result<Chosen, StoreError> {
        let inner = &self.0;
        let policy = inner.policy(Some(bucket));
        let of_bucket = (Account::Bucket(bucket), net_bytes);
        if inner.fleet.is_simple() {
            room.grow_all(&[of_bucket, (Account::Backend(EMBEDDED), size)]).map_err(out_of_room)?;
            let copies = policy.copies();
            return Ok(Chosen { embedded: true, need: 1, copies, ..Chosen::default() });
        }
        room.grow_all(&[of_bucket]).map_err(out_of_room)?;
        self.choose_backends(policy, size, room)
    }

    fn choose_backends(
        &self,
        policy: Policy,
        size: u64,
        room: &mut Reservation,
    ) -> Result<Chosen, StoreError> {
        let inner = &self.0;
        let (need, copies) = (policy.acknowledge(), policy.copies());
        let mut chosen = Chosen { need, copies, ..Chosen::default() };
        let mut full = false;
        for member in inner.fleet.order(&inner.meta, policy.placement, size, self.now()) {
            if chosen.count() == copies {
                chosen.spare.push_back(member);
            } else if !member.is_embedded() && !member.admits() {
                continue;
            } else if room.grow(Account::Backend(member.id), size).is_err() {
                full = true;
            } else if member.is_embedded() {
                chosen.embedded = true;
            } else {
                chosen.others.push(member);
            }
        }
        match chosen.count() {
            found if found >= need => Ok(chosen),
            _ if full => Err(StoreError::Full),
            found => {
                Err(StoreError::Unavailable(format!("{found} backends take writes now, {need} are needed")))
            }
        }
    }

    async fn ingest_small(
        &self,
        purpose: Purpose<'_>,
        mut body: Incoming<'_>,
        bytes: Bytes,
        trailer: Option<Checksum>,
        chosen: Chosen,
    ) -> Result<Ingested, StoreError> {
        body.check_end()?;
        let (mut md5, mut sums) = (Md5::new(), Sums::new(body.promised));
        md5.update(&bytes);
        sums.update(&bytes);
        let Verified { md5, checksum, chunks } = verify(md5.finish(), sums, body.promised, trailer)?;
        let id = BlobId(self.0.meta.next_id()?);
        let mut blob = self.new_blob(id, purpose.bucket, body.size, chunks);
        let (need, copies) = (chosen.need, chosen.copies);
        let mut landed = Landed::default();
        if chosen.embedded {
            blob.inline = Some(bytes.clone());
        }
        if !chosen.others.is_empty() {
            let mut lanes = Lanes::begin(self, purpose, id, Some(body.size), chosen);
            lanes.feed(&bytes, &mut body.room).await?;
            let last = identity_of(&blob, md5, &checksum);
            landed = lanes.finish(&last, None, blob.is_inline(), &mut body.room).await?;
        }
        if landed.claims.len() + usize::from(blob.is_inline()) < need {
            return Err(StoreError::Unavailable(format!("fewer than {need} backends took the bytes")));
        }
        complete(&mut blob, &landed, purpose, copies);
        Ok(Ingested { blob, etag: ETag::single(md5), checksum, room: body.room, landed })
    }

    async fn ingest_large<S: Source>(
        &self,
        purpose: Purpose<'_>,
        mut body: Incoming<'_>,
        mut window: BytesMut,
        mut source: S,
        chosen: Chosen,
    ) -> Result<Ingested, StoreError> {
        let id = BlobId(self.0.meta.next_id()?);
        let (need, copies) = (chosen.need, chosen.copies);
        let backends = chosen.backends();
        let mut noted = None;
        let mut file = None;
        if chosen.embedded {
            let size = body.promised.size.unwrap_or(body.size);
            let (target, only) = (Target::new(EMBEDDED, Place::File), chosen.others.is_empty());
            // The note becomes durable while the body comes in; the file gets its name only after it.
            noted = Some(self.note_intent(id, target, size, only));
            file = Some(Arc::new(self.blocking(move |inner| Ok(inner.local.create(id)?)).await?));
        }
        let mut lanes = Lanes::begin(self, purpose, id, body.promised.size, chosen);
        let mut pipeline = Pipeline::new(Arc::clone(&self.0.local), file, body.promised);
        loop {
            if window.len() >= WINDOW_BYTES {
                let rest = window.split_off(WINDOW_BYTES);
                let full = std::mem::replace(&mut window, rest).freeze();
                pipeline.feed(full.clone()).await?;
                lanes.feed(&full, &mut body.room).await?;
                continue;
            }
            window.reserve(WINDOW_BYTES - window.len());
            match body.next(&mut source, &backends).await? {
                Some(piece) => window.extend_from_slice(&piece),
                None => break,
            }
        }
        body.check_end()?;
        let last = window.freeze();
        lanes.feed(&last, &mut body.room).await?;
        let (md5, sums, file) = pipeline.finish(last).await?;
        let Verified { md5, checksum, chunks } = verify(md5.finish(), sums, body.promised, source.trailer())?;
        let mut blob = self.new_blob(id, purpose.bucket, body.size, chunks);
        let mut embedded = None;
        if let (Some(noted), Some(file)) = (noted, file) {
            let claim = claimed(noted).await?;
            // The claim goes along: if the client leaves now, cleanup must come after the link, not before.
            let publish = move |inner: &crate::Inner| publish(inner, id, &file).map(|()| claim);
            embedded = Some(self.blocking(publish).await?);
        }
        let mut landed = match lanes.are_needed() {
            true => {
                let last = identity_of(&blob, md5, &checksum);
                lanes.finish(&last, embedded, false, &mut body.room).await?
            }
            false => Landed { claims: embedded.into_iter().collect(), ..Landed::default() },
        };
        self.top_up(&blob, &mut landed, purpose, need, &mut body.room).await?;
        complete(&mut blob, &landed, purpose, copies);
        Ok(Ingested { blob, etag: ETag::single(md5), checksum, room: body.room, landed })
    }

    /// Lanes failed when there was no more to replay: what is durable is copied until the
    /// acknowledgement has what it needs.
    async fn top_up(
        &self,
        blob: &NewBlob,
        landed: &mut Landed,
        purpose: Purpose<'_>,
        need: usize,
        room: &mut Reservation,
    ) -> Result<(), StoreError> {
        let mut last = None;
        while landed.claims.len() < need {
            let Some(member) = landed.spare.pop_front() else {
                let why = || StoreError::Unavailable(format!("fewer than {need} backends took the bytes"));
                return Err(last.unwrap_or_else(why));
            };
            if !member.takes(room, blob.size) {
                continue;
            }
            let replicas = landed.targets().map(|target| Replica::new(target, blob.written)).collect();
            let content = Content::Bytes { replicas, sums: blob.sums.clone() };
            let record = BlobRecord { size: blob.size, references: 1, bucket: Some(blob.bucket), content };
            let new = purpose.describe(&self.0, blob.id, Some(blob.size));
            match self.transfer(blob.id, &Arc::new(record), &member, new, false).await {
                Ok(claim) => landed.claims.push(claim),
                Err(error) => {
                    room.release(Account::Backend(member.id));
                    last = Some(error);
                }
            }
        }
        Ok(())
    }

    pub(crate) fn new_blob(&self, id: BlobId, bucket: BucketId, size: u64, sums: Vec<u32>) -> NewBlob {
        NewBlob {
            id,
            bucket,
            size,
            sums,
            written: self.now(),
            targets: Vec::new(),
            inline: None,
            unfinished: None,
            wants_more: false,
            named: None,
        }
    }
}

/// What the commit is to say of the replicas.
pub fn complete(blob: &mut NewBlob, landed: &Landed, purpose: Purpose<'_>, copies: usize) {
    if blob.is_inline() {
        blob.targets.push(Target::new(EMBEDDED, Place::Inline));
    }
    blob.targets.extend(landed.targets());
    if !landed.running.is_empty() {
        let targets = landed.running.iter().map(|(lane, _)| lane.target.clone()).collect();
        blob.unfinished = Some(Intent { targets, size: blob.size, since: blob.written });
    }
    if blob.targets.len() < copies {
        blob.wants_more = true;
        blob.named = Some(purpose.key.clone());
    }
}

pub fn publish(inner: &crate::Inner, id: BlobId, file: &backend::NewFile) -> Result<(), StoreError> {
    let fenced_before = inner.is_fenced();
    let published = inner.local.publish(id, file);
    match published {
        Err(error) if inner.is_fenced() => {
            if !fenced_before {
                tracing::error!(%error, "a sync failed: nothing more is written until a restart");
            }
            Err(StoreError::Fenced)
        }
        outcome => Ok(outcome?),
    }
}

pub fn out_of_room(QuotaExceeded(account): QuotaExceeded) -> StoreError {
    match account {
        Account::Bucket(_) => StoreError::QuotaExceeded,
        Account::Backend(_) => StoreError::Full,
    }
}

/// The body's accounting: what came, what was promised, what room is held.
struct Incoming<'a> {
    bucket: BucketId,
    size: u64,
    promised: &'a Promised,
    max: u64,
    room: Reservation,
    replaced_bytes: u64,
    /// Of the body, what `room` is for.
    held_bytes: u64,
}

impl Incoming<'_> {
    /// `accounts` are the backends' that take the body.
    async fn next<S: Source>(
        &mut self,
        source: &mut S,
        backends: &[BackendId],
    ) -> Result<Option<Bytes>, StoreError> {
        let Some(piece) = source.next().await.map_err(StoreError::Source)? else { return Ok(None) };
        self.size += piece.len() as u64;
        match self.promised.size {
            Some(promised) if self.size > promised => {
                return Err(StoreError::SizeMismatch { promised, got: self.size });
            }
            None if self.size > self.held_bytes => {
                self.make_room(self.size, RESERVE_STEP_BYTES, backends)?;
            }
            _ => {}
        }
        if self.size > self.max {
            return Err(StoreError::TooLarge { size: self.size, max: self.max });
        }
        Ok(Some(piece))
    }

    /// Takes room for a body of `size` bytes; ahead of time by `ahead`, if there is that much.
    fn make_room(&mut self, size: u64, ahead: u64, backends: &[BackendId]) -> Result<(), StoreError> {
        let net = |size: u64| size.saturating_sub(self.replaced_bytes);
        let wanted = |until: u64| {
            let bucket = (Account::Bucket(self.bucket), net(until) - net(self.held_bytes));
            let more = until - self.held_bytes;
            let backends = backends.iter().map(|backend| (Account::Backend(*backend), more));
            std::iter::once(bucket).chain(backends).collect::<Vec<_>>()
        };
        let (least, most) = (wanted(size), wanted(size + ahead));
        self.held_bytes = match self.room.grow_all(&most) {
            Ok(()) => size + ahead,
            Err(_) => self.room.grow_all(&least).map(|()| size).map_err(out_of_room)?,
        };
        Ok(())
    }

    fn check_end(&self) -> Result<(), StoreError> {
        match self.promised.size {
            Some(promised) if promised != self.size => {
                Err(StoreError::SizeMismatch { promised, got: self.size })
            }
            _ => Ok(()),
        }
    }
}
