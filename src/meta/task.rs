//! The tables `tasks` and `intents`: work that must be done, and bytes that may have appeared.

use types::{BlobId, BucketId, Key, Timestamp, UploadId};

use crate::blob::{BackendId, Place, place, place_code};
use crate::codec::{DecodeError, Decoded, Reader, Writer};
use crate::commit::Txn;
use crate::engine::Table;
use crate::keyspace;
use crate::ledger::{Account, Delta};

const FORMAT: u8 = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum TaskKind {
    /// Delete a blob's replicas: the only work that deletes one.
    Cleanup = 1,
    /// End an upload, or forget a finished one; the due time is when it began.
    UploadExpiry = 2,
}

/// What is to be cleaned up; the blob's id is in the task's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CleanupTask {
    /// An unreferenced blob with a record.
    Blob,
    /// Bytes that an intent announced and no commit claimed.
    Stray(Intent),
}

impl CleanupTask {
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new(FORMAT);
        match self {
            Self::Blob => w.u8(0),
            Self::Stray(intent) => {
                w.u8(1);
                intent.fields(&mut w);
            }
        }
        w.finish()
    }

    pub fn decode(value: &[u8]) -> Decoded<Self> {
        let mut r = Reader::new(value, FORMAT)?;
        let task = match r.u8()? {
            0 => Self::Blob,
            1 => Self::Stray(Intent::read(&mut r)?),
            _ => return Err(DecodeError("unknown cleanup")),
        };
        r.end()?;
        Ok(task)
    }
}

/// A durable note that a blob's bytes may appear at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    pub backend: BackendId,
    pub place: Place,
    /// What was reserved; the bytes that appeared may be fewer.
    pub size: u64,
    pub since: Timestamp,
}

impl Intent {
    fn fields(&self, w: &mut Writer) {
        w.varint(u64::from(self.backend.0));
        w.u8(place_code(self.place));
        w.varint(self.size);
        w.varint(self.since.0);
    }

    fn read(r: &mut Reader<'_>) -> Decoded<Self> {
        Ok(Self {
            backend: BackendId(r.number()?),
            place: place(r.u8()?)?,
            size: r.varint()?,
            since: r.timestamp()?,
        })
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new(FORMAT);
        self.fields(&mut w);
        w.finish()
    }

    pub fn decode(value: &[u8]) -> Decoded<Self> {
        let mut r = Reader::new(value, FORMAT)?;
        let intent = Self::read(&mut r)?;
        r.end()?;
        Ok(intent)
    }
}

pub fn encode_expiry(bucket: BucketId, key: &Key, id: UploadId) -> Vec<u8> {
    let mut w = Writer::new(FORMAT);
    w.raw(&keyspace::upload(bucket, key, id));
    w.finish()
}

pub fn decode_expiry(value: &[u8]) -> Decoded<(BucketId, Key, UploadId)> {
    keyspace::split_upload(Reader::new(value, FORMAT)?.rest())
}

impl Txn<'_> {
    pub fn add_intent(&mut self, id: BlobId, intent: &Intent) {
        self.put(Table::Intents, keyspace::blob(id).to_vec(), intent.encode());
    }

    pub(crate) fn end_intent(&mut self, id: BlobId) {
        self.delete(Table::Intents, keyspace::blob(id).to_vec());
    }

    /// The write behind an intent will not be committed: whatever appeared is to be deleted.
    pub fn abandon_intent(&mut self, id: BlobId, intent: Intent) {
        self.end_intent(id);
        self.charge(Account::Backend(intent.backend), Delta::stray(intent.size));
        self.queue_cleanup(id, &CleanupTask::Stray(intent));
    }

    /// Blob ids grow, so the queue is in order of time without knowing it.
    pub(crate) fn queue_cleanup(&mut self, id: BlobId, task: &CleanupTask) {
        self.put(Table::Tasks, keyspace::task(TaskKind::Cleanup, 0, id.0).to_vec(), task.encode());
        self.wake_cleanup();
    }

    /// Takes a cleanup off the queue; a stray's bytes are gone with it.
    pub fn end_cleanup(&mut self, id: BlobId, task: &CleanupTask) {
        if let CleanupTask::Stray(intent) = task {
            self.charge(Account::Backend(intent.backend), Delta::stray(intent.size).negated());
        }
        self.delete(Table::Tasks, keyspace::task(TaskKind::Cleanup, 0, id.0).to_vec());
    }

    pub fn end_expiry(&mut self, since: Timestamp, id: UploadId) {
        self.delete(Table::Tasks, keyspace::task(TaskKind::UploadExpiry, since.0, id.sequence).to_vec());
    }
}
