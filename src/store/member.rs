//! One backend of the node: what it may be used for, how it is doing, what it was asked for.

use backend::{Backend, BackendError, Fault, Location};
use meta::{Account, BackendId, BackendState, EMBEDDED, Meta, Month, Place, Reservation, Target, Traffic};
use parking_lot::{Mutex, RwLock};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use types::{BlobId, Timestamp};

use crate::breaker::{Breaker, Circuit};
use crate::pace::Pace;
use crate::{BackendOptions, MonthlyLimits, StoreError};

/// One backend.
#[derive(Debug)]
pub struct Member {
    pub id: BackendId,
    pub name: String,
    /// Whether objects have names there that people can read.
    pub readable: bool,
    pub backend: Arc<dyn Backend>,
    pub breaker: Breaker,
    /// Of copies, not of clients.
    pub pace: Pace,
    calls: Pace,
    /// Replicas there that were found missing or damaged since the start.
    pub bad_found: AtomicU64,
    limits: RwLock<MonthlyLimits>,
    state: RwLock<(BackendState, Timestamp)>,
    /// Its draining rests.
    held: AtomicBool,
    /// What of its usage is in the monthly counters.
    counted: Mutex<backend::Usage>,
}

impl Member {
    /// A backend that the records know from now on, if they did not yet.
    pub fn new(
        meta: &Meta,
        backend: Arc<dyn Backend>,
        options: &BackendOptions,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let record = meta.backend(&options.name, options.is_embedded(), now)?;
        let member = Self {
            id: record.id,
            name: options.name.clone(),
            readable: options.readable,
            counted: Mutex::new(backend.usage()),
            backend,
            breaker: Breaker::default(),
            pace: Pace::new(None),
            calls: Pace::new(None),
            bad_found: AtomicU64::new(0),
            limits: RwLock::default(),
            state: RwLock::new((record.state, record.since)),
            held: AtomicBool::new(false),
        };
        member.follow(meta, options);
        Ok(member)
    }

    /// Takes over what may change while it is open.
    pub fn follow(&self, meta: &Meta, options: &BackendOptions) {
        meta.ledger().set_quota(Account::Backend(self.id), options.quota);
        self.pace.set(options.copy_bytes_per_second);
        self.calls.set(options.copy_calls_per_second);
        *self.limits.write() = options.monthly;
        if let Some(signing) = &options.signing {
            self.backend.sign_with(signing);
        }
    }

    /// Waits until work that no client waits for may call it so often more.
    pub async fn may_call(&self, calls: u64) {
        self.calls.take(calls).await;
    }

    /// How many such calls may be made and wait no longer than `patience`; one at least.
    pub fn calls_within(&self, patience: Duration) -> u64 {
        self.calls.within(patience).max(1)
    }

    /// The calls for so many deletions of whole replicas, and of what unfinished writes left.
    pub fn calls_to_delete(&self, whole: usize, unfinished: usize) -> u64 {
        self.backend.calls_to_remove(whole) + self.backend.calls_to_abandon() * unfinished as u64
    }

    pub fn is_embedded(&self) -> bool {
        self.id == EMBEDDED
    }

    pub fn state(&self) -> BackendState {
        self.state.read().0
    }

    pub fn state_since(&self) -> Timestamp {
        self.state.read().1
    }

    pub fn set_state(&self, state: BackendState, since: Timestamp) {
        *self.state.write() = (state, since);
    }

    pub fn hold(&self, held: bool) {
        self.held.store(held, Ordering::Relaxed);
    }

    pub fn is_held(&self) -> bool {
        self.state() == BackendState::Draining && self.held.load(Ordering::Relaxed)
    }

    /// Whether it takes new replicas.
    pub fn is_active(&self) -> bool {
        self.state() == BackendState::Active
    }

    /// Where a target's bytes are; `None` for an inline value, which is no backend's.
    pub fn location(&self, blob: BlobId, place: &Place) -> Option<Location> {
        match place {
            Place::Inline => None,
            Place::File => Some(self.backend.locate(blob, None)),
            Place::Object(name) => Some(Location::new(Arc::clone(name))),
        }
    }

    /// A place that was never used: `number` is new, or the blob's own for its first replica here.
    pub fn target(&self, number: BlobId, readable: Option<&str>) -> Target {
        let readable = readable.filter(|_| self.readable);
        let name = self.backend.locate(number, readable);
        Target::new(self.id, Place::Object(name.as_str().into()))
    }

    /// Takes room there for a write that has lost another place, if it takes one now.
    pub fn takes(&self, room: &mut Reservation, size: u64) -> bool {
        self.is_active() && self.admits() && room.grow(Account::Backend(self.id), size).is_ok()
    }

    pub fn admits(&self) -> bool {
        self.breaker.admits(Instant::now())
    }

    pub fn succeeded(&self) {
        if self.breaker.succeeded() {
            tracing::info!(backend = self.name, "the backend answers again");
        }
    }

    pub fn failed(&self, error: &BackendError) {
        // Some answer is an answer: a backend that says "absent" is alive.
        if !error.fault.is_the_backends() {
            self.succeeded();
        } else if self.breaker.failed(Instant::now()) {
            tracing::warn!(backend = self.name, %error, "the backend fails again and again; it is left alone");
        }
    }

    /// Files the outcome of a call with the breaker.
    pub fn judge<T>(&self, outcome: Result<T, BackendError>) -> Result<T, BackendError> {
        match &outcome {
            Ok(_) => self.succeeded(),
            Err(error) => self.failed(error),
        }
        outcome
    }

    /// An outcome where no answer in time is the backend's failure.
    pub fn too_late(&self) -> BackendError {
        let error = BackendError::new(Fault::Unavailable, "no answer in time");
        self.failed(&error);
        error
    }

    /// Whether a month's limit leaves no room for `more`.
    pub fn used_up(&self, traffic: Traffic, more: Traffic) -> bool {
        let over = |limit: Option<u64>, used: u64, more: u64| {
            limit.is_some_and(|limit| more > 0 && used.saturating_add(more) > limit)
        };
        let limits = self.limits();
        over(limits.calls, traffic.calls, more.calls)
            || over(limits.ingress_bytes, traffic.ingress_bytes, more.ingress_bytes)
            || over(limits.egress_bytes, traffic.egress_bytes, more.egress_bytes)
    }

    pub fn has_limits(&self) -> bool {
        self.limits() != MonthlyLimits::default()
    }

    pub fn limits(&self) -> MonthlyLimits {
        *self.limits.read()
    }

    pub fn circuit(&self) -> Circuit {
        self.breaker.circuit()
    }

    /// Brings what it was asked for since the last time into the month's counters.
    pub fn count(&self, meta: &Meta, now: Timestamp) -> Traffic {
        let month = Month::of(now);
        let mut counted = self.counted.lock();
        let usage = self.backend.usage();
        let more = Traffic {
            calls: usage.calls.saturating_sub(counted.calls),
            ingress_bytes: usage.ingress_bytes.saturating_sub(counted.ingress_bytes),
            egress_bytes: usage.egress_bytes.saturating_sub(counted.egress_bytes),
        };
        if more != Traffic::default() {
            *counted = usage;
            meta.count_traffic(self.id, month, more);
        }
        meta.traffic(self.id, month)
    }
}
