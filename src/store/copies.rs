//! As many good replicas of each blob as its bucket asks for: makes what is missing, newest losses
//! first, and takes away what is too much when enough verified ones are left.

use backend::NewReplica;
use futures_util::stream::{StreamExt as _, iter};
use meta::{Account, BlobRecord, CopyTask, EMBEDDED, Order, Place, Queued, Replica, Target, TaskKind};
use std::sync::Arc;
use std::time::{Duration, Instant};
use types::{BlobId, Timestamp};

use crate::claim::Claim;
use crate::get::Cursor;
use crate::ingest::out_of_room;
use crate::lanes::Lane;
use crate::member::Member;
use crate::pins::Pin;
use crate::purpose::Purpose;
use crate::replicas::ranked;
use crate::toll::Toll;
use crate::{Inner, Progress, Store, StoreError};

/// Tasks that one pass looks at, and those that it works on at a time.
const PASS_TASKS: usize = 64;
const AT_A_TIME: usize = 4;
const LOOK: Duration = Duration::from_secs(1);
const FIRST_REST_MS: u64 = 1_000;
pub(crate) const LONGEST_REST_MS: u64 = 300_000;
/// A replica that was verified more recently needs no second look before another one goes.
const VERIFIED_FOR_MS: u64 = 24 * 3_600_000;

/// How a task ended.
enum Outcome {
    Done,
    /// There is more to be done of this kind.
    Then(TaskKind),
    Later,
}

impl Store {
    /// Resolves when there may be work on copies.
    pub async fn copies_due(&self) {
        loop {
            if tokio::time::timeout(LOOK, self.0.bells.copies.notified()).await.is_ok() {
                return;
            }
            let now = self.now();
            let due = self
                .blocking(move |inner| Ok(!inner.meta.copy_tasks(TaskKind::Deferred, now, 1)?.is_empty()));
            if due.await.unwrap_or(false) {
                return;
            }
        }
    }

    /// Works on a bounded number of tasks: losses first, then what is too much. Both in one pass, so that a
    /// backend that is emptied gives back its room as it goes, not when the last copy is made.
    pub async fn copies_pass(&self) -> Result<Progress, StoreError> {
        self.resume_deferred().await?;
        let mut progress = Progress::default();
        for kind in [TaskKind::Replicate, TaskKind::Excess] {
            let now = self.now();
            let tasks = self.blocking(move |inner| Ok(inner.meta.copy_tasks(kind, now, PASS_TASKS)?)).await?;
            let outcomes: Vec<_> = iter(tasks)
                .map(|queued| self.work_on(queued.task))
                .buffer_unordered(AT_A_TIME)
                .collect()
                .await;
            for outcome in outcomes {
                progress.done += 1;
                progress.left += u64::from(!outcome?);
            }
        }
        if progress.done > 0 {
            self.0.bells.copies.notify_one();
        }
        Ok(progress)
    }

    async fn resume_deferred(&self) -> Result<(), StoreError> {
        let now = self.now();
        let due = self
            .blocking(move |inner| Ok(inner.meta.copy_tasks(TaskKind::Deferred, now, PASS_TASKS)?))
            .await?;
        if due.is_empty() {
            return Ok(());
        }
        self.commit(Order::Shared, move |txn| {
            due.iter().for_each(|queued: &Queued<CopyTask>| txn.resume_copies(queued));
            Ok(())
        })
        .await
    }

    /// `false`: it is tried again later.
    async fn work_on(&self, task: CopyTask) -> Result<bool, StoreError> {
        let outcome = match task.kind {
            TaskKind::Excess => self.take_away(&task).await,
            _ => self.make_copies(&task).await,
        };
        let outcome = outcome.unwrap_or_else(|error| {
            tracing::warn!(blob = %task.blob, %error, "work on copies failed; it is tried again");
            *self.0.copies_trouble.lock() = Some((self.now(), error.to_string()));
            Outcome::Later
        });
        let now = self.now();
        let done = !matches!(outcome, Outcome::Later);
        self.commit(Order::Shared, move |txn| {
            match outcome {
                Outcome::Done => txn.end_copies(&task),
                Outcome::Then(kind) => {
                    txn.end_copies(&task);
                    txn.queue_copies(&CopyTask { kind, attempts: 0, ..task });
                }
                Outcome::Later => {
                    let rest = (FIRST_REST_MS << task.attempts.min(10)).min(LONGEST_REST_MS);
                    txn.defer_copies(&task, now.saturating_add_ms(rest));
                }
            }
            Ok(())
        })
        .await?;
        Ok(done)
    }

    /// A blob that somebody refers to, held against cleanup.
    pub(crate) async fn living(&self, id: BlobId) -> Result<Option<(Pin, Arc<BlobRecord>)>, StoreError> {
        self.blocking(move |inner| {
            let _no_cleanup = inner.pins.enter();
            let record = inner.meta.blob(id)?.filter(|r| r.references > 0 && !r.is_composite());
            Ok(record.map(|record| (inner.pins.pin(id), Arc::new(record))))
        })
        .await
    }

