//! Taking a backend out: an empty one, or one that is gone for good with what it held.

use meta::{
    Account, BackendId, BackendRecord, BackendState, BlobRecord, CleanupTask, Content, EMBEDDED,
    ObjectRecord, Order, Replica, SweepTask, Table, Target, Txn, keyspace,
};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use types::{BlobId, Timestamp};

use crate::drain::{Holding, holding};
use crate::member::Member;
use crate::{Inner, OrderError, Store, StoreError};

const STEP_BLOBS: usize = 1000;
/// Objects that are named when they would be lost, and blobs that are looked for in all objects.
const MAX_NAMED: usize = 1000;
const MAX_LOST: usize = 1_000_000;
/// A write that chose the backend just before it was taken out has reserved its room by then.
const LAST_WRITES: Duration = Duration::from_millis(100);
const PROBE_PATIENCE: Duration = Duration::from_secs(5);

/// An object whose only good bytes were on a backend that is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostObject {
    /// Its name, or its number if it is not configured any more.
    pub bucket: String,
    pub key: String,
    pub size: u64,
}

/// What came of forgetting a backend.
#[derive(Debug, Clone, Default)]
pub struct Forgotten {
    /// Replicas that the records name no more, since there are others.
    pub replicas: u64,
    /// Blobs that have no other good replica: the records still name the one that is gone.
    pub only_copies: u64,
    /// Objects that need one of these, the first of them.
    pub lost: Vec<LostObject>,
}

impl Store {
    /// Takes an empty backend out. Its name stays taken; the configuration need not have it any more.
    pub async fn remove_backend(&self, name: &str) -> Result<(), OrderError> {
        let record = self.registered(name).await?;
        self.not_the_last(&record)?;
        let id = record.id;
        let refused = |holding: &Holding| OrderError::Refused(still_holds(name, holding));
        let (held, late) =
            self.blocking(move |inner| Ok((holding(inner, id)?, sweeps_at(inner, id)?))).await?;
        if !held.is_nothing() {
            return Err(refused(&held));
        }
        if late > 0 {
            return Err(OrderError::Refused(format!(
                "{late} writes to {name} were given up and may still arrive there: their places are looked at \
                 again within 15 minutes"
            )));
        }
        if !self.mark_removed(name, &record, true).await? {
            return Err(OrderError::Refused(format!("{name} was written to in this moment: drain it first")));
        }
        tokio::time::sleep(LAST_WRITES).await;
        let held = self.blocking(move |inner| holding(inner, id)).await?;
        if !held.is_nothing() {
            self.set_backend_state(name, BackendState::Draining).await?;
            return Err(refused(&held));
        }
        Ok(())
    }

    /// Takes out a backend that is gone for good: forgets what it held wherever there is another good
    /// replica. What has none stays on record, so that it is known; it can be called again.
    pub async fn forget_backend(&self, name: &str) -> Result<Forgotten, OrderError> {
        let record = self.registered(name).await?;
        self.not_the_last(&record)?;
        if record.id == EMBEDDED {
            return Err(OrderError::Refused(format!(
                "{name} is the data directory, which has the records too"
            )));
        }
        if self.answers(name).await {
            return Err(OrderError::Refused(format!(
                "{name} is not lost, it answers: s3-orchestrator drain {name}"
            )));
        }
        self.mark_removed(name, &record, false).await?;
        let id = record.id;
        self.forget_strays(id).await?;
        let (replicas, only) = self.forget_replicas_at(id).await?;
        // Whatever was forgotten is one copy fewer.
        self.walk_again().await?;
        let only_copies = only.len() as u64;
        let lost = match only.is_empty() {
            true => Vec::new(),
            false => self.blocking(move |inner| objects_of(inner, only)).await?,
        };
        Ok(Forgotten { replicas, only_copies, lost })
    }

    async fn registered(&self, name: &str) -> Result<BackendRecord, OrderError> {
        let wanted = name.to_owned();
        let known = self.blocking(move |inner| Ok(inner.meta.backends()?)).await?;
        let found = known.into_iter().find(|(known, _)| *known == wanted).map(|(_, record)| record);
        found.ok_or_else(|| OrderError::no_backend(&self.0, name))
    }

