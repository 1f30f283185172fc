//! The tables `tasks` and `intents`: work that must be done, and bytes that may have appeared.

use types::{BlobId, BucketId, Key, Timestamp, UploadId};

use crate::codec::{DecodeError, Decoded, Reader, Writer};
use crate::commit::Txn;
use crate::engine::Table;
use crate::error::MetaError;
use crate::keyspace;
use crate::ledger::{Account, Delta};
use crate::replica::Target;

const EXPIRY_FORMAT: u8 = 1;
/// 1 had one place.
const INTENT_FORMAT: u8 = 2;
/// 1 had no attempts, and the blob of bytes without a record in the key.
const CLEANUP_FORMAT: u8 = 2;
const COPY_FORMAT: u8 = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum TaskKind {
    /// Delete replicas: the only work that deletes one.
    Cleanup = 1,
    /// End an upload, or forget a finished one; the due time is when it began.
    UploadExpiry = 2,
    /// Too few good replicas; newest losses first.
    Replicate = 3,
    /// More replicas than there should be.
    Excess = 4,
    /// A write that was given up may have come late: look again.
    Sweep = 5,
    /// Work on copies that could not be done, until it is tried again.
    Deferred = 6,
}

/// A task where it lies in its queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued<T> {
    pub due: u64,
    pub sequence: u64,
    pub task: T,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CleanupTask {
    /// An unreferenced blob with a record.
    Blob { blob: BlobId, attempts: u32 },
    /// Bytes that no record names: announced by an intent that no commit claimed, or (`whole`) a
    /// replica that was taken off its blob.
    Stray { blob: BlobId, target: Target, size: u64, whole: bool, attempts: u32 },
}

impl CleanupTask {
    pub fn blob(&self) -> BlobId {
        match self {
            Self::Blob { blob, .. } | Self::Stray { blob, .. } => *blob,
        }
    }

    /// Replicas that were finished once; otherwise whatever a write that never ended may have left.
    pub fn is_whole(&self) -> bool {
        !matches!(self, Self::Stray { whole: false, .. })
    }

    pub fn attempts(&self) -> u32 {
        match self {
            Self::Blob { attempts, .. } | Self::Stray { attempts, .. } => *attempts,
        }
    }

    fn attempts_mut(&mut self) -> &mut u32 {
        match self {
            Self::Blob { attempts, .. } | Self::Stray { attempts, .. } => attempts,
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new(CLEANUP_FORMAT);
        match self {
            Self::Blob { blob, attempts } => {
                w.u8(0);
                w.varint(blob.0);
                w.varint(u64::from(*attempts));
            }
            Self::Stray { blob, target, size, whole, attempts } => {
                w.u8(if *whole { 2 } else { 1 });
                w.varint(blob.0);
                w.varint(u64::from(*attempts));
                target.write(&mut w);
                w.varint(*size);
            }
        }
        w.finish()
    }

    /// `sequence` is the task's in its key.
    pub fn decode(sequence: u64, value: &[u8]) -> Decoded<Self> {
        let (format, mut r) = Reader::up_to(value, CLEANUP_FORMAT)?;
        let code = r.u8()?;
        if code > format {
            return Err(DecodeError("unknown cleanup"));
        }
        let (blob, attempts) = match format {
            1 => (BlobId(sequence), 0),
            _ => (BlobId(r.varint()?), r.number()?),
        };
        let task = if code > 0 {
            let (target, size) = (Target::read(&mut r)?, r.varint()?);
            if format == 1 {
                r.timestamp()?;
            }
            Self::Stray { blob, target, size, whole: code == 2, attempts }
        } else {
            Self::Blob { blob, attempts }
        };
        r.end()?;
        Ok(task)
    }
}

/// Work on the copies of one blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyTask {
    pub kind: TaskKind,
    pub blob: BlobId,
    pub since: Timestamp,
    pub attempts: u32,
    /// An object that referred to it, so that a new replica can have a name that people can read.
    pub named: Option<(BucketId, Key)>,
}

