//! Moving replicas to where placement would put them now: a plan, and the moves. Each is a copy that is
//! read back, and then one replica fewer, judged again in the commit that drops it.

use futures_util::stream::{StreamExt as _, iter};
use meta::{Account, BackendId, BlobRecord, CopyTask, Order, Place, Replica, Target, TaskKind};
use std::sync::Arc;
use types::BlobId;

use crate::copies::judged;
use crate::member::Member;
use crate::{Inner, Placement, Store, StoreError};

/// What one step looks at, and what it moves at most.
const STEP_BLOBS: usize = 1000;
const STEP_MOVES: usize = 32;
const AT_A_TIME: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rebalance {
    pub strategy: Placement,
    /// `spread`: how many points of fullness two backends may be apart before something moves.
    /// `pack`: how much of each quota stays free.
    pub threshold_percent: u8,
}

/// What a rebalancing would do.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// In the order of the configuration.
    pub backends: Vec<PlannedBackend>,
    pub objects: u64,
    pub bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedBackend {
    pub name: String,
    pub quota: Option<u64>,
    pub bytes_before: u64,
    pub bytes_after: u64,
    pub objects_in: u64,
    pub objects_out: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Reads, writes and deletions that it will be asked for.
    pub calls: u64,
}

/// How far a step came.
#[derive(Debug, Clone, Default)]
pub struct Moved {
    /// `None`: there is nothing behind it.
    pub next: Option<BlobId>,
    pub objects: u64,
    pub bytes: u64,
    /// Moves that could not be made, and why the last of them.
    pub failed: u64,
    pub trouble: Option<String>,
}

/// A move of one replica.
#[derive(Debug, Clone)]
struct Move {
    blob: BlobId,
    from: Target,
    to: BackendId,
    size: u64,
}

impl Store {
    /// Looks at everything and moves nothing.
    pub async fn plan_rebalance(&self, asked: Rebalance) -> Result<Plan, StoreError> {
        let mut levels = Levels::now(&self.0, asked);
        let mut after = None;
        loop {
            let (next, back) = self
                .blocking(move |inner| {
                    let next = levels.look(inner, after, usize::MAX)?.next;
                    Ok((next, levels))
                })
                .await?;
            levels = back;
            after = next;
            if after.is_none() {
                return Ok(levels.plan());
            }
        }
    }

    /// Moves a bounded number of replicas of the blobs behind `after`.
    pub async fn rebalance_step(&self, asked: Rebalance, after: Option<BlobId>) -> Result<Moved, StoreError> {
        let mut levels = Levels::now(&self.0, asked);
        let looked = self.blocking(move |inner| levels.look(inner, after, STEP_MOVES)).await?;
        let tasks = looked.tasks;
        if !tasks.is_empty() {
            self.commit(Order::Shared, move |txn| {
                tasks.iter().for_each(|task| txn.queue_copies(task));
                Ok(())
            })
            .await?;
        }
        let moves = iter(looked.moves).map(|planned| async move {
            let size = planned.size;
            (size, self.carry_out(planned).await)
        });
        let outcomes: Vec<_> = moves.buffer_unordered(AT_A_TIME).collect().await;
        let mut moved = Moved { next: looked.next, ..Moved::default() };
        for (size, outcome) in outcomes {
            match outcome {
                Ok(true) => (moved.objects, moved.bytes) = (moved.objects + 1, moved.bytes + size),
                // It was deleted, or has moved by itself.
                Ok(false) => {}
                Err(StoreError::Fenced) => return Err(StoreError::Fenced),
                Err(error) => (moved.failed, moved.trouble) = (moved.failed + 1, Some(error.to_string())),
            }
        }
        Ok(moved)
    }

