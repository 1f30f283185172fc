//! The committer: one thread that decides every commit, in order.
//!
//! It takes what waits, lets each commit read the state that the ones before it leave, merges what
//! they write into one batch, and syncs once for all of them. A commit whose preconditions fail is
//! rolled back alone. Acknowledgements and the change feed go out only after the batch is durable.
//!
//! A batch that could not be written or synced, for another reason than a full disk, fences the
//! engine: nobody knows what of it is on the disk, and a later sync that succeeds would not say.
//! From then on every commit is refused until the engine is opened anew; reads go on.

use crossbeam::channel::{Receiver, Sender};
use std::collections::HashMap;
use std::collections::hash_map;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};
use types::{BucketId, Key, Version};

use crate::engine::{Batch, Engine, EngineError, Table};
use crate::error::MetaError;
use crate::event::{Cause, Outbox};
use crate::figures::BatchReport;
use crate::ledger::{Account, Delta, Ledger, Reservation};
use crate::sequence::Sequence;

/// A batch is closed when it holds this much: its sync is then a small part of its cost.
const MAX_GROUP_COMMITS: usize = 512;
const MAX_GROUP_BYTES: usize = 4 << 20;
/// Events that wait to be told, of all receivers: some 30 MB. A receiver that is away for longer
/// misses what comes after.
pub const MAX_EVENTS: i64 = 100_000;

/// A name that changed, in commit order. `None`: nothing is there any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub bucket: BucketId,
    pub key: Key,
    pub version: Option<Version>,
    /// Who caused it, if it has a number: a mount need not be told of what it did itself.
    pub origin: Origin,
}

/// A listener that also commits: what it causes carries its number. Zero is everybody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Origin(pub u32);

/// Hears of every commit, in order, when it is durable and before it is acknowledged. It runs on
/// the committer's thread: it must not wait and must not commit.
pub trait Listener: Send + Sync {
    fn committed(&self, changes: &[Change]);
    /// Something was put on the cleanup queue.
    fn cleanup_queued(&self) {}
    /// There is work on the copies of blobs.
    fn copies_queued(&self) {}
    /// A batch is settled, well or not.
    fn batch_settled(&self, _report: &BatchReport<'_>) {}
}

/// How a commit stands to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// May share a batch with commits before it.
    Shared,
    /// Reads by scanning, which does not see what is still in the batch: gets a fresh one.
    Alone,
}

/// A commit's work on the committer's thread, and its acknowledgement after the sync.
pub(crate) trait Pending: Send {
    fn order(&self) -> Order;
    /// When it was handed in.
    fn since(&self) -> Instant;
    /// Decides; `false` rolls back.
    fn decide(&mut self, txn: &mut Txn<'_>) -> bool;
    /// The fate of the batch that it was in.
    fn acknowledge(self: Box<Self>, outcome: Result<(), EngineError>);
}

pub(crate) enum Message {
    Commit(Box<dyn Pending>),
    Stop,
}

pub(crate) struct Committer {
    pub engine: Arc<dyn Engine>,
    pub ledger: Arc<Ledger>,
    pub sequence: Arc<Sequence>,
    pub listeners: Arc<parking_lot::RwLock<Vec<Arc<dyn Listener>>>>,
    pub events: Arc<Events>,
    pub inbox: Receiver<Message>,
    pub fenced: Arc<AtomicBool>,
}

/// What is to be told outside.
#[derive(Default)]
pub(crate) struct Events {
    pub outbox: parking_lot::RwLock<Option<Arc<dyn Outbox>>>,
    /// How many wait.
    pub waiting: AtomicI64,
}

/// What the batch in the making holds.
#[derive(Default)]
struct Group {
    writes: HashMap<(Table, Vec<u8>), Option<Vec<u8>>>,
    delete_ranges: Vec<(Table, Vec<u8>, Vec<u8>)>,
    charges: Vec<(Account, Delta)>,
    changes: Vec<Change>,
    cleanup_queued: bool,
    copies_queued: bool,
    /// More, or fewer, that wait to be told.
    events: i64,
    bytes: usize,
    waiting: Vec<Box<dyn Pending>>,
}

impl Committer {
    pub fn run(self) {
        let mut group = Group::default();
        while let Ok(message) = self.inbox.recv() {
            let mut next = Some(message);
            while let Some(message) = next.take() {
                match message {
                    Message::Commit(pending) => self.admit(&mut group, pending),
                    Message::Stop => {
                        self.write(&mut group);
                        return;
                    }
                }
                if group.waiting.len() < MAX_GROUP_COMMITS && group.bytes < MAX_GROUP_BYTES {
                    next = self.inbox.try_recv().ok();
                }
            }
            self.write(&mut group);
        }
    }

