//! A body on its way in: once through the hashes and to its place, with a bounded window.
//!
//! Hashing and writing run beside the socket's thread and beside each other; while they work on
//! one window, the next is filled.

use bytes::{Bytes, BytesMut};
use meta::{
    Account, CHUNK_BYTES, EMBEDDED, Intent, NewBlob, NewPlace, Order, Place, QuotaExceeded, Reservation,
};
use sha2::Digest as _;
use std::sync::Arc;
use tokio::task::JoinHandle;
use types::checksum::{Hasher, chunk_sum};
use types::{Algorithm, BlobId, BucketId, Checksum};

use crate::md5::Md5;
use crate::{DigestMismatch, Promised, Source, Store, StoreError};

/// Values up to this size lie in RocksDB: a file each costs more there (measured up to 16 KiB).
pub const INLINE_MAX_BYTES: usize = 16 << 10;
/// What is hashed and written at a time; a whole number of chunks.
const WINDOW_BYTES: usize = 4 * CHUNK_BYTES as usize;
/// Where the size is not known beforehand, room is taken in steps of this, while there is that much.
const RESERVE_STEP_BYTES: u64 = 8 << 20;

/// A body that has come in, verified and durable (or small and in memory), not yet recorded.
pub struct Ingested {
    pub blob: NewBlob,
    pub md5: [u8; 16],
    pub checksum: Checksum,
    pub room: Arc<Reservation>,
    /// Give it to the commit; dropped without one, it sends the bytes to cleanup.
    pub claim: Option<Claim>,
}

/// A durable intent that somebody must settle.
pub struct Claim {
    store: Store,
    blob: BlobId,
    intent: Intent,
    settled: bool,
}

impl Claim {
    pub fn settle(mut self) {
        self.settled = true;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.settled {
            let (blob, intent) = (self.blob, self.intent.clone());
            let abandon = move |txn: &mut meta::Txn<'_>| {
                txn.abandon_intent(blob, intent);
                Ok(())
            };
            self.store.0.meta.commit(Order::Shared, abandon, |_: Result<(), StoreError>| {});
        }
    }
}

/// All digests of one body but MD5: together they are about as much work as MD5 alone, and are done
/// beside it.
struct Sums {
    sha256: Option<sha2::Sha256>,
    checksum: Hasher,
    chunks: Vec<u32>,
}

impl Sums {
    fn new(promised: &Promised) -> Self {
        let algorithm = promised.checksum.map(|c| c.algorithm()).or(promised.algorithm);
        Self {
            sha256: promised.payload_sha256.map(|_| sha2::Sha256::new()),
            checksum: Hasher::new(algorithm.unwrap_or(Algorithm::Crc64Nvme)),
            chunks: Vec::new(),
        }
    }

    /// Every call but the last brings whole chunks.
    fn update(&mut self, bytes: &[u8]) {
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(bytes);
        }
        self.checksum.update(bytes);
        self.chunks.extend(bytes.chunks(CHUNK_BYTES as usize).map(chunk_sum));
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
        bucket: BucketId,
        promised: &Promised,
        replaced_bytes: u64,
        mut source: S,
    ) -> Result<Ingested, StoreError> {
        self.check_room()?;
        let room = self.0.meta.ledger().reserve(&[]).map_err(out_of_room)?;
        let max = self.limits().max_object_size_bytes;
        let mut body = Incoming { bucket, size: 0, promised, max, room, replaced_bytes, held_bytes: 0 };
        body.make_room(promised.size.unwrap_or(0), 0)?;
        let mut window = BytesMut::new();
        while window.len() <= INLINE_MAX_BYTES {
            match body.next(&mut source).await? {
                Some(piece) => window.extend_from_slice(&piece),
                None => return self.ingest_inline(body, window.freeze(), source.trailer()),
            }
        }
        self.ingest_file(body, window, source).await
    }

    fn ingest_inline(
        &self,
        body: Incoming<'_>,
        bytes: Bytes,
        trailer: Option<Checksum>,
    ) -> Result<Ingested, StoreError> {
        body.check_end()?;
        let (mut md5, mut sums) = (Md5::new(), Sums::new(body.promised));
        md5.update(&bytes);
        sums.update(&bytes);
        let Verified { md5, checksum, chunks } = verify(md5.finish(), sums, body.promised, trailer)?;
        let id = BlobId(self.0.meta.next_id()?);
        let blob = NewBlob { id, size: bytes.len() as u64, sums: chunks, place: NewPlace::Inline(bytes) };
        Ok(Ingested { blob, md5, checksum, room: Arc::new(body.room), claim: None })
    }

    async fn ingest_file<S: Source>(
        &self,
        mut body: Incoming<'_>,
        mut window: BytesMut,
        mut source: S,
    ) -> Result<Ingested, StoreError> {
        let id = BlobId(self.0.meta.next_id()?);
        let size = body.promised.size.unwrap_or(body.size);
        let intent = Intent { backend: EMBEDDED, place: Place::File, size, since: self.now() };
        // The note becomes durable while the body comes in; the file gets its name only after it.
        let noted = self.note_intent(id, intent);
        let file = Arc::new(self.blocking(move |inner| Ok(inner.local.create(id)?)).await?);
        let mut pipeline = Pipeline::new(file, body.promised);
        loop {
            if window.len() >= WINDOW_BYTES {
                let rest = window.split_off(WINDOW_BYTES);
                pipeline.feed(std::mem::replace(&mut window, rest).freeze()).await?;
                continue;
            }
            window.reserve(WINDOW_BYTES - window.len());
            match body.next(&mut source).await? {
                Some(piece) => window.extend_from_slice(&piece),
                None => break,
            }
        }
        body.check_end()?;
        let (md5, sums, file) = pipeline.finish(window.freeze()).await?;
        let Verified { md5, checksum, chunks } = verify(md5.finish(), sums, body.promised, source.trailer())?;
        let claim = noted.await.unwrap_or(Err(StoreError::Busy))?;
        // The claim goes along: if the client leaves now, cleanup must come after the link, not before.
        let publish = move |inner: &crate::Inner| publish(inner, id, &file).map(|()| claim);
        let claim = self.blocking(publish).await?;
        let blob = NewBlob { id, size: body.size, sums: chunks, place: NewPlace::File(EMBEDDED) };
        Ok(Ingested { blob, md5, checksum, room: Arc::new(body.room), claim: Some(claim) })
    }

    fn note_intent(
        &self,
        id: BlobId,
        intent: Intent,
    ) -> tokio::sync::oneshot::Receiver<Result<Claim, StoreError>> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let claim = Claim { store: self.clone(), blob: id, intent: intent.clone(), settled: false };
        let note = move |txn: &mut meta::Txn<'_>| {
            txn.add_intent(id, &intent);
            Ok(())
        };
        self.0.meta.commit(Order::Shared, note, move |noted: Result<(), StoreError>| {
            let answer = match noted {
                Ok(()) => Ok(claim),
                Err(error) => {
                    claim.settle();
                    Err(error)
                }
            };
            // A receiver that is gone drops the claim, which sends the bytes to cleanup.
            drop(sender.send(answer));
        });
        receiver
    }
}