    async fn make_copies(&self, task: &CopyTask) -> Result<Outcome, StoreError> {
        let Some((_pin, record)) = self.living(task.blob).await? else { return Ok(Outcome::Done) };
        let inner = &self.0;
        let wanted = inner.policy(record.bucket).copies();
        let counted = record.replicas().iter().filter(|replica| inner.counts(replica)).count();
        if counted >= wanted {
            let more = record.replicas().len() > wanted;
            return Ok(if more { Outcome::Then(TaskKind::Excess) } else { Outcome::Done });
        }
        if inner.meta.intent(task.blob)?.is_some() {
            // A replica is being written.
            return Ok(Outcome::Later);
        }
        let mut last = None;
        for member in
            inner.fleet.order(&inner.meta, inner.policy(record.bucket).placement, record.size, self.now())
        {
            let has_good = record.replicas().iter().any(|r| r.backend == member.id && r.is_good());
            if has_good || !member.admits() || inner.is_out_of_disk(&member) {
                continue;
            }
            let new = self.describe_copy(task, &record).await?;
            match self.copy_to(task.blob, &record, &member, new).await {
                // The record has changed: it is judged anew.
                Ok(_) => return Ok(Outcome::Then(TaskKind::Replicate)),
                Err(error) => last = Some(error),
            }
        }
        match last {
            Some(error) => Err(error),
            None => {
                let why = "no backend takes a further copy now";
                *inner.copies_trouble.lock() = Some((self.now(), why.to_owned()));
                Ok(Outcome::Later)
            }
        }
    }

    /// Reads an adopted blob once, so that what is copied can be verified on its way; its record then. `None`:
    /// it has its checksums already.
    async fn summed(
        &self,
        blob: BlobId,
        record: &Arc<BlobRecord>,
    ) -> Result<Option<Arc<BlobRecord>>, StoreError> {
        if record.is_summed() {
            return Ok(None);
        }
        let mut trouble = StoreError::Unavailable(format!("blob {blob} cannot be read"));
        for (_, replica) in ranked(&self.0, record) {
            match self.verify_replica(blob, record, &replica.target()).await {
                Ok(true) => {
                    let gone = || StoreError::Unavailable(format!("blob {blob} is gone"));
                    return Ok(Some(self.living(blob).await?.ok_or_else(gone)?.1));
                }
                Ok(false) => {}
                Err(error) => trouble = error,
            }
        }
        Err(trouble)
    }

    /// What a new replica of a blob says of itself, as far as it can be found out.
    pub(crate) async fn describe_copy(
        &self,
        task: &CopyTask,
        record: &BlobRecord,
    ) -> Result<NewReplica, StoreError> {
        if let Some((bucket, key)) = task.named.clone() {
            let object = self.find(bucket, &key).await?.filter(|object| object.blob == task.blob);
            if let Some(object) = object {
                let purpose = Purpose { bucket, key: &key, headers: &object.headers, part: None };
                return Ok(purpose.describe(&self.0, task.blob, Some(record.size)));
            }
        }
        for (_, replica) in ranked(&self.0, record) {
            let Some(member) = self.0.fleet.get(replica.backend) else { continue };
            let Some(location) = member.location(task.blob, &replica.place) else { continue };
            member.may_call(1).await;
            if let Ok(about) = member.judge(member.backend.head(&location).await) {
                let (bucket, key) = (about.said("bucket"), about.said("key"));
                let readable = bucket.zip(key).map(|(bucket, key)| format!("{bucket}/{key}"));
                return Ok(NewReplica {
                    blob: task.blob,
                    readable,
                    size: Some(record.size),
                    headers: about.headers,
                    metadata: about.metadata,
                    identity: about.identity,
                });
            }
        }
        Ok(NewReplica { size: Some(record.size), ..NewReplica::of(task.blob) })
    }

    /// Makes one more replica out of those that there are, and records it.
    pub(crate) async fn copy_to(
        &self,
        blob: BlobId,
        record: &Arc<BlobRecord>,
        member: &Arc<Member>,
        new: NewReplica,
    ) -> Result<bool, StoreError> {
        let account = Account::Backend(member.id);
        let room = self.0.meta.ledger().reserve(&[(account, record.size)]).map_err(out_of_room)?;
        let summed = self.summed(blob, record).await?;
        let claim = self.transfer(blob, summed.as_ref().unwrap_or(record), member, new, true).await?;
        self.record_replica(blob, claim, room).await
    }