impl CopyTask {
    pub fn new(kind: TaskKind, blob: BlobId, since: Timestamp) -> Self {
        Self { kind, blob, since, attempts: 0, named: None }
    }

    /// Newest losses first; excess in its order.
    fn order(&self) -> u64 {
        if self.kind == TaskKind::Replicate { !self.since.0 } else { self.since.0 }
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new(COPY_FORMAT);
        w.u8(self.kind as u8);
        w.varint(self.blob.0);
        w.varint(self.since.0);
        w.varint(u64::from(self.attempts));
        if let Some((bucket, key)) = &self.named {
            w.raw(&keyspace::object(*bucket, key.as_bytes()));
        }
        w.finish()
    }

    pub fn decode(value: &[u8]) -> Decoded<Self> {
        let mut r = Reader::new(value, COPY_FORMAT)?;
        let kind = match r.u8()? {
            3 => TaskKind::Replicate,
            4 => TaskKind::Excess,
            _ => return Err(DecodeError("unknown work on copies")),
        };
        let (blob, since, attempts) = (BlobId(r.varint()?), r.timestamp()?, r.number()?);
        let named = match r.rest() {
            [] => None,
            rest => {
                let (bucket, key) = keyspace::split_bucket(rest)?;
                Some((bucket, Key::from_utf8(key.to_vec()).map_err(|_| DecodeError("bad key"))?))
            }
        };
        Ok(Self { kind, blob, since, attempts, named })
    }
}

/// Where bytes of a given-up write may still appear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweepTask {
    pub blob: BlobId,
    pub target: Target,
}

impl SweepTask {
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new(COPY_FORMAT);
        w.varint(self.blob.0);
        self.target.write(&mut w);
        w.finish()
    }

    pub fn decode(value: &[u8]) -> Decoded<Self> {
        let mut r = Reader::new(value, COPY_FORMAT)?;
        let task = Self { blob: BlobId(r.varint()?), target: Target::read(&mut r)? };
        r.end()?;
        Ok(task)
    }
}

/// A durable note that a blob's bytes may appear at some places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    pub targets: Vec<Target>,
    /// What was reserved at each; the bytes that appeared may be fewer.
    pub size: u64,
    pub since: Timestamp,
}

impl Intent {
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new(INTENT_FORMAT);
        w.varint(self.targets.len() as u64);
        self.targets.iter().for_each(|target| target.write(&mut w));
        w.varint(self.size);
        w.varint(self.since.0);
        w.finish()
    }

    pub fn decode(value: &[u8]) -> Decoded<Self> {
        let (format, mut r) = Reader::up_to(value, INTENT_FORMAT)?;
        let count = if format == 1 { 1 } else { r.count()? };
        let targets = (0..count).map(|_| Target::read(&mut r)).collect::<Decoded<_>>()?;
        let intent = Self { targets, size: r.varint()?, since: r.timestamp()? };
        r.end()?;
        Ok(intent)
    }
}

pub fn encode_expiry(bucket: BucketId, key: &Key, id: UploadId) -> Vec<u8> {
    let mut w = Writer::new(EXPIRY_FORMAT);
    w.raw(&keyspace::upload(bucket, key, id));
    w.finish()
}

pub fn decode_expiry(value: &[u8]) -> Decoded<(BucketId, Key, UploadId)> {
    keyspace::split_upload(Reader::new(value, EXPIRY_FORMAT)?.rest())
}

