//! The cleanup queue: the only code that deletes a replica.
//!
//! A backend that is away, refuses or is slow holds up nothing but its own deletions: what it still has
//! stays on the queue and is tried again later.

use backend::{BackendError, Location};
use meta::{CleanupTask, Forgotten, Order, Place, Queued, SweepTask, Target, Txn};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use types::{BlobId, Timestamp};

use crate::allowance::{Allowance, SLICE};
use crate::member::Member;
use crate::{Inner, Progress, Store, StoreError};

/// What one pass deletes at most: its commit stays small beside what clients wait for.
const PASS_BLOBS: usize = 512;
/// So many times as many it looks at where those in front have to wait for the calls that a backend may get.
const PASS_PAGES: u32 = 16;
/// How long a pass waits for one backend.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks at what is due again.
const LOOK: Duration = Duration::from_secs(1);
const FIRST_REST_MS: u64 = 1_000;
const LONGEST_REST_MS: u64 = 600_000;
/// A write that was given up arrives within this time, or never.
const LATE_WRITES_MS: u64 = 900_000;

/// A cleanup that nobody's reading holds up.
struct Doomed {
    queued: Queued<CleanupTask>,
    /// What is to be deleted. `None`: it was referenced again when it was looked at.
    targets: Option<Vec<Target>>,
}

/// Replicas by the backend that has them.
#[derive(Default)]
struct Orders {
    whole: Vec<(Target, BlobId)>,
    unfinished: Vec<(Target, BlobId)>,
}

impl Store {
    /// Resolves when there may be work on the cleanup queue.
    pub async fn cleanup_due(&self) {
        loop {
            if tokio::time::timeout(LOOK, self.0.bells.cleanup.notified()).await.is_ok() {
                return;
            }
            let now = self.now();
            let due = self.blocking(move |inner| {
                Ok(!inner.meta.cleanups(now, None, 1)?.is_empty() || !inner.meta.sweeps(now, 1)?.is_empty())
            });
            if due.await.unwrap_or(false) {
                return;
            }
        }
    }

    /// Deletes what nobody refers to and nobody reads.
    pub async fn cleanup_pass(&self) -> Result<Progress, StoreError> {
        let passed = self.pass().await;
        if matches!(&passed, Err(error) if !matches!(error, StoreError::Fenced)) {
            // Its work is still there.
            self.0.bells.cleanup.notify_one();
        }
        passed
    }

    async fn pass(&self) -> Result<Progress, StoreError> {
        let now = self.now();
        let (doomed, found) = self.blocking(move |inner| look(inner, now)).await?;
        if doomed.is_empty() {
            if found > 0 {
                // Pinned ones: look again later.
                self.0.bells.cleanup.notify_one();
            }
            let done = self.sweep(now).await?;
            return Ok(Progress { done, left: found });
        }
        let gone = self.delete_replicas(&doomed).await;
        let done = self
            .commit(Order::Shared, move |txn| {
                let mut done = 0;
                for doomed in doomed {
                    done += u64::from(settle(txn, doomed, &gone, now)?);
                }
                Ok(done)
            })
            .await?;
        if done > 0 {
            self.0.bells.cleanup.notify_one();
        }
        Ok(Progress { done, left: found.saturating_sub(done) })
    }

    /// Which replicas are gone; what is missing here could not be deleted now.
    async fn delete_replicas(&self, doomed: &[Doomed]) -> Deleted {
        let mut orders: BTreeMap<_, Orders> = BTreeMap::new();
        let mut deleted = Deleted::default();
        for doomed in doomed {
            let blob = doomed.queued.task.blob();
            let whole = doomed.queued.task.is_whole();
            for target in doomed.targets.iter().flatten() {
                if target.place == Place::Inline {
                    deleted.gone.insert((blob, target.clone()));
                    continue;
                }
                let orders = orders.entry(target.backend).or_default();
                let list = if whole { &mut orders.whole } else { &mut orders.unfinished };
                list.push((target.clone(), blob));
            }
        }
        let mut running = Vec::new();
        for (backend, orders) in orders {
            let Some(member) = self.0.fleet.get(backend) else {
                // What was taken out for good, and is not configured any more, has nothing to be deleted.
                if self.blocking(Inner::taken_out).await.is_ok_and(|gone| gone.contains(&backend)) {
                    deleted.gone.extend(
                        orders
                            .whole
                            .into_iter()
                            .chain(orders.unfinished)
                            .map(|(target, blob)| (blob, target)),
                    );
                }
                continue;
            };
            let store = self.clone();
            running.push(async move {
                let remote = member.backend.is_remote();
                (remote, store.delete_on(&member, orders).await)
            });
        }
        for (remote, gone) in futures_util::future::join_all(running).await {
            if remote {
                deleted.remote.extend(gone.iter().map(|(_, target)| target.backend));
            }
            deleted.gone.extend(gone);
        }
        deleted
    }

