//! The metadata engine: what exists and where it lies.
//!
//! The one room that names RocksDB. It is synchronous, knows no bytes of objects (but for the small
//! ones that travel inline), and no backend. Only a commit here makes an object exist, and one
//! thread decides all commits in order.
//!
//! Start with [`Meta`], then `FORMAT.md`, then `commit.rs`; each table has a file of its own.

pub mod blob;
mod browse;
pub mod codec;
mod commit;
mod copies;
pub mod engine;
mod error;
pub mod event;
mod figures;
mod job;
pub mod keyspace;
pub mod ledger;
mod list;
mod object;
mod registry;
mod replica;
mod restore;
mod rocks;
mod sequence;
mod snapshot;
pub mod task;
mod tree;
pub mod upload;
mod usage;

pub use blob::{BlobPart, BlobRecord, CHUNK_BYTES, Content, Forgotten, NewBlob, decode_inline};
pub use browse::Child;
pub use commit::{Change, Listener, MAX_EVENTS, Order, Origin, Txn};
pub use engine::{Engine, EngineError, Table};
pub use error::MetaError;
pub use event::{Cause, Event, HookId, Outbox};
pub use figures::{BatchReport, EngineFigures, TableFigures};
pub use job::{JobProgress, JobRecord, JobState};
pub use ledger::{Account, Counters, Delta, Ledger, QuotaExceeded, Reservation};
pub use list::{Item, Page, Start, UploadsQuery};
pub use object::{Draft, ObjectRecord};
pub use registry::{BackendRecord, BackendState};
pub use replica::{BackendId, EMBEDDED, Health, Place, Replica, Target};
pub use task::{CleanupTask, CopyTask, Intent, Queued, SweepTask, TaskKind};
pub use tree::NotMoved;
pub use upload::{FinishedUpload, PartRecord, UploadRecord};
pub use usage::{Month, Traffic, split_key as split_usage_key};

use parking_lot::{Mutex, RwLock};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use types::{BlobId, BucketId, BucketName, Key, Timestamp, UploadId};

use commit::{Committer, Inbox, Message, Work};
use rocks::{Rocks, RocksOptions};
use sequence::Sequence;

/// Raised with every change that an older version would misread.
const FORMAT_VERSION: u8 = 3;
const FORMAT_KEY: &[u8] = b"format";
const BUCKET_PREFIX: &[u8] = b"bucket/";
const BUCKET_FORMAT: u8 = 1;
const NODE_KEY: &[u8] = b"node";
const AUDIT_KEY: &[u8] = b"audit";

#[derive(Debug, Clone)]
pub struct Options {
    pub path: PathBuf,
    /// Whether a commit survives loss of power, or only the death of the process.
    pub sync: bool,
    pub block_cache_bytes: usize,
}

/// Where a bucket stands in the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BucketRecord {
    pub id: BucketId,
    pub created: Timestamp,
}

impl BucketRecord {
    pub fn encode(&self) -> Vec<u8> {
        let mut w = codec::Writer::new(BUCKET_FORMAT);
        w.varint(u64::from(self.id.0));
        w.varint(self.created.0);
        w.finish()
    }

    pub fn decode(value: &[u8]) -> codec::Decoded<Self> {
        let mut r = codec::Reader::new(value, BUCKET_FORMAT)?;
        let record = Self { id: BucketId(r.number()?), created: r.timestamp()? };
        r.end()?;
        Ok(record)
    }
}

/// The engine, open. Dropping it waits for the commits that were handed in.
pub struct Meta {
    engine: Arc<dyn Engine>,
    ledger: Arc<Ledger>,
    sequence: Arc<Sequence>,
    listeners: Arc<RwLock<Vec<Arc<dyn Listener>>>>,
    events: Arc<commit::Events>,
    inbox: Inbox,
    fenced: Arc<AtomicBool>,
    committer: Mutex<Option<JoinHandle<()>>>,
    meter: Arc<usage::Meter>,
    gaps: Vec<restore::Gap>,
}

