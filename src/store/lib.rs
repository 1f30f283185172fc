//! The streaming core: the only door to objects, for both faces and the workers.
//!
//! It conducts: a verb checks early, reserves, streams the body to the backend, has it verified,
//! and hands the metadata engine one batch. It never knows HTTP, XML or errno, reads no
//! configuration, and nothing but it writes or reads a blob.
//!
//! Start with [`Store`], then [`put`](Store::put) and [`open`](Store::open).

mod adopt;
mod allowance;
mod append;
mod audit;
mod barrier;
mod breaker;
mod claim;
mod cleanup;
mod compare;
mod copies;
mod copy;
mod delete;
mod disk;
mod drain;
mod error;
mod even;
mod events;
mod expiry;
mod explain;
mod figures;
mod fleet;
mod fsck;
mod get;
mod hold;
mod ingest;
mod jobs;
mod lanes;
mod lifecycle;
mod list;
mod lost;
mod md5;
mod md5_lanes;
mod member;
mod options;
mod pace;
mod parts;
mod pins;
mod pipeline;
mod placement;
mod plain;
mod pulse;
mod purpose;
mod put;
mod queue;
mod rebalance;
mod reconcile;
mod recovery;
mod remove;
mod replicas;
mod restate;
mod room;
mod scrub;
mod settings;
mod snapshot;
mod staged;
mod summing;
mod toll;
mod tree;
mod upload;
mod usage;
mod verify;

pub use append::{Append, Appended, MAX_PIECES};
pub use barrier::Gate;
pub use breaker::Circuit;
pub use disk::DiskRoom;
pub use drain::Holding;
pub use error::{DigestMismatch, OrderError, SourceError, StoreError};
pub use explain::{Explanation, PlacedBlob, PlacedReplica};
pub use figures::{CopyQueues, Figures, MAX_COUNTED};
pub use fleet::EMBEDDED_NAME;
pub use fsck::{Difference, FsckOptions, FsckSummary, fsck};
pub use get::{OpenObject, Reader};
pub use hold::{Held, HeldChild};
pub use lifecycle::{Expired, ExpiryRule};
pub use lost::{Fate, LostStep, Unreadable};
pub use meta::{
    BackendState, BatchReport, Cause, Change, EngineFigures, Event, Health, HookId, JobProgress, JobRecord,
    JobState, Listener, MAX_EVENTS, ObjectRecord as Object, Origin, Outbox, TableFigures, Traffic,
};
pub use options::*;
pub use pace::Pace;
pub use placement::{Acknowledge, Placement, Policy};
pub use plain::Plain;
pub use purpose::Purpose;
pub use queue::Queued;
pub use rebalance::{Moved, Plan, PlannedBackend, Rebalance};
pub use reconcile::{Odd, Oddity, ReconcileOrder, ReconcileStep, Reconciliation};
pub use remove::{Forgotten, LostObject};
pub use room::Room;
pub use scrub::{BadReplica, ScrubDue, ScrubFigures, ScrubOrder, ScrubStep};
pub use settings::Settings;
pub use snapshot::{
    RestoreOptions, Restored, SnapshotAt, SnapshotOrder, SnapshotSent, SnapshotStep, Snapshotting, restore,
};
pub use staged::{Arrived, Staging};
pub use tree::{
    Asker, DIRECTORY_TYPE, MAX_MOVED_KEYS, Refusal, Rename, TreeAnswer, TreeError, directory_headers,
};
pub use usage::{BackendStatus, Usage};

use backend::{Local, SyncRule};
use barrier::Barrier;
use disk::Disk;
use fleet::Fleet;
use meta::{Meta, MetaError, Order, Txn};
use parking_lot::Mutex;
use pins::Pins;
use plain::Verified;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use types::{BucketId, BucketName, Timestamp};

/// RocksDB's blocks in memory.
const BLOCK_CACHE_BYTES: usize = 128 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// What was acknowledged survives loss of power.
    PowerLoss,
    /// What was acknowledged survives the death of the process.
    ProcessCrash,
}

/// A sync left out on purpose, so that a power-cut rig can prove that it would notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OmittedSync {
    File,
    Directory,
    Log,
}