    /// Copies, verifies, drops. `false`: there is nothing to move any more.
    async fn carry_out(&self, planned: Move) -> Result<bool, StoreError> {
        let Move { blob, from, to, .. } = planned;
        let Some((_pin, record)) = self.living(blob).await? else { return Ok(false) };
        let there = record.replicas().iter().any(|replica| replica.backend == to);
        let movable = record.replica_at(&from).is_some_and(Replica::is_good) && !there;
        if !movable || self.0.meta.intent(blob)?.is_some() {
            return Ok(false);
        }
        let Some(member) = self.0.fleet.get(to).filter(|member| member.admits()) else {
            return Err(StoreError::Unavailable("the backend does not answer".to_owned()));
        };
        let task = CopyTask::new(TaskKind::Replicate, blob, self.now());
        let new = self.describe_copy(&task, &record).await?;
        if !self.copy_to(blob, &record, &member, new).await? {
            return Ok(false);
        }
        let Some((_pin, record)) = self.living(blob).await? else { return Ok(false) };
        let added = record.replicas().iter().find(|replica| replica.backend == to).map(Replica::target);
        let Some(added) = added else { return Ok(false) };
        if !self.verify_replica(blob, &record, &added).await? {
            return Err(StoreError::Corrupt(format!(
                "the new copy of blob {blob} on {} is damaged",
                member.name
            )));
        }
        self.drop_moved(blob, from, added, record.bucket).await
    }

    async fn drop_moved(
        &self,
        blob: BlobId,
        from: Target,
        added: Target,
        bucket: Option<types::BucketId>,
    ) -> Result<bool, StoreError> {
        let (store, wanted) = (self.clone(), self.0.policy(bucket).copies());
        self.commit(Order::Shared, move |txn| {
            // Judged again, now that nothing can come between.
            let Some(record) = txn.blob(blob)? else { return Ok(false) };
            let left = record.replicas().iter().filter(|replica| !replica.is_at(&from));
            let enough = left.filter(|replica| store.0.counts(replica)).count() >= wanted;
            let fresh = record.replica_at(&added).is_some_and(Replica::is_good);
            Ok(enough && fresh && txn.drop_replica(blob, &from)?)
        })
        .await
    }
}

/// What looking at some blobs brought.
struct Looked {
    next: Option<BlobId>,
    moves: Vec<Move>,
    /// Blobs that have too many or too few copies: not ours to move, but not to be left so.
    tasks: Vec<CopyTask>,
}

/// How full each backend is, with what is planned so far.
struct Levels {
    asked: Rebalance,
    tanks: Vec<Tank>,
}

struct Tank {
    member: Arc<Member>,
    /// It takes replicas now.
    open: bool,
    quota: Option<u64>,
    /// Of replicas in use.
    bytes: u64,
    /// What counts against the quota besides.
    besides: u64,
    planned: PlannedBackend,
}

impl Levels {
    fn now(inner: &Inner, asked: Rebalance) -> Self {
        let ledger = inner.meta.ledger();
        let tank = |member: &Arc<Member>| {
            let account = Account::Backend(member.id);
            let (quota, bytes) = (ledger.quota(account), ledger.counters(account).bytes);
            let planned = PlannedBackend {
                name: member.name.clone(),
                quota,
                bytes_before: bytes,
                bytes_after: bytes,
                objects_in: 0,
                objects_out: 0,
                bytes_in: 0,
                bytes_out: 0,
                calls: 0,
            };
            let besides = ledger.occupied(account).saturating_sub(bytes);
            let open = member.breaker.is_closed() && !inner.is_out_of_disk(member);
            Tank { member: Arc::clone(member), open, quota, bytes, besides, planned }
        };
        let members = inner.fleet.members();
        Self { asked, tanks: members.iter().filter(|member| member.is_active()).map(tank).collect() }
    }

    /// One step over the blobs behind `after`: up to `max` moves. Blocks.
    fn look(&mut self, inner: &Inner, after: Option<BlobId>, max: usize) -> Result<Looked, StoreError> {
        let page = inner.meta.blobs(after, STEP_BLOBS)?;
        let mut looked =
            Looked { next: page.last().map(|(id, _)| *id), moves: Vec::new(), tasks: Vec::new() };
        for (blob, record) in &page {
            if record.references == 0 || record.is_composite() {
                continue;
            }
            if let Some(task) = judged(inner, *blob, record, inner.now()) {
                looked.tasks.push(task);
            } else if let Some((from, to)) = self.better(record) {
                let moved = Move { blob: *blob, from: from.target(), to, size: record.size };
                self.note(&moved);
                looked.moves.push(moved);
            }
            if looked.moves.len() >= max {
                looked.next = Some(*blob);
                break;
            }
        }
        Ok(looked)
    }