    /// Writes one more replica, every chunk verified on its way. `paced`: nobody waits for it.
    pub(crate) async fn transfer(
        &self,
        blob: BlobId,
        record: &Arc<BlobRecord>,
        member: &Arc<Member>,
        new: NewReplica,
        paced: bool,
    ) -> Result<Claim, StoreError> {
        let source =
            ranked(&self.0, record).first().and_then(|(_, replica)| self.0.fleet.get(replica.backend));
        let mut toll = paced.then(|| Toll::new(source, member, record.size));
        if let Some(toll) = &toll {
            toll.begin().await;
        }
        // A name of its own, so that whatever an earlier attempt left or may still bring cannot be it.
        let number = BlobId(self.0.meta.next_id()?);
        let readable = new.readable.filter(|_| member.readable);
        let target = member.target(number, readable.as_deref());
        let new = NewReplica { blob: number, readable, ..new };
        let noted = self.note_intent(blob, target.clone(), record.size, false);
        let mut lane = Lane::begin(self.clone(), Arc::clone(member), target, new, noted);
        let mut cursor = Cursor::over(Arc::clone(&self.0), blob, Arc::clone(record));
        'body: while !cursor.is_done() {
            for piece in cursor.step().await? {
                if let Some(toll) = &mut toll {
                    toll.take(piece.len() as u64).await;
                }
                if !lane.send(piece).await {
                    break 'body;
                }
            }
        }
        lane.finish(&Vec::new());
        lane.result().await.map_err(StoreError::from)
    }

    async fn take_away(&self, task: &CopyTask) -> Result<Outcome, StoreError> {
        let Some((_pin, record)) = self.living(task.blob).await? else { return Ok(Outcome::Done) };
        let inner = &self.0;
        let policy = inner.policy(record.bucket);
        if record.replicas().len() <= policy.copies() {
            return Ok(Outcome::Done);
        }
        let order = inner.fleet.order(&inner.meta, policy.placement, record.size, self.now());
        let position = |replica: &Replica| order.iter().position(|member| member.id == replica.backend);
        let mut kept: Vec<Replica> = record.replicas().iter().filter(|r| inner.counts(r)).cloned().collect();
        kept.sort_by_key(|replica| position(replica).unwrap_or(usize::MAX));
        kept.truncate(policy.copies());
        if kept.len() < policy.copies() {
            return Ok(Outcome::Then(TaskKind::Replicate));
        }
        for replica in &kept {
            if !self.is_verified(task.blob, &record, replica).await? {
                return Ok(Outcome::Then(TaskKind::Replicate));
            }
        }
        let kept: Vec<Target> = kept.iter().map(Replica::target).collect();
        let replicas = record.replicas().iter().map(Replica::target);
        let extra: Vec<Target> = replicas.filter(|target| !kept.contains(target)).collect();
        let blob = task.blob;
        self.commit(Order::Shared, move |txn| {
            // Judged again, now that nothing can come between.
            let Some(record) = txn.blob(blob)? else { return Ok(()) };
            let good = |target: &Target| record.replica_at(target).is_some_and(Replica::is_good);
            if kept.iter().all(good) {
                for target in &extra {
                    txn.drop_replica(blob, target)?;
                }
            }
            Ok(())
        })
        .await?;
        Ok(Outcome::Done)
    }

    async fn is_verified(
        &self,
        blob: BlobId,
        record: &Arc<BlobRecord>,
        replica: &Replica,
    ) -> Result<bool, StoreError> {
        let fresh = self.now().saturating_sub_ms(VERIFIED_FOR_MS);
        if replica.verified > fresh && replica.verified.0 > 0 {
            return Ok(true);
        }
        self.verify_replica(blob, record, &replica.target()).await
    }
}

impl Inner {
    /// Whether a replica is one of the copies that there should be.
    pub(crate) fn counts(&self, replica: &Replica) -> bool {
        let there = match self.fleet.get(replica.backend) {
            Some(member) => (member.is_active() || member.is_held()) && !self.is_lost(&member),
            // Inline values are where the records are.
            None => replica.place == Place::Inline && replica.backend == EMBEDDED,
        };
        replica.is_good() && there
    }

    /// What the data directory's disk has left is not for copies.
    pub(crate) fn is_out_of_disk(&self, member: &Member) -> bool {
        member.is_embedded() && self.disk.is_full()
    }

    /// It has failed for longer than anybody wants to wait.
    pub(crate) fn is_lost(&self, member: &Member) -> bool {
        let down = member.breaker.down_since();
        down.is_some_and(|since| Instant::now().duration_since(since) >= self.options.replace_after)
    }
}

/// Which copies a blob lacks or has too many of: the task that makes it good.
pub(crate) fn judged(inner: &Inner, id: BlobId, record: &BlobRecord, now: Timestamp) -> Option<CopyTask> {
    if record.references == 0 || record.is_composite() {
        return None;
    }
    let wanted = inner.policy(record.bucket).copies();
    let counted = record.replicas().iter().filter(|replica| inner.counts(replica)).count();
    let kind = match counted {
        counted if counted < wanted => TaskKind::Replicate,
        _ if record.replicas().len() > wanted => TaskKind::Excess,
        _ => return None,
    };
    Some(CopyTask::new(kind, id, now))
}