impl Meta {
    pub fn open(options: &Options) -> Result<Self, MetaError> {
        let rocks = RocksOptions { sync: options.sync, block_cache_bytes: options.block_cache_bytes };
        Self::over(Arc::new(Rocks::open(&options.path, &rocks)?))
    }

    /// Over any engine.
    pub fn over(engine: Arc<dyn Engine>) -> Result<Self, MetaError> {
        check_format(&*engine)?;
        let sequence = Arc::new(open_sequence(&*engine)?);
        let gaps = restore::gaps(&*engine)?;
        let ledger = Arc::new(Ledger::default());
        let listeners = Arc::new(RwLock::new(Vec::new()));
        let meter = Arc::new(usage::Meter::default());
        list::walk(&*engine, Table::Ledger, &[], None, |key, value| {
            let bad = MetaError::damaged(Table::Ledger);
            match usage::split_key(key) {
                Some(of) => {
                    let (backend, month) = of.map_err(&bad)?;
                    meter.load(backend, month, Traffic::decode(value).map_err(&bad)?);
                }
                None => {
                    let account = Account::from_key(key).map_err(&bad)?;
                    ledger.load(account, Counters::decode(value).map_err(&bad)?);
                }
            }
            Ok(true)
        })?;
        let events = Arc::new(commit::Events::default());
        events.waiting.store(count_events(&*engine)?, Ordering::Relaxed);
        let (sender, inbox) = crossbeam::channel::unbounded();
        let fenced = Arc::new(AtomicBool::new(false));
        let committer = Committer {
            engine: Arc::clone(&engine),
            ledger: Arc::clone(&ledger),
            sequence: Arc::clone(&sequence),
            listeners: Arc::clone(&listeners),
            events: Arc::clone(&events),
            inbox,
            fenced: Arc::clone(&fenced),
        };
        let thread = std::thread::Builder::new()
            .name("committer".to_owned())
            .spawn(move || committer.run())
            .map_err(|error| MetaError::Engine(EngineError::Io(error.to_string())))?;
        Ok(Self {
            engine,
            ledger,
            sequence,
            listeners,
            events,
            inbox: Inbox(sender),
            fenced,
            committer: Mutex::new(Some(thread)),
            meter,
            gaps,
        })
    }