#[derive(Debug, Clone)]
pub struct BucketOptions {
    pub name: BucketName,
    pub quota: Option<u64>,
    pub policy: Policy,
}

impl BucketOptions {
    pub fn new(name: BucketName) -> Self {
        Self { name, quota: None, policy: Policy::default() }
    }
}

#[derive(Debug, Clone)]
pub struct Options {
    pub data_dir: PathBuf,
    pub durability: Durability,
    pub buckets: Vec<BucketOptions>,
    /// In the order in which `pack` fills them; none is an embedded backend without quota.
    pub backends: Vec<BackendOptions>,
    /// One PUT or one part.
    pub max_object_size_bytes: u64,
    pub multipart_expiry: Duration,
    /// A backend that fails for so long is counted on no more: its replicas are made anew elsewhere.
    pub replace_after: Duration,
    pub clock: fn() -> Timestamp,
    pub omitted_sync: Option<OmittedSync>,
}

impl Options {
    /// One embedded backend without quota, and the defaults.
    pub fn new(data_dir: PathBuf, buckets: Vec<BucketOptions>, clock: fn() -> Timestamp) -> Self {
        Self {
            data_dir,
            durability: Durability::PowerLoss,
            buckets,
            backends: Vec::new(),
            max_object_size_bytes: 5 << 30,
            multipart_expiry: Duration::from_secs(24 * 3600),
            replace_after: REPLACE_AFTER,
            clock,
            omitted_sync: None,
        }
    }
}

/// Longer than a reboot or a provider's bad hour.
pub const REPLACE_AFTER: Duration = Duration::from_secs(3600);

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub max_object_size_bytes: u64,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    options: Options,
    meta: Meta,
    local: Arc<Local>,
    fleet: Fleet,
    pins: Pins,
    disk: Disk,
    settings: settings::InForce,
    bells: Arc<Bells>,
    /// For callers on threads of their own that read from a backend over a network.
    runtime: Option<tokio::runtime::Handle>,
    barrier: Barrier,
    verified: Verified,
    /// Why work on copies could not be done the last time that some could not.
    copies_trouble: Mutex<Option<(Timestamp, String)>>,
    scrubbed: scrub::Scrubbed,
    /// Held by whoever adopts, or deletes what nobody names.
    adopting: Arc<tokio::sync::Mutex<()>>,
    /// Held by whoever takes a snapshot.
    snapshots: Arc<tokio::sync::Mutex<snapshot::Sums>>,
    /// Which node this is.
    node: String,
    _lock: std::fs::File,
}

impl Inner {
    fn is_fenced(&self) -> bool {
        self.local.is_fenced() || self.meta.is_fenced()
    }
}

/// Ring when a queue gets work.
#[derive(Default)]
struct Bells {
    cleanup: Notify,
    copies: Notify,
    /// Something else may be asked of all blobs.
    audit: Notify,
}

impl Listener for Bells {
    fn committed(&self, _changes: &[Change]) {}

    fn cleanup_queued(&self) {
        self.cleanup.notify_one();
    }

    fn copies_queued(&self) {
        self.copies.notify_one();
    }
}

