//! A backend of a running node, held against the records: what is missing there, what is different, what
//! nobody names. What nobody names is somebody else's, to be adopted, or ours, to be deleted.
//!
//! Writes go on meanwhile. So the intents are read before the records and the tasks behind them: bytes move
//! from intent to record to task, and whoever looks in that order cannot miss them.

use backend::{Fault, Found, Location};
use futures_util::stream::{StreamExt as _, iter};
use meta::{Order, Target};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::OwnedMutexGuard;
use types::{BlobId, BucketId, Timestamp};

use crate::adopt::Adoption;
use crate::compare::{Comparison, Stretch, Wrong};
use crate::member::Member;
use crate::purpose::blob_of;
use crate::replicas::Trouble;
use crate::verify::{Look, Seen};
use crate::{Store, StoreError};

/// Names that are compared at a time: some 30 MB, for a walk over all records.
const STRETCH_NAMES: usize = 100_000;
const WALK_BLOBS: usize = 1000;
/// Names that one step works on: its commit, and what a restart repeats.
const STEP_NAMES: usize = 64;
const AT_A_TIME: usize = 8;
/// Bytes of ours that nobody names are deleted when they are older: whatever was under way is over by then,
/// whichever clock is wrong.
const UNNAMED_FOR_MS: u64 = 24 * 3_600_000;

/// What to do about what a backend has.
#[derive(Debug, Clone)]
pub struct ReconcileOrder {
    pub backend: String,
    /// Only names that begin so.
    pub prefix: String,
    /// Foreign bytes become objects of this bucket.
    pub adopt: Option<BucketId>,
    /// Bytes of ours that nobody names are deleted.
    pub clean: bool,
    /// Nothing is changed.
    pub dry_run: bool,
}

/// What is wrong with one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Oddity {
    /// A record names it, and it is not there.
    Missing,
    /// Its size is not the record's.
    Different,
    /// It carries our mark, and nobody names it.
    Unnamed,
    /// As `Unnamed`, and queued for cleanup.
    Cleaned,
    /// It is somebody else's.
    Foreign,
    /// It was somebody else's, and is an object now.
    Adopted,
    /// It cannot be an object, or its key has one already.
    Passed,
}

#[derive(Debug, Clone)]
pub struct Odd {
    pub what: Oddity,
    pub location: String,
    pub bytes: u64,
    /// Why not more was done, or what is wrong.
    pub note: String,
}

/// What one step found and did.
#[derive(Debug, Clone, Default)]
pub struct ReconcileStep {
    /// Names that were compared.
    pub names: u64,
    pub odd: Vec<Odd>,
}

/// One walk over a backend, step by step.
pub struct Reconciliation {
    store: Store,
    member: Arc<Member>,
    order: ReconcileOrder,
    /// Where the stretch begins that is being worked on: to go on from after a restart.
    begun: Option<Location>,
    next: Option<Location>,
    ended: bool,
    wrong: VecDeque<Wrong>,
    unnamed: VecDeque<Found>,
    /// Two that adopt at a time could adopt the same.
    _alone: Option<OwnedMutexGuard<()>>,
}

impl Store {
    /// Begins a walk, behind `after` if an earlier one came so far. `None`: there is no such backend. `Busy`:
    /// another walk that changes something is under way.
    pub async fn reconcile(
        &self,
        order: ReconcileOrder,
        after: Option<String>,
    ) -> Result<Option<Reconciliation>, StoreError> {
        let Some(member) = self.0.fleet.named(&order.backend) else { return Ok(None) };
        let changes = !order.dry_run && (order.adopt.is_some() || order.clean);
        let alone = match changes {
            true => Some(Arc::clone(&self.0.adopting).try_lock_owned().map_err(|_| StoreError::Busy)?),
            false => None,
        };
        let next = after.map(Location::new);
        Ok(Some(Reconciliation {
            store: self.clone(),
            member,
            order,
            begun: next.clone(),
            next,
            ended: false,
            wrong: VecDeque::new(),
            unnamed: VecDeque::new(),
            _alone: alone,
        }))
    }
}

impl Reconciliation {
    /// Where another walk would have to begin to repeat nothing but the present step.
    pub fn reached(&self) -> Option<&str> {
        self.begun.as_ref().map(Location::as_str)
    }