    fn admit(&self, group: &mut Group, mut pending: Box<dyn Pending>) {
        if pending.order() == Order::Alone {
            self.write(group);
        }
        let mut txn = Txn::new(self, group);
        if pending.decide(&mut txn) {
            txn.keep();
        } else {
            txn.roll_back();
        }
        group.waiting.push(pending);
        // A commit that comes after would read through a deleted range into what is below it.
        if !group.delete_ranges.is_empty() {
            self.write(group);
        }
    }

    fn write(&self, group: &mut Group) {
        let Group {
            writes,
            delete_ranges,
            charges,
            changes,
            cleanup_queued,
            copies_queued,
            events,
            bytes,
            waiting,
        } = std::mem::take(group);
        let begun = Instant::now();
        let outcome = if writes.is_empty() && delete_ranges.is_empty() {
            Ok(())
        } else {
            self.write_batch(writes, delete_ranges, &charges)
        };
        match &outcome {
            Ok(()) => {
                self.tell(&changes, cleanup_queued, copies_queued);
                self.ring(events);
            }
            Err(error) => {
                // Once is enough: what follows the first failure says nothing new.
                if *error != EngineError::Fenced {
                    tracing::error!(%error, commits = waiting.len(), "a batch of commits failed");
                }
                for (account, delta) in charges {
                    self.ledger.apply(account, delta.negated());
                }
            }
        }
        self.report(&waiting, bytes, begun, outcome.is_err());
        for pending in waiting {
            pending.acknowledge(outcome.clone());
        }
    }

    fn report(&self, waiting: &[Box<dyn Pending>], bytes: usize, begun: Instant, failed: bool) {
        if waiting.is_empty() {
            return;
        }
        let now = Instant::now();
        let waits: Vec<Duration> =
            waiting.iter().map(|pending| now.duration_since(pending.since())).collect();
        let report = BatchReport { waits: &waits, bytes, write: now.duration_since(begun), failed };
        for listener in self.listeners.read().iter() {
            listener.batch_settled(&report);
        }
    }

    fn write_batch(
        &self,
        writes: HashMap<(Table, Vec<u8>), Option<Vec<u8>>>,
        delete_ranges: Vec<(Table, Vec<u8>, Vec<u8>)>,
        charges: &[(Account, Delta)],
    ) -> Result<(), EngineError> {
        let mut batch = Batch { delete_ranges, writes: Vec::with_capacity(writes.len() + 4) };
        batch.writes.extend(writes.into_iter().map(|((table, key), value)| (table, key, value)));
        let mut accounts: Vec<Account> = charges.iter().map(|(account, _)| *account).collect();
        accounts.sort_unstable();
        accounts.dedup();
        for account in accounts {
            batch.writes.push((Table::Ledger, account.key(), Some(self.ledger.counters(account).encode())));
        }
        let raised = self.sequence.raise_if_near();
        if let Some(ceiling) = raised {
            batch.writes.push(Sequence::record(ceiling));
        }
        self.write_or_fence(batch)?;
        if let Some(ceiling) = raised {
            self.sequence.set_ceiling(ceiling);
        }
        Ok(())
    }

    fn ring(&self, events: i64) {
        self.events.waiting.fetch_add(events, Ordering::Relaxed);
        if events > 0
            && let Some(outbox) = &*self.events.outbox.read()
        {
            outbox.queued();
        }
    }