impl Txn<'_> {
    pub fn add_intent(&mut self, id: BlobId, intent: &Intent) {
        self.put(Table::Intents, keyspace::blob(id).to_vec(), intent.encode());
    }

    pub(crate) fn end_intent(&mut self, id: BlobId) {
        self.delete(Table::Intents, keyspace::blob(id).to_vec());
    }

    pub fn intent(&self, id: BlobId) -> Result<Option<Intent>, MetaError> {
        let value = self.get(Table::Intents, &keyspace::blob(id))?;
        value.map(|bytes| Intent::decode(&bytes)).transpose().map_err(MetaError::damaged(Table::Intents))
    }

    /// The writes behind an intent will not be committed: whatever appeared is to be deleted, unless
    /// the blob's record names it.
    pub fn abandon_intent(&mut self, id: BlobId) -> Result<(), MetaError> {
        let Some(intent) = self.intent(id)? else { return Ok(()) };
        self.end_intent(id);
        let record = self.blob(id)?;
        for target in intent.targets {
            if record.as_ref().is_none_or(|record| record.replica_at(&target).is_none()) {
                self.queue_stray(id, target, intent.size, false)?;
            }
        }
        Ok(())
    }

    /// Blob ids grow, so the queue is in order of time without knowing it.
    pub(crate) fn queue_cleanup(&mut self, due: u64, sequence: u64, task: &CleanupTask) {
        self.put(Table::Tasks, keyspace::task(TaskKind::Cleanup, due, sequence).to_vec(), task.encode());
        self.wake_cleanup();
    }

    /// Takes a cleanup off the queue; a stray's bytes are gone with it.
    pub fn end_cleanup(&mut self, queued: &Queued<CleanupTask>) {
        if let CleanupTask::Stray { target, size, .. } = &queued.task {
            self.charge(Account::Backend(target.backend), Delta::stray(*size).negated());
        }
        self.remove_task(TaskKind::Cleanup, queued.due, queued.sequence);
    }

    /// Keeps a cleanup that could not be done, and has it tried again at `due`.
    pub fn postpone_cleanup(&mut self, queued: Queued<CleanupTask>, due: Timestamp) {
        self.remove_task(TaskKind::Cleanup, queued.due, queued.sequence);
        let mut task = queued.task;
        *task.attempts_mut() = task.attempts().saturating_add(1);
        let key = keyspace::task(TaskKind::Cleanup, due.0, queued.sequence).to_vec();
        self.put(Table::Tasks, key, task.encode());
    }

    fn remove_task(&mut self, kind: TaskKind, due: u64, sequence: u64) {
        self.delete(Table::Tasks, keyspace::task(kind, due, sequence).to_vec());
    }

    pub fn end_expiry(&mut self, since: Timestamp, id: UploadId) {
        self.remove_task(TaskKind::UploadExpiry, since.0, id.sequence);
    }

    /// Queues work on the copies of a blob.
    pub fn queue_copies(&mut self, task: &CopyTask) {
        let key = keyspace::task(task.kind, task.order(), task.blob.0).to_vec();
        self.put(Table::Tasks, key, task.encode());
        self.wake_copies();
    }

    pub fn end_copies(&mut self, task: &CopyTask) {
        self.remove_task(task.kind, task.order(), task.blob.0);
    }

    /// Keeps the work off its queue until `due`.
    pub fn defer_copies(&mut self, task: &CopyTask, due: Timestamp) {
        self.end_copies(task);
        let later = CopyTask { attempts: task.attempts.saturating_add(1), ..task.clone() };
        let key = keyspace::task(TaskKind::Deferred, due.0, task.blob.0).to_vec();
        self.put(Table::Tasks, key, later.encode());
    }

    /// Puts deferred work back on its queue.
    pub fn resume_copies(&mut self, queued: &Queued<CopyTask>) {
        self.remove_task(TaskKind::Deferred, queued.due, queued.sequence);
        self.queue_copies(&queued.task);
    }

    /// A write that was given up may come late: looked at again at `due`.
    pub fn queue_sweep(&mut self, task: &SweepTask, due: Timestamp) -> Result<(), MetaError> {
        let key = keyspace::task(TaskKind::Sweep, due.0, self.next_id()?).to_vec();
        self.put(Table::Tasks, key, task.encode());
        Ok(())
    }

    pub fn end_sweep(&mut self, queued: &Queued<SweepTask>) {
        self.remove_task(TaskKind::Sweep, queued.due, queued.sequence);
    }
}