    async fn delete_on(&self, member: &Arc<Member>, orders: Orders) -> Vec<(BlobId, Target)> {
        if member.is_embedded() {
            member.may_call(member.calls_to_delete(orders.whole.len(), orders.unfinished.len())).await;
            return self.delete_files(orders).await;
        }
        let mut gone = Vec::new();
        for (list, whole) in [(orders.whole, true), (orders.unfinished, false)] {
            if list.is_empty() || !member.admits() {
                continue;
            }
            let (wholes, unfinished) = if whole { (list.len(), 0) } else { (0, list.len()) };
            member.may_call(member.calls_to_delete(wholes, unfinished)).await;
            let results = match tokio::time::timeout(PATIENCE, remove(member, &list, whole)).await {
                Ok(results) => results,
                Err(_) => vec![Err(member.too_late())],
            };
            let mut last = None;
            for ((target, blob), result) in list.into_iter().zip(results) {
                match result {
                    Ok(()) => gone.push((blob, target)),
                    Err(error) => last = Some(error),
                }
            }
            if let Some(error) = last {
                tracing::warn!(backend = member.name, %error, "deletions failed; they are tried again");
            }
        }
        gone
    }

    /// The data directory's files, with one sync for many.
    async fn delete_files(&self, orders: Orders) -> Vec<(BlobId, Target)> {
        let list: Vec<_> = orders.whole.into_iter().chain(orders.unfinished).collect();
        let removed = self.blocking(move |inner| {
            let named = |place: &Place| matches!(place, Place::Object(_));
            let plain = list.iter().filter(|(target, _)| !named(&target.place)).map(|(_, blob)| *blob);
            inner.local.remove(&plain.collect::<Vec<_>>())?;
            Ok(list)
        });
        let list = match removed.await {
            Ok(list) => list,
            Err(error) => {
                tracing::warn!(%error, "deletions failed; they are tried again");
                return Vec::new();
            }
        };
        let mut gone = Vec::with_capacity(list.len());
        for (target, blob) in list {
            let removed = match &target.place {
                Place::Object(name) => {
                    let location = Location::new(Arc::clone(name));
                    let removed =
                        backend::Backend::remove(&*self.0.local, std::slice::from_ref(&location)).await;
                    removed.is_ok_and(|results| results.iter().all(Result::is_ok))
                }
                _ => true,
            };
            if removed {
                gone.push((blob, target));
            }
        }
        gone
    }

    /// Looks again where a write was given up that may have come late.
    async fn sweep(&self, now: Timestamp) -> Result<u64, StoreError> {
        let due = self.blocking(move |inner| Ok(inner.meta.sweeps(now, PASS_BLOBS)?)).await?;
        if due.is_empty() {
            return Ok(0);
        }
        let (mut done, begun) = (0, Instant::now());
        for queued in due {
            if begun.elapsed() > SLICE {
                break;
            }
            let SweepTask { blob, target } = queued.task.clone();
            let member = self.0.fleet.get(target.backend).filter(|member| member.admits());
            let swept = match member {
                Some(member) => {
                    member.may_call(member.calls_to_delete(0, 1)).await;
                    let list = [(target, blob)];
                    let results = tokio::time::timeout(PATIENCE, remove(&member, &list, false)).await;
                    results.is_ok_and(|results| results.iter().all(Result::is_ok))
                }
                None => false,
            };
            done += u64::from(swept);
            self.commit(Order::Shared, move |txn| {
                txn.end_sweep(&queued);
                if !swept {
                    txn.queue_sweep(&queued.task, now.saturating_add_ms(LONGEST_REST_MS))?;
                }
                Ok(())
            })
            .await?;
        }
        Ok(done)
    }
}