    fn write_or_fence(&self, batch: Batch) -> Result<(), EngineError> {
        if self.fenced.load(Ordering::Acquire) {
            return Err(EngineError::Fenced);
        }
        let written = self.engine.write(batch);
        if let Err(EngineError::Io(_)) = &written {
            self.fenced.store(true, Ordering::Release);
        }
        written
    }

    fn tell(&self, changes: &[Change], cleanup_queued: bool, copies_queued: bool) {
        for listener in self.listeners.read().iter() {
            if !changes.is_empty() {
                listener.committed(changes);
            }
            if cleanup_queued {
                listener.cleanup_queued();
            }
            if copies_queued {
                listener.copies_queued();
            }
        }
    }
}

/// One commit in the making: reads see what the batch holds so far, writes go into it.
pub struct Txn<'a> {
    committer: &'a Committer,
    group: &'a mut Group,
    undo: Vec<((Table, Vec<u8>), Option<Option<Vec<u8>>>)>,
    charges_before: usize,
    changes_before: usize,
    ranges_before: usize,
    bytes_before: usize,
    events_before: i64,
    pub(crate) cause: Cause,
    origin: Origin,
    finished: bool,
}

impl<'a> Txn<'a> {
    fn new(committer: &'a Committer, group: &'a mut Group) -> Self {
        Self {
            committer,
            undo: Vec::new(),
            charges_before: group.charges.len(),
            changes_before: group.changes.len(),
            ranges_before: group.delete_ranges.len(),
            bytes_before: group.bytes,
            events_before: group.events,
            cause: Cause::default(),
            group,
            origin: Origin::default(),
            finished: false,
        }
    }

    pub(crate) fn engine(&self) -> &dyn Engine {
        &*self.committer.engine
    }

    /// The next number of the one sequence that blobs, versions and uploads share.
    pub fn next_id(&mut self) -> Result<u64, MetaError> {
        self.committer.sequence.next().ok_or(MetaError::Closed)
    }

    pub(crate) fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, MetaError> {
        // The map's key is owned; most groups are small and most lookups miss an empty map.
        if !self.group.writes.is_empty()
            && let Some(value) = self.group.writes.get(&(table, key.to_vec()))
        {
            return Ok(value.clone());
        }
        Ok(self.committer.engine.get(table, key)?)
    }

    pub(crate) fn put(&mut self, table: Table, key: Vec<u8>, value: Vec<u8>) {
        self.set(table, key, Some(value));
    }

    pub(crate) fn delete(&mut self, table: Table, key: Vec<u8>) {
        self.set(table, key, None);
    }

    fn set(&mut self, table: Table, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.group.bytes += key.len() + value.as_ref().map_or(0, Vec::len);
        match self.group.writes.entry((table, key)) {
            hash_map::Entry::Occupied(mut entry) => {
                let before = entry.insert(value);
                self.undo.push((entry.key().clone(), Some(before)));
            }
            hash_map::Entry::Vacant(entry) => {
                self.undo.push((entry.key().clone(), None));
                entry.insert(value);
            }
        }
    }

    pub(crate) fn delete_range(&mut self, table: Table, from: Vec<u8>, to: Vec<u8>) {
        self.group.delete_ranges.push((table, from, to));
    }

    pub(crate) fn charge(&mut self, account: Account, delta: Delta) {
        self.committer.ledger.apply(account, delta);
        self.group.charges.push((account, delta));
    }

    /// What is published from here on is this listener's own doing.
    pub fn caused_by(&mut self, origin: Origin) {
        self.origin = origin;
    }

    pub(crate) fn publish(&mut self, bucket: BucketId, key: &Key, version: Option<Version>) {
        self.group.changes.push(Change { bucket, key: key.clone(), version, origin: self.origin });
    }

    pub(crate) fn outbox(&self) -> Option<Arc<dyn Outbox>> {
        self.committer.events.outbox.read().clone()
    }

    pub(crate) fn event_fits(&self) -> bool {
        self.committer.events.waiting.load(Ordering::Relaxed) + self.group.events < MAX_EVENTS
    }

