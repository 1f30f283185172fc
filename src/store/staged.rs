//! Files in the making: bytes that come in any order, and have no name until they are whole.
//!
//! They lie in an unnamed file of the data directory, so a crash leaves nothing of them.

use meta::{Account, Reservation};
use parking_lot::Mutex;
use rustix::fs::{CWD, Mode, OFlags};
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use types::{BucketId, Key, ObjectHeaders, Version, WriteConditions};

use crate::ingest::{Ingested, out_of_room};
use crate::{Asker, Promised, Source, Store, StoreError, Written};

/// A body that came in, and has no name yet. Dropped, it goes to cleanup.
pub struct Arrived(pub(crate) Ingested);

/// Room and a place for the bytes of one file.
pub struct Staging {
    file: File,
    room: Mutex<Room>,
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
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let dir = self.0.options.data_dir.join("blobs");
        let file = rustix::fs::openat(CWD, dir, flags, Mode::RUSR | Mode::WUSR);
        let file = File::from(file.map_err(std::io::Error::from)?);
        Ok(Staging { file, room: Mutex::new(Room { held, bytes: 0 }) })
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

    /// Takes a body in, without a name. `replaced_bytes` are counted for the bucket already, and go.
    pub async fn take_in<S: Source>(
        &self,
        bucket: BucketId,
        size: Option<u64>,
        replaced_bytes: u64,
        source: S,
    ) -> Result<Arrived, StoreError> {
        let promised = Promised { size, ..Promised::default() };
        Ok(Arrived(self.ingest(bucket, &promised, replaced_bytes, source).await?))
    }

    /// Gives a body its name, and the version number that was shown for it while it was made.
    pub async fn publish(
        &self,
        asker: Asker,
        key: Key,
        headers: ObjectHeaders,
        body: Arrived,
        version: Version,
    ) -> Result<Written, StoreError> {
        let conditions = WriteConditions::default();
        self.record(asker, key, headers, conditions, body.0, Some(version)).await
    }
}

impl Staging {
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), StoreError> {
        Ok(self.file.write_all_at(bytes, offset)?)
    }

    /// Fewer only at the end of the file.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, StoreError> {
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, offset + done as u64)? {
                0 => break,
                got => done += got,
            }
        }
        Ok(done)
    }

    pub fn set_len(&self, bytes: u64) -> Result<(), StoreError> {
        Ok(self.file.set_len(bytes)?)
    }

    pub fn len(&self) -> Result<u64, StoreError> {
        Ok(self.file.metadata()?.len())
    }
}