fn publish(inner: &crate::Inner, id: BlobId, file: &backend::NewFile) -> Result<(), StoreError> {
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
    async fn next<S: Source>(&mut self, source: &mut S) -> Result<Option<Bytes>, StoreError> {
        let Some(piece) = source.next().await.map_err(StoreError::Source)? else { return Ok(None) };
        self.size += piece.len() as u64;
        match self.promised.size {
            Some(promised) if self.size > promised => {
                return Err(StoreError::SizeMismatch { promised, got: self.size });
            }
            None if self.size > self.held_bytes => self.make_room(self.size, RESERVE_STEP_BYTES)?,
            _ => {}
        }
        if self.size > self.max {
            return Err(StoreError::TooLarge { size: self.size, max: self.max });
        }
        Ok(Some(piece))
    }

    /// Takes room for a body of `size` bytes; ahead of time by `ahead`, if there is that much.
    fn make_room(&mut self, size: u64, ahead: u64) -> Result<(), StoreError> {
        let net = |size: u64| size.saturating_sub(self.replaced_bytes);
        let wanted = |until: u64| {
            let bucket = (Account::Bucket(self.bucket), net(until) - net(self.held_bytes));
            [bucket, (Account::Backend(EMBEDDED), until - self.held_bytes)]
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

/// At most one window is being hashed and written while the next one fills.
struct Pipeline {
    file: Arc<backend::NewFile>,
    /// At rest between two windows.
    digests: Option<(Md5, Sums)>,
    offset: u64,
    running: Option<(JoinHandle<Md5>, JoinHandle<std::io::Result<Sums>>)>,
}

impl Pipeline {
    fn new(file: Arc<backend::NewFile>, promised: &Promised) -> Self {
        Self { file, digests: Some((Md5::new(), Sums::new(promised))), offset: 0, running: None }
    }

    async fn feed(&mut self, window: Bytes) -> Result<(), StoreError> {
        let (mut md5, mut sums) = self.settle().await?;
        let (offset, file, to_hash) = (self.offset, Arc::clone(&self.file), window.clone());
        self.offset += window.len() as u64;
        let hashing = tokio::task::spawn_blocking(move || {
            md5.update(&to_hash);
            md5
        });
        let writing = tokio::task::spawn_blocking(move || {
            file.write_at(&window, offset)?;
            sums.update(&window);
            Ok(sums)
        });
        self.running = Some((hashing, writing));
        Ok(())
    }

    async fn settle(&mut self) -> Result<(Md5, Sums), StoreError> {
        if let Some((hashing, writing)) = self.running.take() {
            let lost = |error: tokio::task::JoinError| StoreError::Storage(error.to_string());
            let (md5, sums) = (hashing.await.map_err(lost)?, writing.await.map_err(lost)?);
            self.digests = Some((md5, sums?));
        }
        self.digests.take().ok_or_else(|| StoreError::Storage("a body goes on after it failed".to_owned()))
    }

    async fn finish(mut self, last: Bytes) -> Result<(Md5, Sums, Arc<backend::NewFile>), StoreError> {
        if !last.is_empty() {
            self.feed(last).await?;
        }
        let (md5, sums) = self.settle().await?;
        Ok((md5, sums, self.file))
    }
}