impl Store {
    /// Takes the data directory for itself, opens it, and settles what a crash left.
    pub fn open_dir(options: Options) -> Result<Self, StoreError> {
        let dir = &options.data_dir;
        std::fs::create_dir_all(dir)?;
        let lock = lock(dir)?;
        if dir.join(snapshot::UNFINISHED).exists() && !dir.join("meta").exists() {
            let why = "a restore was begun here and not finished: run s3-orchestrator restore again";
            return Err(StoreError::Storage(why.to_owned()));
        }
        let disk = Disk::open(dir)?;
        let omitted = options.omitted_sync;
        let durable = options.durability == Durability::PowerLoss;
        let meta = Meta::open(&meta::Options {
            path: dir.join("meta"),
            sync: durable && omitted != Some(OmittedSync::Log),
            block_cache_bytes: BLOCK_CACHE_BYTES,
        })?;
        let sync = SyncRule {
            file: durable && omitted != Some(OmittedSync::File),
            directory: durable && omitted != Some(OmittedSync::Directory),
        };
        let local = Arc::new(Local::open(&dir.join("blobs"), sync)?);
        let node = meta.node_id()?;
        let fleet = Fleet::open(&meta, &local, &options.backends, (options.clock)())?;
        let settings = settings::InForce::new(&options);
        settings.open_buckets(&meta, &options.buckets, (options.clock)())?;
        recovery::settle_intents(&meta)?;
        let bells = Arc::new(Bells::default());
        bells.cleanup.notify_one();
        bells.copies.notify_one();
        meta.listen(Arc::clone(&bells) as Arc<dyn Listener>);
        let inner = Inner {
            options,
            meta,
            local,
            fleet,
            pins: Pins::default(),
            disk,
            settings,
            bells,
            runtime: tokio::runtime::Handle::try_current().ok(),
            barrier: Barrier::default(),
            verified: Verified::default(),
            scrubbed: scrub::Scrubbed::default(),
            adopting: Arc::default(),
            snapshots: Arc::default(),
            node,
            copies_trouble: Mutex::default(),
            _lock: lock,
        };
        Ok(Self(Arc::new(inner)))
    }

    /// Hears of every commit from now on.
    pub fn listen(&self, listener: Arc<dyn Listener>) {
        self.0.meta.listen(listener);
    }

    pub fn unlisten(&self, listener: &Arc<dyn Listener>) {
        self.0.meta.unlisten(listener);
    }

    /// A sync has failed: nothing more is written until the store is opened anew.
    pub fn is_fenced(&self) -> bool {
        self.0.is_fenced()
    }

    pub(crate) fn check_room(&self) -> Result<(), StoreError> {
        match self.is_fenced() {
            true => Err(StoreError::Fenced),
            false if self.0.disk.is_full() => Err(StoreError::Full),
            false => Ok(()),
        }
    }

    pub fn watch_disk(&self) {
        self.0.disk.look();
    }

    pub fn disk_room(&self) -> DiskRoom {
        self.0.disk.report()
    }

    /// After the faces have stopped: finishes what was handed in and leaves nothing to replay.
    pub async fn close(&self) {
        let inner = Arc::clone(&self.0);
        let closed = tokio::task::spawn_blocking(move || inner.meta.close()).await;
        if let Ok(Err(error)) = closed {
            tracing::error!(%error, "closing the metadata");
        }
    }

    fn now(&self) -> Timestamp {
        self.0.now()
    }

    /// One commit, acknowledged when mounts show it too.
    async fn commit<T, F>(&self, order: Order, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Txn<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let answer = self.commit_alone(order, work).await;
        self.settle().await;
        answer
    }

    /// In a task of the committer's own: it is finished also when the caller is gone. For callers for
    /// whom a kernel's lock is held, which must not wait for mounts.
    async fn commit_alone<T, E, F>(&self, order: Order, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<MetaError> + From<StoreError> + Send + 'static,
        F: FnOnce(&mut Txn<'_>) -> Result<T, E> + Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        self.0.meta.commit(order, work, move |answer| drop(sender.send(answer)));
        receiver.await.unwrap_or_else(|_| Err(StoreError::Busy.into()))
    }

    /// Runs what may wait for a disk beside the threads that serve sockets.
    async fn blocking<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Inner) -> Result<T, StoreError> + Send + 'static,
    {
        let inner = Arc::clone(&self.0);
        let done = tokio::task::spawn_blocking(move || work(&inner)).await;
        done.unwrap_or_else(|error| Err(StoreError::Storage(error.to_string())))
    }
}

impl Inner {
    fn now(&self) -> Timestamp {
        (self.options.clock)()
    }

    /// What the bucket asks for; a bucket that is not configured any more asks for one copy.
    fn policy(&self, bucket: Option<BucketId>) -> Policy {
        bucket.and_then(|bucket| self.settings.policy(bucket)).unwrap_or_default()
    }
}

fn lock(dir: &std::path::Path) -> Result<std::fs::File, StoreError> {
    let file = std::fs::File::options().create(true).truncate(false).write(true).open(dir.join("lock"))?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(_) => Err(StoreError::Storage(format!(
            "another s3-orchestrator is using the data directory {}",
            dir.display()
        ))),
    }
}