    /// The next step; `None` at the end.
    pub async fn step(&mut self) -> Result<Option<ReconcileStep>, StoreError> {
        if !self.wrong.is_empty() {
            return self.confirm().await.map(Some);
        }
        if !self.unnamed.is_empty() {
            let count = STEP_NAMES.min(self.unnamed.len());
            let found: Vec<Found> = self.unnamed.drain(..count).collect();
            return self.sort_out(found).await.map(Some);
        }
        self.begun.clone_from(&self.next);
        match self.ended {
            true => Ok(None),
            false => self.compare().await.map(Some),
        }
    }

    /// Lists the next stretch, and finds what nobody names and what is not there.
    async fn compare(&mut self) -> Result<ReconcileStep, StoreError> {
        let stretch =
            Stretch::list(&self.member, &self.order.prefix, self.next.clone(), STRETCH_NAMES).await?;
        let names = stretch.found.len() as u64;
        let until = stretch.until.clone();
        let member = Arc::clone(&self.member);
        let mut comparison = self
            .store
            .blocking(move |inner| {
                let mut comparison = Comparison::new(stretch);
                for (blob, intent) in inner.meta.intents()? {
                    intent.targets.iter().for_each(|target| comparison.named(&member, blob, target));
                }
                Ok(comparison)
            })
            .await?;
        let mut after = None;
        loop {
            let member = Arc::clone(&self.member);
            let walked = self.store.blocking(move |inner| {
                let blobs = inner.meta.blobs(after, WALK_BLOBS)?;
                blobs.iter().for_each(|(id, record)| comparison.record(&member, *id, record));
                Ok((comparison, blobs.last().map(|(id, _)| *id)))
            });
            (comparison, after) = walked.await?;
            if after.is_none() {
                break;
            }
        }
        let member = Arc::clone(&self.member);
        let mut comparison = self
            .store
            .blocking(move |inner| {
                for (blob, target) in queued_targets(&inner.meta)? {
                    comparison.named(&member, blob, &target);
                }
                Ok(comparison)
            })
            .await?;
        self.wrong = std::mem::take(&mut comparison.wrong).into();
        self.unnamed = comparison.unnamed().collect();
        self.ended = until.is_none();
        self.next = until.or(self.next.take());
        Ok(ReconcileStep { names, odd: Vec::new() })
    }

    /// What seemed to be wrong may have been written or deleted meanwhile: each is looked at by itself.
    async fn confirm(&mut self) -> Result<ReconcileStep, StoreError> {
        let count = STEP_NAMES.min(self.wrong.len());
        let wrong: Vec<Wrong> = self.wrong.drain(..count).collect();
        let looking: Vec<_> = wrong.into_iter().map(|wrong| self.look_again(wrong)).collect();
        let confirmed: Vec<_> = iter(looking).buffer_unordered(AT_A_TIME).collect().await;
        let mut step = ReconcileStep::default();
        let mut looks = Vec::new();
        for (odd, look) in
            confirmed.into_iter().filter_map(Result::transpose).collect::<Result<Vec<_>, _>>()?
        {
            step.odd.push(odd);
            looks.push(look);
        }
        if !self.order.dry_run {
            self.store.note_seen(&looks).await?;
        }
        Ok(step)
    }

    async fn look_again(&self, wrong: Wrong) -> Result<Option<(Odd, Look)>, StoreError> {
        let Some((_pin, record)) = self.store.living(wrong.blob).await? else { return Ok(None) };
        let Some(location) = self.member.location(wrong.blob, &wrong.target.place) else { return Ok(None) };
        if record.replica_at(&wrong.target).is_none() {
            return Ok(None);
        }
        self.member.may_call(1).await;
        let (what, note, error) = match self.member.judge(self.member.backend.head(&location).await) {
            Ok(about) if about.found.size == record.size => return Ok(None),
            Ok(about) => {
                let note = format!("{} bytes, recorded {}", about.found.size, record.size);
                (Oddity::Different, note.clone(), backend::BackendError::new(Fault::Corrupt, note))
            }
            Err(error) if error.fault == Fault::Absent => {
                (Oddity::Missing, format!("blob {}", wrong.blob), error)
            }
            Err(error) => return Err(error.into()),
        };
        let odd = Odd { what, location: location.as_str().to_owned(), bytes: record.size, note };
        let seen = Seen::Bad(Trouble::Backend(error));
        Ok(Some((odd, Look { blob: wrong.blob, target: wrong.target, seen })))
    }