/// One result for each of the list.
async fn remove(member: &Member, list: &[(Target, BlobId)], whole: bool) -> Vec<Result<(), BackendError>> {
    let at = |(target, blob): &(Target, BlobId)| member.location(*blob, &target.place);
    let locations: Vec<Location> = list.iter().filter_map(at).collect();
    if !whole {
        let mut results = Vec::with_capacity(locations.len());
        for location in &locations {
            results.push(member.judge(member.backend.abandon(location).await));
        }
        return results;
    }
    match member.judge(member.backend.remove(&locations).await) {
        Ok(results) => results,
        Err(error) => vec![Err(error); locations.len()],
    }
}

/// What a pass deleted.
#[derive(Default)]
struct Deleted {
    gone: HashSet<(BlobId, Target)>,
    /// Backends on which a write that was given up may still arrive.
    remote: HashSet<meta::BackendId>,
}

/// Whether the task is done with.
fn settle(txn: &mut Txn<'_>, doomed: Doomed, deleted: &Deleted, now: Timestamp) -> Result<bool, StoreError> {
    let Doomed { queued, targets } = doomed;
    let blob = queued.task.blob();
    let Some(targets) = targets else {
        // It may have been released once more since: then its bytes still stand, and it stays in the queue.
        let settled = txn.blob(blob)?.is_none_or(|record| record.references > 0);
        if settled {
            txn.end_cleanup(&queued);
        }
        return Ok(settled);
    };
    let count = targets.len();
    let is_gone = |target: &Target| deleted.gone.contains(&(blob, target.clone()));
    let gone: Vec<Target> = targets.into_iter().filter(is_gone).collect();
    let settled = match &queued.task {
        CleanupTask::Blob { .. } => txn.forget_replicas(blob, &gone)? != Forgotten::Partly,
        CleanupTask::Stray { target, whole, .. } => {
            let settled = gone.len() == count;
            if settled && count > 0 && !whole && deleted.remote.contains(&target.backend) {
                let sweep = SweepTask { blob, target: target.clone() };
                txn.queue_sweep(&sweep, now.saturating_add_ms(LATE_WRITES_MS))?;
            }
            settled
        }
    };
    if settled {
        txn.end_cleanup(&queued);
    } else {
        let rest = (FIRST_REST_MS << queued.task.attempts().min(10)).min(LONGEST_REST_MS);
        txn.postpone_cleanup(queued, now.saturating_add_ms(rest));
    }
    Ok(settled)
}

/// What is to be deleted of unpinned, unreferenced blobs; also says how many tasks it saw.
fn look(inner: &Inner, now: Timestamp) -> Result<(Vec<Doomed>, u64), StoreError> {
    // A batch that failed may be on the disk all the same, with a reference to what looks unreferenced.
    if inner.is_fenced() {
        return Err(StoreError::Fenced);
    }
    let (mut doomed, mut found, mut allowance) = (Vec::new(), 0, Allowance::default());
    let (mut after, mut pages) = (None, 0);
    loop {
        let queued = inner.meta.cleanups(now, after.as_ref(), PASS_BLOBS)?;
        found += queued.len() as u64;
        pages += 1;
        after = queued.last().filter(|_| queued.len() == PASS_BLOBS).cloned();
        for queued in inner.pins.unpinned(queued) {
            let targets = targets(inner, &queued.task)?;
            if allowance.admits(inner, &queued.task, targets.as_deref().unwrap_or_default()) {
                doomed.push(Doomed { queued, targets });
            }
        }
        // A queue whose head is all pinned, or waits for its turn on one backend, must not hold up what lies behind.
        let held_up = doomed.is_empty() || (allowance.has_refused() && pages < PASS_PAGES);
        if !held_up || doomed.len() >= PASS_BLOBS || after.is_none() {
            return Ok((doomed, found));
        }
    }
}

/// `None`: it is referenced.
fn targets(inner: &Inner, task: &CleanupTask) -> Result<Option<Vec<Target>>, StoreError> {
    let record = inner.meta.blob(task.blob())?;
    Ok(match (task, record) {
        (CleanupTask::Blob { .. }, Some(record)) if record.references > 0 => None,
        (CleanupTask::Blob { .. }, Some(record)) => {
            Some(record.replicas().iter().map(meta::Replica::target).collect())
        }
        (CleanupTask::Blob { .. }, None) => Some(Vec::new()),
        // A record that names it is the last word: nothing live is deleted.
        (CleanupTask::Stray { target, .. }, Some(record)) if record.replica_at(target).is_some() => {
            Some(Vec::new())
        }
        (CleanupTask::Stray { target, .. }, _) => Some(vec![target.clone()]),
    })
}