    fn not_the_last(&self, record: &BackendRecord) -> Result<(), OrderError> {
        let is_other = |member: &&Arc<Member>| member.id != record.id && member.is_active();
        match self.0.fleet.members().iter().filter(is_other).count() {
            0 => Err(OrderError::Refused("there is no other backend that takes writes".to_owned())),
            _ => Ok(()),
        }
    }

    /// `false`: it was to be empty, and is not.
    async fn mark_removed(
        &self,
        name: &str,
        record: &BackendRecord,
        empty: bool,
    ) -> Result<bool, StoreError> {
        let (id, now) = (record.id, self.now());
        let ledger = Arc::clone(self.0.meta.ledger());
        let marked = self
            .commit(Order::Alone, move |txn| {
                if empty && ledger.occupied(Account::Backend(id)) > 0 {
                    return Ok(false);
                }
                Ok(txn.set_backend_state(id, BackendState::Removed, now)?)
            })
            .await?;
        if let Some(member) = self.0.fleet.named(name).filter(|_| marked) {
            member.set_state(BackendState::Removed, now);
            self.0.bells.audit.notify_one();
        }
        Ok(marked)
    }

    async fn answers(&self, name: &str) -> bool {
        let Some(member) = self.0.fleet.named(name) else { return false };
        let probe = tokio::time::timeout(PROBE_PATIENCE, member.backend.probe()).await;
        probe.is_ok_and(|outcome| outcome.is_ok())
    }

    /// How many replicas are forgotten, and which blobs have no other good one.
    async fn forget_replicas_at(&self, id: BackendId) -> Result<(u64, HashSet<BlobId>), StoreError> {
        let (mut forgotten, mut only) = (0, HashSet::new());
        let mut after = None;
        loop {
            let page = self.blocking(move |inner| Ok(inner.meta.blobs(after, STEP_BLOBS)?)).await?;
            let Some((last, _)) = page.last() else { return Ok((forgotten, only)) };
            after = Some(*last);
            let there =
                page.into_iter().filter(|(_, record)| record.replicas().iter().any(|r| r.backend == id));
            let there: Vec<BlobId> = there.map(|(blob, _)| blob).collect();
            if there.is_empty() {
                continue;
            }
            let usable = self.0.usable_backends(id);
            let (more, left) =
                self.commit(Order::Shared, move |txn| forget_all(txn, &there, id, &usable)).await?;
            forgotten += more;
            only.extend(left.into_iter().take(MAX_LOST - only.len().min(MAX_LOST)));
        }
    }

    /// Deletions that cannot be done there any more need not be.
    async fn forget_strays(&self, id: BackendId) -> Result<(), StoreError> {
        let mut last = None;
        loop {
            let page = {
                let last = last.clone();
                self.blocking(move |inner| {
                    Ok(inner.meta.cleanups(Timestamp(u64::MAX), last.as_ref(), STEP_BLOBS)?)
                })
                .await?
            };
            let Some(end) = page.last().cloned() else { break };
            last = Some(end);
            let stray = |task: &CleanupTask| matches!(task, CleanupTask::Stray { target, .. } if target.backend == id);
            let strays: Vec<_> = page.into_iter().filter(|queued| stray(&queued.task)).collect();
            self.commit(Order::Shared, move |txn| {
                strays.iter().for_each(|queued| txn.end_cleanup(queued));
                Ok(())
            })
            .await?;
        }
        let sweeps = self.blocking(|inner| Ok(inner.meta.sweeps(Timestamp(u64::MAX), MAX_LOST)?)).await?;
        self.commit(Order::Shared, move |txn| {
            let there = |task: &SweepTask| task.target.backend == id;
            sweeps.iter().filter(|queued| there(&queued.task)).for_each(|queued| txn.end_sweep(queued));
            Ok(())
        })
        .await
    }
}