    /// Ours or somebody else's, and what becomes of it.
    async fn sort_out(&mut self, found: Vec<Found>) -> Result<ReconcileStep, StoreError> {
        let is_ours = |found: &Found| self.member.number_in(&found.location).is_some();
        let (ours, foreign): (Vec<Found>, Vec<Found>) = found.into_iter().partition(is_ours);
        let mut step = ReconcileStep::default();
        step.odd.extend(self.clean(ours).await?);
        // What is ours by its place, whatever it is called: leftovers of unfinished writes.
        let (reserved, foreign): (Vec<Found>, Vec<Found>) =
            foreign.into_iter().partition(|found| self.member.backend.is_reserved(&found.location));
        step.odd.extend(reserved.iter().map(|found| odd(Oddity::Unnamed, found, "not a name of a replica")));
        match self.order.adopt {
            None => step.odd.extend(foreign.iter().map(|found| odd(Oddity::Foreign, found, ""))),
            Some(bucket) => {
                let adoption = Adoption { store: &self.store, member: &self.member, bucket };
                step.odd.extend(adoption.adopt(foreign, self.order.dry_run).await?);
            }
        }
        Ok(step)
    }

    async fn clean(&self, ours: Vec<Found>) -> Result<Vec<Odd>, StoreError> {
        if !self.order.clean {
            return Ok(ours.iter().map(|found| odd(Oddity::Unnamed, found, "")).collect());
        }
        let judging: Vec<_> = ours.iter().map(|found| self.judge(found)).collect();
        let judged: Vec<_> = iter(judging).buffered(AT_A_TIME).collect().await;
        let (mut all, mut doomed) = (Vec::new(), Vec::new());
        for (found, judged) in ours.iter().zip(judged) {
            match judged? {
                Ok(blob) => {
                    all.push(odd(Oddity::Cleaned, found, ""));
                    let place = meta::Place::Object(found.location.as_str().into());
                    doomed.push((blob, Target::new(self.member.id, place), found.size));
                }
                Err(why) => all.push(odd(Oddity::Unnamed, found, why)),
            }
        }
        if !self.order.dry_run && !doomed.is_empty() {
            let work = move |txn: &mut meta::Txn<'_>| {
                for (blob, target, size) in doomed {
                    txn.queue_unnamed(blob, target, size)?;
                }
                Ok(())
            };
            self.store.commit(Order::Shared, work).await?;
        }
        Ok(all)
    }

    /// The blob that bytes of ours belonged to, or why they are not deleted.
    async fn judge(&self, found: &Found) -> Result<Result<BlobId, &'static str>, StoreError> {
        let Some(number) = self.member.number_in(&found.location) else { return Ok(Err("not ours")) };
        if found.modified > self.store.now().saturating_sub_ms(UNNAMED_FOR_MS) {
            return Ok(Err("younger than a day"));
        }
        if !self.store.0.meta.has_given(number.0) {
            return Ok(Err("its number was not given by these records: it is newer, or another node's"));
        }
        self.member.may_call(1).await;
        let about = match self.member.judge(self.member.backend.head(&found.location).await) {
            Ok(about) => about,
            Err(error) if error.fault == Fault::Absent => return Ok(Err("gone")),
            Err(error) => return Err(error.into()),
        };
        // A directory's marker says whose it is; a provider's bucket may be shared.
        if self.member.backend.is_remote() && about.said("node") != Some(self.store.0.node.as_str()) {
            return Ok(Err("it does not say that it is this node's"));
        }
        Ok(Ok(blob_of(&about).unwrap_or(number)))
    }
}

pub(crate) fn odd(what: Oddity, found: &Found, note: impl Into<String>) -> Odd {
    Odd { what, location: found.location.as_str().to_owned(), bytes: found.size, note: note.into() }
}

/// What tasks name beside records: bytes on their way out.
pub(crate) fn queued_targets(meta: &meta::Meta) -> Result<Vec<(BlobId, Target)>, StoreError> {
    let always = Timestamp(u64::MAX);
    let mut named = Vec::new();
    for queued in meta.cleanups(always, None, usize::MAX)? {
        if let meta::CleanupTask::Stray { blob, target, .. } = queued.task {
            named.push((blob, target));
        }
    }
    for queued in meta.sweeps(always, usize::MAX)? {
        named.push((queued.task.blob, queued.task.target));
    }
    Ok(named)
}