    pub(crate) fn count_event(&mut self, change: i64) {
        self.group.events += change;
    }

    pub(crate) fn wake_cleanup(&mut self) {
        self.group.cleanup_queued = true;
    }

    pub(crate) fn wake_copies(&mut self) {
        self.group.copies_queued = true;
    }

    /// Refuses the commit if it takes an account over its quota; what `own` holds is about to be
    /// given back and does not count.
    pub fn check_quota(&self, account: Account, own: &Reservation) -> Result<(), MetaError> {
        if self.committer.ledger.fits(account, own.held(account)) {
            Ok(())
        } else {
            Err(MetaError::Quota(crate::ledger::QuotaExceeded(account)))
        }
    }

    fn keep(mut self) {
        self.finished = true;
    }

    fn roll_back(self) {
        drop(self);
    }
}

/// A commit that is not kept leaves nothing, also when its closure panics.
impl Drop for Txn<'_> {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        for (key, before) in self.undo.drain(..).rev() {
            match before {
                Some(value) => self.group.writes.insert(key, value),
                None => self.group.writes.remove(&key),
            };
        }
        for (account, delta) in self.group.charges.drain(self.charges_before..) {
            self.committer.ledger.apply(account, delta.negated());
        }
        self.group.changes.truncate(self.changes_before);
        self.group.delete_ranges.truncate(self.ranges_before);
        self.group.bytes = self.bytes_before;
        self.group.events = self.events_before;
    }
}

/// A closure and its answer as a [`Pending`].
pub(crate) struct Work<T, E, F, R> {
    order: Order,
    since: Instant,
    decide: Option<F>,
    decided: Option<Result<T, E>>,
    reply: R,
}

impl<T, E, F, R> Work<T, E, F, R> {
    pub fn new(order: Order, decide: F, reply: R) -> Self {
        Self { order, since: Instant::now(), decide: Some(decide), decided: None, reply }
    }
}

impl<T, E, F, R> Pending for Work<T, E, F, R>
where
    T: Send,
    E: From<MetaError> + Send,
    F: FnOnce(&mut Txn<'_>) -> Result<T, E> + Send,
    R: FnOnce(Result<T, E>) + Send,
{
    fn order(&self) -> Order {
        self.order
    }

    fn since(&self) -> Instant {
        self.since
    }

    fn decide(&mut self, txn: &mut Txn<'_>) -> bool {
        let Some(decide) = self.decide.take() else { return false };
        // One bad commit must not take the only committer with it.
        let decided = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| decide(txn)));
        let decided = decided.unwrap_or_else(|_| {
            Err(MetaError::Damaged("a commit panicked; it was rolled back".to_owned()).into())
        });
        self.decided.insert(decided).is_ok()
    }

    fn acknowledge(self: Box<Self>, outcome: Result<(), EngineError>) {
        let answer = match (self.decided, outcome) {
            (Some(Ok(value)), Ok(())) => Ok(value),
            (Some(Ok(_)), Err(error)) => Err(MetaError::Engine(error).into()),
            (Some(Err(refusal)), _) => Err(refusal),
            (None, _) => Err(MetaError::Closed.into()),
        };
        (self.reply)(answer);
    }
}

/// The way to the committer; closed when the engine closes.
#[derive(Clone)]
pub(crate) struct Inbox(pub Sender<Message>);

impl Inbox {
    /// `false`: the committer is gone, and the commit's reply was dropped unheard.
    pub fn send(&self, pending: Box<dyn Pending>) -> bool {
        self.0.send(Message::Commit(pending)).is_ok()
    }
}

impl Sequence {
    /// Where the ceiling must go if half of what is allowed is used up.
    fn raise_if_near(&self) -> Option<u64> {
        let (next, ceiling) = (self.next.load(Ordering::Relaxed), self.ceiling.load(Ordering::Relaxed));
        (next + Sequence::STEP / 2 > ceiling).then_some(ceiling + Sequence::STEP)
    }
}