    /// Which replica of a blob should move, and where to. What lies with the records stays there.
    fn better<'a>(&self, record: &'a BlobRecord) -> Option<(&'a Replica, BackendId)> {
        let size = record.size;
        let is_there =
            |tank: &Tank| record.replicas().iter().any(|replica| replica.backend == tank.member.id);
        let movable = |replica: &&Replica| replica.place != Place::Inline && replica.is_good();
        let sources = record.replicas().iter().filter(movable);
        let sources = sources.filter_map(|replica| Some((self.position(replica.backend)?, replica)));
        let room = |tank: &Tank| tank.has_room(size, self.reserve_percent());
        let targets = self.tanks.iter().enumerate();
        let targets = targets.filter(|(_, tank)| !is_there(tank) && tank.open && room(tank));
        match self.asked.strategy {
            Placement::Pack => {
                let (at, from) = sources.max_by_key(|(at, _)| *at)?;
                let (to, tank) = targets.min_by_key(|(at, _)| *at)?;
                (to < at && size > 0).then_some((from, tank.member.id))
            }
            Placement::Spread => {
                let fullness = |at: usize| self.fullness(at, 0);
                let (at, from) = sources.max_by(|a, b| fullness(a.0).total_cmp(&fullness(b.0)))?;
                let (to, tank) = targets.min_by(|a, b| fullness(a.0).total_cmp(&fullness(b.0)))?;
                let apart = fullness(at) - fullness(to) > f64::from(self.asked.threshold_percent) / 100.0;
                let signed = i128::from(size);
                // Not so large that it only changes sides.
                let fits = self.fullness(to, signed) <= self.fullness(at, -signed);
                (apart && fits && size > 0).then_some((from, tank.member.id))
            }
        }
    }

    fn reserve_percent(&self) -> u8 {
        match self.asked.strategy {
            Placement::Pack => self.asked.threshold_percent.min(100),
            Placement::Spread => 0,
        }
    }

    fn position(&self, backend: BackendId) -> Option<usize> {
        self.tanks.iter().position(|tank| tank.member.id == backend)
    }

    /// By quota; a backend without one counts as if it had the largest. Without any quota it is the
    /// share of all bytes.
    fn fullness(&self, at: usize, more: i128) -> f64 {
        let Some(tank) = self.tanks.get(at) else { return 0.0 };
        let largest = self.tanks.iter().filter_map(|tank| tank.quota).max();
        let all = || self.tanks.iter().map(|tank| tank.bytes).sum();
        let capacity = tank.quota.or(largest).unwrap_or_else(all).max(1);
        (i128::from(tank.bytes) + more) as f64 / capacity as f64
    }

    fn note(&mut self, moved: &Move) {
        let size = moved.size;
        for tank in &mut self.tanks {
            let planned = &mut tank.planned;
            if tank.member.id == moved.from.backend {
                tank.bytes = tank.bytes.saturating_sub(size);
                (planned.objects_out, planned.bytes_out) =
                    (planned.objects_out + 1, planned.bytes_out + size);
                // Read once, deleted once.
                planned.calls += 2;
            } else if tank.member.id == moved.to {
                tank.bytes += size;
                (planned.objects_in, planned.bytes_in) = (planned.objects_in + 1, planned.bytes_in + size);
                // Written, and read back.
                planned.calls += writes(size) + 1;
            }
            planned.bytes_after = tank.bytes;
        }
    }

    fn plan(self) -> Plan {
        let backends: Vec<PlannedBackend> = self.tanks.into_iter().map(|tank| tank.planned).collect();
        let objects = backends.iter().map(|backend| backend.objects_in).sum();
        let bytes = backends.iter().map(|backend| backend.bytes_in).sum();
        Plan { backends, objects, bytes }
    }
}

impl Tank {
    fn has_room(&self, size: u64, reserve_percent: u8) -> bool {
        let Some(quota) = self.quota else { return true };
        let usable = u128::from(quota) * u128::from(100 - reserve_percent) / 100;
        u128::from(self.bytes) + u128::from(self.besides) + u128::from(size) <= usable
    }
}

/// One call up to the size of a part; above that each part, the beginning and the end.
fn writes(size: u64) -> u64 {
    let part = backend::PART_BYTES;
    if size <= part { 1 } else { size.div_ceil(part) + 2 }
}
