//! Verifies every replica again and again, those first that were not looked at for longest.
//!
//! The records say when each was verified last, so there is no place to go on from that a restart could lose:
//! what is due is found by a walk over the records, as much of it as memory may hold, in order.

use futures_util::stream::{StreamExt as _, iter};
use meta::{BackendId, BlobRecord, Health, Target, Traffic};
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use types::{BlobId, Timestamp};

use crate::pace::Pace;
use crate::verify::{Look, Seen};
use crate::{Inner, Store, StoreError};

/// Replicas that one walk chooses: some 2 MB.
const CHOSEN_MAX: usize = 16_384;
/// Blobs that one step of a walk looks at.
const WALK_BLOBS: usize = 1000;
/// What one step verifies: its commit, and what a restart repeats.
const STEP_REPLICAS: usize = 32;
const STEP_BYTES: u64 = 64 << 20;
const AT_A_TIME: usize = 4;

/// Which replicas are to be verified.
#[derive(Debug, Clone)]
pub struct ScrubOrder {
    /// `None`: on all.
    pub backend: Option<String>,
    /// Those that were not verified since.
    pub before: Timestamp,
    /// Also those at providers, where reading may cost money.
    pub remote: bool,
}

/// A replica to be verified; the longest unverified one is the smallest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Chosen {
    verified: Timestamp,
    blob: BlobId,
    target: Target,
    size: u64,
}

/// What is due.
#[derive(Debug, Clone, Default)]
pub struct ScrubDue {
    /// The first of them, the next one last.
    chosen: Vec<Chosen>,
    before: Timestamp,
    pub replicas: u64,
    pub bytes: u64,
    /// When the one was verified that is due next, if nobody asks for it before.
    pub next: Option<Timestamp>,
}

impl ScrubDue {
    /// Nothing of what was chosen is left.
    pub fn is_done(&self) -> bool {
        self.chosen.is_empty()
    }
}

/// What one step did.
#[derive(Debug, Clone, Default)]
pub struct ScrubStep {
    pub verified: u64,
    pub bytes: u64,
    pub bad: Vec<BadReplica>,
    /// Backends that are away, or may not be read any more this month.
    pub unread: u64,
}

/// A replica that is missing or damaged.
#[derive(Debug, Clone)]
pub struct BadReplica {
    pub blob: BlobId,
    pub backend: String,
    pub place: String,
    pub why: String,
    /// There is a good one, from which it is made anew.
    pub replaceable: bool,
}

/// What was verified since the start.
#[derive(Debug, Default)]
pub(crate) struct Scrubbed {
    replicas: AtomicU64,
    bytes: AtomicU64,
    mismatches: AtomicU64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScrubFigures {
    pub replicas: u64,
    pub bytes: u64,
    pub mismatches: u64,
}

impl Scrubbed {
    pub fn figures(&self) -> ScrubFigures {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ScrubFigures {
            replicas: read(&self.replicas),
            bytes: read(&self.bytes),
            mismatches: read(&self.mismatches),
        }
    }
}

impl Store {
    /// A walk over all records; may be dropped at any time.
    pub async fn scrub_due(&self, order: &ScrubOrder) -> Result<ScrubDue, StoreError> {
        let mut choice = Choice::new(&self.0, order);
        let mut after = None;
        loop {
            let blobs = self.blocking(move |inner| Ok(inner.meta.blobs(after, WALK_BLOBS)?)).await?;
            blobs.iter().for_each(|(id, record)| choice.consider(*id, record));
            match blobs.last() {
                Some((last, _)) => after = Some(*last),
                None => return Ok(choice.finish()),
            }
        }
    }

    /// Verifies the next few of what is due, and makes known what it found.
    pub async fn scrub_step(&self, due: &mut ScrubDue, pace: &Pace) -> Result<ScrubStep, StoreError> {
        let before = due.before;
        let looked: Vec<_> = iter(take(&mut due.chosen))
            .map(|chosen| self.scrub_one(chosen, before, pace))
            .buffer_unordered(AT_A_TIME)
            .collect()
            .await;
        let mut step = ScrubStep::default();
        let mut looks = Vec::with_capacity(looked.len());
        for (chosen, look) in
            looked.into_iter().filter_map(Result::transpose).collect::<Result<Vec<_>, _>>()?
        {
            match &look.seen {
                Seen::Unread(_) => step.unread += 1,
                Seen::Bad(trouble) => step.bad.push(self.describe_bad(&look, trouble.to_string())?),
                Seen::Good | Seen::Summed(_) => {
                    step.verified += 1;
                    step.bytes += chosen.size;
                }
            }
            looks.push(look);
        }
        self.note_seen(&looks).await?;
        let counters = &self.0.scrubbed;
        counters.replicas.fetch_add(step.verified, Ordering::Relaxed);
        counters.bytes.fetch_add(step.bytes, Ordering::Relaxed);
        counters.mismatches.fetch_add(step.bad.len() as u64, Ordering::Relaxed);
        Ok(step)
    }