    /// Decides `work` on the committer's thread and answers when it is durable. If the engine is
    /// closed, `reply` is dropped without being called.
    pub fn commit<T, E, F, R>(&self, order: Order, work: F, reply: R)
    where
        T: Send + 'static,
        E: From<MetaError> + Send + 'static,
        F: FnOnce(&mut Txn<'_>) -> Result<T, E> + Send + 'static,
        R: FnOnce(Result<T, E>) + Send + 'static,
    {
        self.inbox.send(Box::new(Work::new(order, work, reply)));
    }

    /// As [`Meta::commit`], for callers that may wait.
    pub fn commit_and_wait<T, E, F>(&self, order: Order, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<MetaError> + Send + 'static,
        F: FnOnce(&mut Txn<'_>) -> Result<T, E> + Send + 'static,
    {
        let (sender, receiver) = crossbeam::channel::bounded(1);
        self.commit(order, work, move |answer| drop(sender.send(answer)));
        receiver.recv().unwrap_or_else(|_| Err(MetaError::Closed.into()))
    }

    pub(crate) fn engine(&self) -> &dyn Engine {
        &*self.engine
    }

    pub fn listen(&self, listener: Arc<dyn Listener>) {
        self.listeners.write().push(listener);
    }

    /// From now on.
    pub fn set_outbox(&self, outbox: Option<Arc<dyn Outbox>>) {
        *self.events.outbox.write() = outbox;
    }

    /// Events that wait to be told, of all receivers.
    pub fn waiting_events(&self) -> u64 {
        u64::try_from(self.events.waiting.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// The oldest events of a receiver.
    pub fn events(&self, hook: HookId, max: usize) -> Result<Vec<(u64, Event)>, MetaError> {
        let (from, to) = (keyspace::event(hook, 0), keyspace::event(hook, u64::MAX));
        let mut found = Vec::new();
        list::walk(&*self.engine, Table::Events, &from, Some(&to), |key, value| {
            let bad = MetaError::damaged(Table::Events);
            let (_, sequence) = keyspace::split_event(key).map_err(&bad)?;
            found.push((sequence, Event::decode(value).map_err(&bad)?));
            Ok(found.len() < max)
        })?;
        Ok(found)
    }

    /// Receivers that have not been told everything, each with how much it is.
    pub fn event_queues(&self) -> Result<Vec<(HookId, u64)>, MetaError> {
        let mut queues: Vec<(HookId, u64)> = Vec::new();
        self.walk(Table::Events, |key, _| {
            let (hook, _) = keyspace::split_event(key).map_err(MetaError::damaged(Table::Events))?;
            match queues.last_mut() {
                Some((last, count)) if *last == hook => *count += 1,
                _ => queues.push((hook, 1)),
            }
            Ok(())
        })?;
        Ok(queues)
    }

    pub fn unlisten(&self, listener: &Arc<dyn Listener>) {
        self.listeners.write().retain(|kept| !Arc::ptr_eq(kept, listener));
    }

    /// Whether a batch has failed, so that no more are taken until the engine is opened anew.
    pub fn is_fenced(&self) -> bool {
        self.fenced.load(Ordering::Acquire)
    }

    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    pub fn next_id(&self) -> Result<u64, MetaError> {
        self.sequence.next().ok_or(MetaError::Closed)
    }

    /// Whether a number may have been handed out. One that was not is another node's, or of a time that these
    /// records do not know of.
    pub fn has_given(&self, number: u64) -> bool {
        let lost = self.gaps.iter().any(|(from, to)| (*from..*to).contains(&number));
        number < self.sequence.next.load(Ordering::Relaxed) && !lost
    }

    /// What tells this node from every other one: made once, at random.
    pub fn node_id(&self) -> Result<String, MetaError> {
        if let Some(value) = self.engine.get(Table::System, NODE_KEY)? {
            return String::from_utf8(value)
                .map_err(|_| MetaError::Damaged("the node's identity".to_owned()));
        }
        let random =
            || getrandom::u64().map_err(|error| MetaError::Engine(EngineError::Io(error.to_string())));
        let id = format!("{:016x}{:016x}", random()?, random()?);
        let made = id.clone();
        self.commit_and_wait(Order::Shared, move |txn| {
            txn.put(Table::System, NODE_KEY.to_vec(), made.into_bytes());
            Ok::<(), MetaError>(())
        })?;
        Ok(id)
    }

    /// What the last walk over all blobs looked for; see [`Meta::note_audit`].
    pub fn audited(&self) -> Result<Option<u64>, MetaError> {
        let value = self.engine.get(Table::System, AUDIT_KEY)?;
        Ok(value.and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes))
    }

    pub fn note_audit(&self, of: u64) -> Result<(), MetaError> {
        self.commit_and_wait(Order::Shared, move |txn| {
            txn.put(Table::System, AUDIT_KEY.to_vec(), of.to_be_bytes().to_vec());
            Ok(())
        })
    }

    /// Finds a bucket's record, or makes one.
    pub fn bucket(&self, name: &BucketName, now: Timestamp) -> Result<BucketRecord, MetaError> {
        let key = [BUCKET_PREFIX, name.as_str().as_bytes()].concat();
        if let Some(value) = self.engine.get(Table::System, &key)? {
            return BucketRecord::decode(&value).map_err(MetaError::damaged(Table::System));
        }
        self.commit_and_wait(Order::Alone, move |txn| {
            let mut highest = 0;
            list::walk(txn.engine(), Table::System, BUCKET_PREFIX, Some(b"bucket0"), |_, value| {
                let record = BucketRecord::decode(value).map_err(MetaError::damaged(Table::System))?;
                highest = highest.max(record.id.0);
                Ok(true)
            })?;
            let record = BucketRecord { id: BucketId(highest + 1), created: now };
            txn.put(Table::System, key, record.encode());
            Ok(record)
        })
    }

    pub fn object(&self, bucket: BucketId, key: &Key) -> Result<Option<ObjectRecord>, MetaError> {
        decode_object(self.engine.get(Table::Objects, &keyspace::object(bucket, key.as_bytes()))?)
    }

    /// Answers from memory or with `NotCached`; never waits for a disk.
    pub fn object_cached(&self, bucket: BucketId, key: &Key) -> Result<Option<ObjectRecord>, MetaError> {
        decode_object(self.engine.get_cached(Table::Objects, &keyspace::object(bucket, key.as_bytes()))?)
    }

    pub fn blob(&self, id: BlobId) -> Result<Option<BlobRecord>, MetaError> {
        let value = self.engine.get(Table::Blobs, &keyspace::blob(id))?;
        value.map(|bytes| BlobRecord::decode(&bytes)).transpose().map_err(MetaError::damaged(Table::Blobs))
    }

    /// The bytes of an inline blob, verified.
    pub fn inline(&self, id: BlobId) -> Result<Option<bytes::Bytes>, MetaError> {
        let value = self.engine.get(Table::Inline, &keyspace::blob(id))?;
        value.map(decode_inline).transpose().map_err(MetaError::damaged(Table::Inline))
    }

    pub fn inline_cached(&self, id: BlobId) -> Result<Option<bytes::Bytes>, MetaError> {
        let value = self.engine.get_cached(Table::Inline, &keyspace::blob(id))?;
        value.map(decode_inline).transpose().map_err(MetaError::damaged(Table::Inline))
    }

    pub fn list(
        &self,
        bucket: BucketId,
        prefix: &str,
        delimiter: Option<&str>,
        start: &Start,
        max: usize,
    ) -> Result<Page<ObjectRecord>, MetaError> {
        list::objects(&*self.engine, bucket, prefix, delimiter, start, max)
    }

    pub fn upload(
        &self,
        bucket: BucketId,
        key: &Key,
        id: UploadId,
    ) -> Result<Option<UploadRecord>, MetaError> {
        let value = self.engine.get(Table::Uploads, &keyspace::upload(bucket, key, id))?;
        value
            .map(|bytes| UploadRecord::decode(&bytes))
            .transpose()
            .map_err(MetaError::damaged(Table::Uploads))
    }

    pub fn uploads(
        &self,
        bucket: BucketId,
        query: &UploadsQuery<'_>,
    ) -> Result<Page<(UploadId, UploadRecord)>, MetaError> {
        list::uploads(&*self.engine, bucket, query)
    }

    pub fn parts(&self, id: UploadId, after: u16, max: usize) -> Result<Vec<(u16, PartRecord)>, MetaError> {
        scan_parts(&*self.engine, id, after, max)
    }

    /// Cleanups that are due at `now`, oldest first, behind `after`.
    pub fn cleanups(
        &self,
        now: Timestamp,
        after: Option<&Queued<CleanupTask>>,
        max: usize,
    ) -> Result<Vec<Queued<CleanupTask>>, MetaError> {
        let after = after.map(|queued| (queued.due, queued.sequence));
        self.queued(TaskKind::Cleanup, now.0, after, max, CleanupTask::decode)
    }

    /// Work on copies, the most pressing first: `kind` is `Replicate` or `Excess`, or `Deferred` for
    /// what is due again at `until`.
    pub fn copy_tasks(
        &self,
        kind: TaskKind,
        until: Timestamp,
        max: usize,
    ) -> Result<Vec<Queued<CopyTask>>, MetaError> {
        let until = if kind == TaskKind::Deferred { until.0 } else { u64::MAX };
        self.queued(kind, until, None, max, |_, value| CopyTask::decode(value))
    }

    pub fn sweeps(&self, until: Timestamp, max: usize) -> Result<Vec<Queued<SweepTask>>, MetaError> {
        self.queued(TaskKind::Sweep, until.0, None, max, |_, value| SweepTask::decode(value))
    }

    fn queued<T>(
        &self,
        kind: TaskKind,
        until: u64,
        after: Option<(u64, u64)>,
        max: usize,
        decode: impl Fn(u64, &[u8]) -> codec::Decoded<T>,
    ) -> Result<Vec<Queued<T>>, MetaError> {
        let (due, sequence) = after.map_or((0, 0), |(due, sequence)| (due, sequence.saturating_add(1)));
        let (from, to) = (keyspace::task(kind, due, sequence), [kind as u8 + 1]);
        let mut found = Vec::new();
        list::walk(&*self.engine, Table::Tasks, &from, Some(&to), |key, value| {
            let bad = MetaError::damaged(Table::Tasks);
            let (due, sequence) = keyspace::split_task(key).map_err(&bad)?;
            if due > until || found.len() >= max {
                return Ok(false);
            }
            found.push(Queued { due, sequence, task: decode(sequence, value).map_err(&bad)? });
            Ok(true)
        })?;
        Ok(found)
    }

    /// Blobs behind `after`, in order of their ids: a walk over all of them in steps.
    pub fn blobs(&self, after: Option<BlobId>, max: usize) -> Result<Vec<(BlobId, BlobRecord)>, MetaError> {
        let from = keyspace::blob(BlobId(after.map_or(0, |id| id.0.saturating_add(1))));
        let mut found = Vec::new();
        list::walk(&*self.engine, Table::Blobs, &from, None, |key, value| {
            let bad = MetaError::damaged(Table::Blobs);
            found.push((keyspace::split_blob(key).map_err(&bad)?, BlobRecord::decode(value).map_err(&bad)?));
            Ok(found.len() < max)
        })?;
        Ok(found)
    }

    pub fn intent(&self, id: BlobId) -> Result<Option<Intent>, MetaError> {
        let value = self.engine.get(Table::Intents, &keyspace::blob(id))?;
        value.map(|bytes| Intent::decode(&bytes)).transpose().map_err(MetaError::damaged(Table::Intents))
    }

    /// Counts what a backend was asked for. Durable a little ahead of what is counted.
    pub fn count_traffic(&self, backend: BackendId, month: Month, more: Traffic) {
        let Some(ceiling) = self.meter.count(backend, month, more) else { return };
        let meter = Arc::clone(&self.meter);
        let raise = move |txn: &mut Txn<'_>| {
            txn.put(Table::Ledger, usage::key(backend, month), ceiling.encode());
            Ok(())
        };
        self.commit(Order::Shared, raise, move |done: Result<(), MetaError>| {
            meter.raised(backend, month, done.ok().map(|()| ceiling));
        });
    }

    pub fn traffic(&self, backend: BackendId, month: Month) -> Traffic {
        self.meter.read(backend, month)
    }

    /// How many tasks of a kind there are, counted up to `max`.
    pub fn count_tasks(&self, kind: TaskKind, max: usize) -> Result<usize, MetaError> {
        let mut count = 0;
        let to = [kind as u8 + 1];
        list::walk(&*self.engine, Table::Tasks, &[kind as u8], Some(&to), |_, _| {
            count += 1;
            Ok(count < max)
        })?;
        Ok(count)
    }

    pub fn figures(&self) -> EngineFigures {
        self.engine.figures()
    }

    /// Uploads that began, or finished, at or before `until`.
    pub fn expiring(
        &self,
        until: Timestamp,
        max: usize,
    ) -> Result<Vec<(Timestamp, BucketId, Key, UploadId)>, MetaError> {
        let (from, to) = (
            keyspace::task(TaskKind::UploadExpiry, 0, 0),
            keyspace::task(TaskKind::UploadExpiry, until.0.saturating_add(1), 0),
        );
        let mut found = Vec::new();
        list::walk(&*self.engine, Table::Tasks, &from, Some(&to), |key, value| {
            let bad = MetaError::damaged(Table::Tasks);
            let since = keyspace::split_blob(key.get(1..9).unwrap_or_default()).map_err(&bad)?;
            let (bucket, key, id) = task::decode_expiry(value).map_err(&bad)?;
            found.push((Timestamp(since.0), bucket, key, id));
            Ok(found.len() < max)
        })?;
        Ok(found)
    }

    pub fn intents(&self) -> Result<Vec<(BlobId, Intent)>, MetaError> {
        let mut found = Vec::new();
        self.walk(Table::Intents, |key, value| {
            let bad = MetaError::damaged(Table::Intents);
            found.push((keyspace::split_blob(key).map_err(&bad)?, Intent::decode(value).map_err(&bad)?));
            Ok(())
        })?;
        Ok(found)
    }

    /// Every entry of a table, for the checker.
    pub fn walk(
        &self,
        table: Table,
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), MetaError>,
    ) -> Result<(), MetaError> {
        list::walk(&*self.engine, table, &[], None, |key, value| visit(key, value).map(|()| true))
    }

    /// Replaces records as they are, for the checker's repair.
    pub fn rewrite(&self, writes: Vec<(Table, Vec<u8>, Option<Vec<u8>>)>) -> Result<(), MetaError> {
        Ok(self.engine.write(engine::Batch { writes, delete_ranges: Vec::new() })?)
    }

    /// Takes no more commits, finishes those handed in, and leaves no log to replay.
    pub fn close(&self) -> Result<(), MetaError> {
        self.stop();
        let writes = self.meter.records();
        if !writes.is_empty() {
            self.engine.write(engine::Batch { writes, delete_ranges: Vec::new() })?;
        }
        Ok(self.engine.flush()?)
    }

    fn stop(&self) {
        if let Some(thread) = self.committer.lock().take() {
            let _ = self.inbox.0.send(Message::Stop);
            // The last owner may be a commit's reply, which runs on the very thread that is to end.
            if thread.thread().id() != std::thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

impl Drop for Meta {
    fn drop(&mut self) {
        self.stop();
    }
}

fn check_format(engine: &dyn Engine) -> Result<(), MetaError> {
    match engine.get(Table::System, FORMAT_KEY)?.as_deref() {
        Some([FORMAT_VERSION]) => Ok(()),
        // Its records are read as they are, and written anew when they change. From here on an older
        // version must keep away.
        Some([1 | 2]) => write_format(engine),
        Some(other) => Err(MetaError::Damaged(format!(
            "the metadata has format {other:?}, this version reads {FORMAT_VERSION}: use the version that wrote it"
        ))),
        None => write_format(engine),
    }
}

fn write_format(engine: &dyn Engine) -> Result<(), MetaError> {
    let writes = vec![(Table::System, FORMAT_KEY.to_vec(), Some(vec![FORMAT_VERSION]))];
    Ok(engine.write(engine::Batch { writes, delete_ranges: Vec::new() })?)
}

fn open_sequence(engine: &dyn Engine) -> Result<Sequence, MetaError> {
    let record = engine.get(Table::System, Sequence::key())?;
    let sequence = Sequence::from_record(record.as_deref())
        .ok_or_else(|| MetaError::Damaged("the sequence's record".to_owned()))?;
    let ceiling = sequence.ceiling.load(Ordering::Relaxed) + Sequence::STEP;
    engine.write(engine::Batch { writes: vec![Sequence::record(ceiling)], delete_ranges: Vec::new() })?;
    sequence.set_ceiling(ceiling);
    Ok(sequence)
}

fn count_events(engine: &dyn Engine) -> Result<i64, MetaError> {
    let mut count = 0;
    list::walk(engine, Table::Events, &[], None, |_, _| {
        count += 1;
        Ok(true)
    })?;
    Ok(count)
}

fn decode_object(value: Option<Vec<u8>>) -> Result<Option<ObjectRecord>, MetaError> {
    value.map(|bytes| ObjectRecord::decode(&bytes)).transpose().map_err(MetaError::damaged(Table::Objects))
}

fn scan_parts(
    engine: &dyn Engine,
    id: UploadId,
    after: u16,
    max: usize,
) -> Result<Vec<(u16, PartRecord)>, MetaError> {
    let mut found = Vec::new();
    let (Some(first), true) = (after.checked_add(1), max > 0) else { return Ok(found) };
    let (from, to) = (keyspace::part(id.sequence, first), keyspace::part(id.sequence, u16::MAX));
    list::walk(engine, Table::Parts, &from, Some(&to), |key, value| {
        let bad = MetaError::damaged(Table::Parts);
        let (_, number) = keyspace::split_part(key).map_err(&bad)?;
        found.push((number, PartRecord::decode(value).map_err(&bad)?));
        Ok(found.len() < max)
    })?;
    Ok(found)
}
