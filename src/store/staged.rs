//! Files in the making: bytes that come in any order, and have no name until they are whole.
//!
//! They lie in an unnamed file of the data directory, so a crash leaves nothing of them. Where the bytes are to stay
//! there, that very file becomes the blob.

use backend::NewFile;
use meta::{Account, EMBEDDED, Place, Reservation, Target};
use parking_lot::Mutex;
use std::sync::Arc;
use types::{BlobId, BucketId, Key, ObjectHeaders, Version, WriteConditions};

use crate::claim::claimed;
use crate::ingest::{INLINE_MAX_BYTES, Ingested, complete, out_of_room, publish};
use crate::lanes::Landed;
use crate::purpose::Purpose;
use crate::summing::{Digests, Summing};
use crate::{Asker, Held, Promised, Source, Store, StoreError};

/// A body that came in, and has no name yet. Dropped, it goes to cleanup.
pub struct Arrived(pub(crate) Ingested);

/// Room and a place for the bytes of one file. Written by one at a time, and not any more when it is adopted.
pub struct Staging {
    /// What it is called if it becomes a blob.
    blob: BlobId,
    file: Arc<NewFile>,
    local: Arc<backend::Local>,
    room: Mutex<Room>,
    summing: Arc<Summing>,
    /// Hashes what is written meanwhile; none where the bytes will go elsewhere.
    runtime: Option<tokio::runtime::Handle>,
}

struct Room {
    held: Reservation,
    bytes: u64,
}

impl Store {
    /// A number for a version that is not yet there.
    pub fn next_version(&self) -> Result<Version, StoreError> {
        Ok(Version(self.0.meta.next_id()?))
    }

    pub fn stage(&self, bucket: BucketId) -> Result<Staging, StoreError> {
        self.check_room()?;
        let held = self.0.meta.ledger().reserve(&[(Account::Bucket(bucket), 0)]).map_err(out_of_room)?;
        let blob = BlobId(self.0.meta.next_id()?);
        let file = Arc::new(self.0.local.stage(blob)?);
        let runtime = self.0.runtime.clone().filter(|_| self.keeps(bucket));
        let room = Mutex::new(Room { held, bytes: 0 });
        let local = Arc::clone(&self.0.local);
        Ok(Staging { blob, file, local, room, summing: Arc::new(Summing::new()), runtime })
    }

    /// Whether the data directory would be the one place of a new blob now.
    fn keeps(&self, bucket: BucketId) -> bool {
        let inner = &self.0;
        let policy = inner.policy(Some(bucket));
        let first = || inner.fleet.order(&inner.meta, policy.placement, 0, self.now()).into_iter().next();
        inner.fleet.is_simple() || (policy.copies() == 1 && first().is_some_and(|first| first.is_embedded()))
    }

    /// Takes room so that the file may grow to `bytes` beyond what its bucket already counts for it.
    pub fn grow(&self, staging: &Staging, bucket: BucketId, bytes: u64) -> Result<(), StoreError> {
        let mut room = staging.room.lock();
        if bytes <= room.bytes {
            return Ok(());
        }
        self.check_room()?;
        let more = bytes - room.bytes;
        room.held.grow(Account::Bucket(bucket), more).map_err(out_of_room)?;
        room.bytes = bytes;
        Ok(())
    }

    /// Gives the room back: who takes the bytes in reserves it himself.
    pub fn give_back(&self, staging: &Staging, bucket: BucketId) -> Result<(), StoreError> {
        let mut room = staging.room.lock();
        room.held = self.0.meta.ledger().reserve(&[(Account::Bucket(bucket), 0)]).map_err(out_of_room)?;
        room.bytes = 0;
        Ok(())
    }

    /// Takes a body in, without a name: `purpose` has the one that it is to get. `replaced_bytes` are counted for the bucket already, and go.
    pub async fn take_in<S: Source>(
        &self,
        purpose: Purpose<'_>,
        size: Option<u64>,
        replaced_bytes: u64,
        source: S,
    ) -> Result<Arrived, StoreError> {
        let promised = Promised { size, ..Promised::default() };
        Ok(Arrived(self.ingest(purpose, &promised, replaced_bytes, source).await?))
    }

    /// As `take_in`, of a file whose bytes stay where they are: it becomes the blob itself. `None`: they are to lie
    /// elsewhere, or are few, or the file system gives the file no name; nothing was done.
    pub async fn adopt(
        &self,
        purpose: Purpose<'_>,
        staging: &Staging,
        replaced_bytes: u64,
    ) -> Result<Option<Arrived>, StoreError> {
        self.check_room()?;
        let (bucket, id, size) = (purpose.bucket, staging.blob, staging.file.len()?);
        if size <= INLINE_MAX_BYTES as u64 || !staging.file.may_be_published() {
            return Ok(None);
        }
        let max = self.limits().max_object_size_bytes;
        if size > max {
            return Err(StoreError::TooLarge { size, max });
        }
        let mut room = self.0.meta.ledger().reserve(&[]).map_err(out_of_room)?;
        let chosen = self.choose(bucket, size, size.saturating_sub(replaced_bytes), &mut room)?;
        if !chosen.embedded || !chosen.others.is_empty() {
            return Ok(None);
        }
        let noted = self.note_intent(id, Target::new(EMBEDDED, Place::File), size, true);
        let hashing = self.hash(staging, size);
        let naming = async {
            let claim = claimed(noted).await?;
            let file = Arc::clone(&staging.file);
            // The claim goes along: if nobody waits any more, cleanup must come after the link, not before.
            self.blocking(move |inner| publish(inner, id, &file).map(|()| claim)).await
        };
        let (digests, claim) = futures_util::future::join(hashing, naming).await;
        let claim = claim?;
        let (etag, checksum, chunks) = digests?.finish();
        let mut blob = self.new_blob(id, bucket, size, chunks);
        let landed = Landed { claims: vec![claim], spare: chosen.spare, ..Landed::default() };
        complete(&mut blob, &landed, purpose, chosen.copies);
        Ok(Some(Arrived(Ingested { blob, etag, checksum, landed, room })))
    }

    async fn hash(&self, staging: &Staging, size: u64) -> Result<Digests, StoreError> {
        let (file, summing) = (Arc::clone(&staging.file), Arc::clone(&staging.summing));
        self.blocking(move |_| Ok(summing.finish(&file, size)?)).await
    }

    /// Gives a body its name, and the version number that was shown for it while it was made.
    pub async fn publish(
        &self,
        asker: Asker,
        key: Key,
        headers: ObjectHeaders,
        body: Arrived,
        version: Version,
    ) -> Result<Held, StoreError> {
        let pin = self.0.pins.pin(body.0.blob.id);
        let conditions = WriteConditions::default();
        let record = self.record(asker, key, headers, conditions, body.0, Some(version)).await?;
        Ok(Held::of(&record, pin))
    }
}

impl Staging {
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), StoreError> {
        self.summing.changes(offset);
        self.file.write_at(bytes, offset)?;
        let Some(runtime) = &self.runtime else { return Ok(()) };
        if self.summing.wrote(offset, offset + bytes.len() as u64) {
            let (file, summing) = (Arc::clone(&self.file), Arc::clone(&self.summing));
            runtime.spawn_blocking(move || summing.follow(&file));
        }
        self.local.sync_beside(&self.file, runtime);
        Ok(())
    }

    /// Fewer only at the end of the file.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, StoreError> {
        Ok(self.file.read_at(buffer, offset)?)
    }

    pub fn set_len(&self, bytes: u64) -> Result<(), StoreError> {
        self.summing.changes(bytes);
        Ok(self.file.set_len(bytes)?)
    }
}