    /// `None`: there is nothing to be verified any more.
    async fn scrub_one(
        &self,
        chosen: Chosen,
        before: Timestamp,
        pace: &Pace,
    ) -> Result<Option<(Chosen, Look)>, StoreError> {
        let Some((_pin, record)) = self.living(chosen.blob).await? else { return Ok(None) };
        let Some(replica) = record.replica_at(&chosen.target) else { return Ok(None) };
        if replica.verified >= before || !self.0.may_be_read(chosen.target.backend, chosen.size) {
            return Ok(None);
        }
        let look = self.look_at(chosen.blob, &record, &chosen.target, pace).await;
        Ok(Some((chosen, look)))
    }

    fn describe_bad(&self, look: &Look, why: String) -> Result<BadReplica, StoreError> {
        let inner = &self.0;
        let member = inner.fleet.get(look.target.backend);
        let location = member.as_ref().and_then(|member| member.location(look.blob, &look.target.place));
        let record = inner.meta.blob(look.blob)?;
        let another = |replica: &meta::Replica| !replica.is_at(&look.target) && replica.is_good();
        Ok(BadReplica {
            blob: look.blob,
            backend: member.map(|member| member.name.clone()).unwrap_or_default(),
            place: location.map_or_else(|| "with the metadata".to_owned(), |at| at.as_str().to_owned()),
            why,
            replaceable: record.is_some_and(|record| record.replicas().iter().any(another)),
        })
    }
}

/// Takes the next step's share.
fn take(chosen: &mut Vec<Chosen>) -> Vec<Chosen> {
    let mut taken = Vec::new();
    let mut bytes = 0;
    while taken.len() < STEP_REPLICAS && bytes < STEP_BYTES {
        let Some(next) = chosen.pop() else { break };
        bytes += next.size;
        taken.push(next);
    }
    taken
}

impl Inner {
    /// A backend that fails, or whose month is used up, is left alone.
    fn may_be_read(&self, backend: BackendId, size: u64) -> bool {
        let Some(member) = self.fleet.get(backend) else { return backend == meta::EMBEDDED };
        let read = Traffic { calls: 1, ingress_bytes: 0, egress_bytes: size };
        let used_up = member.has_limits() && member.used_up(member.count(&self.meta, self.now()), read);
        member.admits() && !used_up
    }
}

/// The longest unverified replicas of those that are due, as a walk comes by them.
struct Choice {
    backends: Vec<BackendId>,
    first: BinaryHeap<Chosen>,
    due: ScrubDue,
}

impl Choice {
    fn new(inner: &Arc<Inner>, order: &ScrubOrder) -> Self {
        let wanted = |member: &&Arc<crate::member::Member>| {
            let named = order.backend.as_ref().is_none_or(|name| *name == member.name);
            named && (order.remote || !member.backend.is_remote()) && member.admits()
        };
        let backends = inner.fleet.members().iter().filter(wanted).map(|member| member.id).collect();
        let due = ScrubDue { before: order.before, ..ScrubDue::default() };
        Self { backends, first: BinaryHeap::new(), due }
    }

    fn consider(&mut self, blob: BlobId, record: &BlobRecord) {
        if record.references == 0 {
            return;
        }
        for replica in record.replicas() {
            if !self.backends.contains(&replica.backend) || is_being_replaced(record, replica) {
                continue;
            }
            if replica.verified >= self.due.before {
                let next = &mut self.due.next;
                *next = Some(next.map_or(replica.verified, |known| known.min(replica.verified)));
                continue;
            }
            self.due.replicas += 1;
            self.due.bytes += record.size;
            let chosen =
                Chosen { verified: replica.verified, blob, target: replica.target(), size: record.size };
            if self.first.len() < CHOSEN_MAX {
                self.first.push(chosen);
            } else if let Some(mut last) = self.first.peek_mut().filter(|last| chosen < **last) {
                *last = chosen;
            }
        }
    }

    fn finish(self) -> ScrubDue {
        let mut chosen = self.first.into_sorted_vec();
        chosen.reverse();
        ScrubDue { chosen, ..self.due }
    }
}

/// A bad one is looked at again only where it may be the only one.
fn is_being_replaced(record: &BlobRecord, replica: &meta::Replica) -> bool {
    matches!(replica.health, Health::Bad(_)) && record.replicas().iter().any(meta::Replica::is_good)
}