impl Inner {
    /// By the records, which remember every backend that there ever was.
    pub(crate) fn taken_out(&self) -> Result<HashSet<BackendId>, StoreError> {
        let mut known = self.meta.backends()?;
        known.retain(|(_, record)| record.state == BackendState::Removed);
        Ok(known.into_iter().map(|(_, record)| record.id).collect())
    }

    /// Backends besides `id` that are there and may be counted on.
    fn usable_backends(&self, id: BackendId) -> HashSet<BackendId> {
        let is_usable = |member: &&Arc<Member>| {
            member.id != id && member.state() != BackendState::Removed && !self.is_lost(member)
        };
        let members = self.fleet.members();
        let mut usable: HashSet<BackendId> =
            members.iter().filter(is_usable).map(|member| member.id).collect();
        // Its values are where the records are.
        usable.insert(EMBEDDED);
        usable
    }
}

/// How many replicas were forgotten, and the blobs of which that would have been the last good one.
fn forget_all(
    txn: &mut Txn<'_>,
    blobs: &[BlobId],
    id: BackendId,
    usable: &HashSet<BackendId>,
) -> Result<(u64, Vec<BlobId>), StoreError> {
    let (mut forgotten, mut only) = (0, Vec::new());
    for blob in blobs {
        // Judged again, now that nothing can come between.
        let Some(record) = txn.blob(*blob)? else { continue };
        let there = record.replicas().iter().filter(|replica| replica.backend == id);
        let there: Vec<Target> = there.map(Replica::target).collect();
        let another = |r: &Replica| r.backend != id && r.is_good() && usable.contains(&r.backend);
        match () {
            () if there.is_empty() => {}
            () if record.references == 0 => {
                txn.forget_replicas(*blob, &there)?;
            }
            () if record.replicas().iter().any(another) => {
                txn.lose_replicas(*blob, &there)?;
                forgotten += 1;
            }
            () => only.push(*blob),
        }
    }
    Ok((forgotten, only))
}

fn still_holds(name: &str, holding: &Holding) -> String {
    match holding.objects {
        0 => format!(
            "{name} is not empty yet: {} bytes wait for cleanup, {} writes or deletions are under way",
            holding.awaiting_bytes, holding.unsettled
        ),
        objects => format!(
            "{name} still holds {} bytes of {objects} blobs: s3-orchestrator drain {name}, or with --lost if \
             it is gone for good",
            holding.bytes
        ),
    }
}

fn sweeps_at(inner: &Inner, id: BackendId) -> Result<usize, StoreError> {
    let sweeps = inner.meta.sweeps(Timestamp(u64::MAX), MAX_LOST)?;
    Ok(sweeps.iter().filter(|queued| queued.task.target.backend == id).count())
}

/// Objects that need one of these blobs, the first of them.
fn objects_of(inner: &Inner, mut lost: HashSet<BlobId>) -> Result<Vec<LostObject>, StoreError> {
    composites_of(inner, &mut lost)?;
    let mut found = Vec::new();
    inner.meta.walk(Table::Objects, |key, value| {
        if found.len() >= MAX_NAMED {
            return Ok(());
        }
        let bad = meta::MetaError::damaged(Table::Objects);
        let (bucket, key) = keyspace::split_bucket(key).map_err(&bad)?;
        let object = ObjectRecord::decode(value).map_err(&bad)?;
        if lost.contains(&object.blob) {
            let name = inner.settings.bucket_name(bucket);
            let bucket = name.map_or_else(|| format!("#{}", bucket.0), |name| name.to_string());
            let key = String::from_utf8_lossy(key).into_owned();
            found.push(LostObject { bucket, key, size: object.size });
        }
        Ok(())
    })?;
    Ok(found)
}

/// Adds the blobs that are made of lost ones.
fn composites_of(inner: &Inner, lost: &mut HashSet<BlobId>) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        let page: Vec<(BlobId, BlobRecord)> = inner.meta.blobs(after, STEP_BLOBS)?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = Some(*last);
        for (id, record) in &page {
            if let Content::Parts(parts) = &record.content
                && parts.iter().any(|part| lost.contains(&part.blob))
            {
                lost.insert(*id);
            }
        }
    }
}
