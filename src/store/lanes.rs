//! One body to several backends at once, each at its own pace within a window of its own.
//!
//! A lane that fails while the body so far is still at hand is replaced by one to the next backend.
//! One that is slower than the others is waited for only as long as it is needed for the
//! acknowledgement; then it goes on beside the request, or is given up and made good later.

use backend::{BackendError, NewReplica, Pairs};
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use meta::{Account, BackendId, EMBEDDED, Order, Place, Reservation, Target};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use types::BlobId;

use crate::claim::{Claim, Noted, claimed};
use crate::member::Member;
use crate::purpose::Purpose;
use crate::{Store, StoreError};

/// Windows that wait for a backend beside the one that it is writing.
const LANE_WINDOWS: usize = 1;
/// Of a body that is no longer than this another backend can have all when one fails.
const REPLAY_BYTES: usize = 1 << 20;
/// How long a body in all waits for backends that its acknowledgement does not need.
const PATIENCE: Duration = Duration::from_millis(500);

/// A replica that is being written, dropped it is given up.
pub struct Lane {
    pub member: Arc<Member>,
    pub target: Target,
    pieces: Option<mpsc::Sender<Bytes>>,
    go: Option<oneshot::Sender<Pairs>>,
    work: Option<JoinHandle<Result<Claim, LaneError>>>,
    store: Store,
    size: u64,
}

pub enum LaneError {
    Backend(BackendError),
    /// Not the backend's fault.
    Own(StoreError),
}

impl From<BackendError> for LaneError {
    fn from(error: BackendError) -> Self {
        Self::Backend(error)
    }
}

impl From<LaneError> for StoreError {
    fn from(error: LaneError) -> Self {
        match error {
            LaneError::Backend(error) => error.into(),
            LaneError::Own(error) => error,
        }
    }
}

impl Drop for Lane {
    /// What was begun ends a moment later, and counts until then.
    fn drop(&mut self) {
        let Some(work) = self.work.take() else { return };
        work.abort();
        let account = Account::Backend(self.target.backend);
        let held = self.store.0.meta.ledger().hold(account, self.size);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                drop(work.await);
                drop(held);
            });
        }
    }
}

impl Lane {
    pub fn begin(store: Store, member: Arc<Member>, target: Target, new: NewReplica, noted: Noted) -> Self {
        let (pieces, received) = mpsc::channel(LANE_WINDOWS);
        let (go, may_finish) = oneshot::channel();
        let size = noted.size();
        let work = Some(tokio::spawn(write(Arc::clone(&member), new, noted, received, may_finish)));
        Self { member, target, pieces: Some(pieces), go: Some(go), work, store, size }
    }

    /// `false`: the lane has failed; its result says why.
    pub async fn send(&self, piece: Bytes) -> bool {
        match &self.pieces {
            Some(pieces) => pieces.send(piece).await.is_ok(),
            None => false,
        }
    }

    /// All pieces were handed in, and the body is what it was promised to be.
    pub fn finish(&mut self, last: &Pairs) {
        self.pieces = None;
        if let Some(go) = self.go.take() {
            // A lane that failed is found out when its result is asked for.
            let _ = go.send(last.clone());
        }
    }

    pub async fn result(&mut self) -> Result<Claim, LaneError> {
        let lost = |error: tokio::task::JoinError| LaneError::Own(StoreError::Storage(error.to_string()));
        let Some(work) = &mut self.work else { return Err(LaneError::Own(StoreError::Busy)) };
        let result = work.await.map_err(lost);
        self.work = None;
        result?
    }
}

async fn write(
    member: Arc<Member>,
    new: NewReplica,
    noted: Noted,
    mut pieces: mpsc::Receiver<Bytes>,
    may_finish: oneshot::Receiver<Pairs>,
) -> Result<Claim, LaneError> {
    let mut noted = Some(noted);
    let mut claim = None;
    if member.backend.leaves_traces()
        && let Some(noted) = noted.take()
    {
        claim = Some(claimed(noted).await.map_err(LaneError::Own)?);
    }
    let mut writer = member.judge(member.backend.begin(new).await)?;
    while let Some(piece) = pieces.recv().await {
        if let Err(error) = writer.write(piece).await {
            member.failed(&error);
            return Err(error.into());
        }
    }
    let last = may_finish.await.map_err(|_| LaneError::Own(StoreError::Busy))?;
    if let Some(noted) = noted.take() {
        claim = Some(claimed(noted).await.map_err(LaneError::Own)?);
    }
    member.judge(writer.finish(last).await)?;
    claim.ok_or(LaneError::Own(StoreError::Busy))
}

/// Where a body is to go: what was reserved for it.
#[derive(Default)]
pub struct Chosen {
    /// The data directory is one of them: it keeps pace with the hashing.
    pub embedded: bool,
    pub others: Vec<Arc<Member>>,
    /// What is tried if one of them fails, best first; nothing is reserved there.
    pub spare: VecDeque<Arc<Member>>,
    /// Replicas that must be durable before the acknowledgement.
    pub need: usize,
    /// Replicas that there should be in the end.
    pub copies: usize,
}

impl Chosen {
    pub fn count(&self) -> usize {
        usize::from(self.embedded) + self.others.len()
    }

    pub fn backends(&self) -> Vec<BackendId> {
        let embedded = self.embedded.then_some(EMBEDDED);
        embedded.into_iter().chain(self.others.iter().map(|member| member.id)).collect()
    }
}

/// What there is of a body when it may be acknowledged.
#[derive(Default)]
pub struct Landed {
    pub claims: Vec<Claim>,
    /// Still being written, each with its room.
    pub running: Vec<(Lane, Reservation)>,
    /// Backends that were not asked.
    pub spare: VecDeque<Arc<Member>>,
}

pub struct Lanes<'a> {
    store: &'a Store,
    purpose: Purpose<'a>,
    blob: BlobId,
    size: Option<u64>,
    lanes: Vec<Lane>,
    spare: VecDeque<Arc<Member>>,
    embedded: usize,
    need: usize,
    replay: Option<Vec<Bytes>>,
    patience: Duration,
    last_error: Option<StoreError>,
}

impl<'a> Lanes<'a> {
    pub fn begin(
        store: &'a Store,
        purpose: Purpose<'a>,
        blob: BlobId,
        size: Option<u64>,
        chosen: Chosen,
    ) -> Self {
        let mut lanes = Self {
            store,
            purpose,
            blob,
            size,
            lanes: Vec::with_capacity(chosen.others.len()),
            spare: chosen.spare,
            embedded: usize::from(chosen.embedded),
            need: chosen.need,
            replay: (!chosen.others.is_empty()).then(Vec::new),
            patience: PATIENCE,
            last_error: None,
        };
        for member in chosen.others {
            lanes.open(member);
        }
        lanes
    }

    pub fn are_needed(&self) -> bool {
        !self.lanes.is_empty()
    }

    fn open(&mut self, member: Arc<Member>) {
        let new = self.purpose.describe(&self.store.0, self.blob, self.size);
        let target = match member.is_embedded() {
            true => Target::new(member.id, Place::File),
            false => member.target(self.blob, new.readable.as_deref()),
        };
        let new = NewReplica { readable: new.readable.filter(|_| member.readable), ..new };
        let size = self.size.unwrap_or(0);
        let noted = self.store.note_intent(self.blob, target.clone(), size, false);
        self.lanes.push(Lane::begin(self.store.clone(), member, target, new, noted));
    }

    /// Hands a window to every lane.
    pub async fn feed(&mut self, window: &Bytes, room: &mut Reservation) -> Result<(), StoreError> {
        if self.lanes.is_empty() && self.replay.is_none() {
            return Ok(());
        }
        let mut taken = vec![false; self.lanes.len()];
        let mut waiting = FuturesUnordered::new();
        for (index, (lane, taken)) in self.lanes.iter().zip(&mut taken).enumerate() {
            let Some(pieces) = &lane.pieces else { continue };
            match pieces.try_send(window.clone()) {
                Ok(()) => *taken = true,
                Err(mpsc::error::TrySendError::Closed(_)) => {}
                Err(mpsc::error::TrySendError::Full(window)) => {
                    waiting.push(async move { (index, pieces.send(window).await.is_ok()) });
                }
            }
        }
        while !waiting.is_empty() {
            let needed = self.embedded + taken.iter().filter(|taken| **taken).count() < self.need;
            let Some((index, took)) = next(&mut waiting, needed, &mut self.patience).await else { break };
            if let Some(taken) = taken.get_mut(index) {
                *taken = took;
            }
        }
        drop(waiting);
        // Before any lane is replaced: the new one gets this window with those before it.
        self.remember(window);
        for index in (0..taken.len()).rev().filter(|index| taken.get(*index) == Some(&false)) {
            let mut lane = self.lanes.swap_remove(index);
            let error = lane.result().now_or_never().and_then(Result::err);
            self.lost(lane, error, room).await;
        }
        if self.lanes.len() + self.embedded == 0 {
            return Err(self.last_error.take().unwrap_or(StoreError::Busy));
        }
        Ok(())
    }

    fn remember(&mut self, window: &Bytes) {
        let Some(replay) = &mut self.replay else { return };
        if replay.iter().map(Bytes::len).sum::<usize>() + window.len() <= REPLAY_BYTES {
            replay.push(window.clone());
        } else {
            self.replay = None;
        }
    }

    /// A lane failed, or (`None`) was too slow: the next backend gets what there was so far of the body.
    async fn lost(&mut self, lane: Lane, error: Option<LaneError>, room: &mut Reservation) {
        let (member, blob) = (Arc::clone(&lane.member), self.blob);
        // Before the room is given back: what the lane may have left counts from here on.
        drop(lane);
        room.release(Account::Backend(member.id));
        let backend = &member.name;
        match error {
            None => tracing::info!(backend, %blob, "too slow for a write; the replica is made later"),
            Some(error) => {
                let error = StoreError::from(error);
                tracing::warn!(backend, %blob, %error, "a replica was not written");
                self.last_error = Some(error);
            }
        }
        let Some(replay) = self.replay.clone() else { return };
        while let Some(member) = self.spare.pop_front() {
            let size = self.size.unwrap_or(REPLAY_BYTES as u64);
            if !member.takes(room, size) {
                continue;
            }
            self.open(member);
            if let Some(pieces) = self.lanes.last().and_then(|lane| lane.pieces.clone()) {
                for window in replay {
                    // One that fails here is found out at the next window.
                    let _ = pieces.send(window).await;
                }
            }
            return;
        }
    }

    /// The body has ended and is what it was promised to be: waits until as many replicas are durable as
    /// the acknowledgement needs. `embedded` is the data directory's.
    pub async fn finish(
        mut self,
        last: &Pairs,
        embedded: Option<Claim>,
        inline: bool,
        room: &mut Reservation,
    ) -> Result<Landed, StoreError> {
        let mut landed = Landed { claims: embedded.into_iter().collect(), ..Landed::default() };
        let durable = |landed: &Landed| landed.claims.len() + usize::from(inline);
        self.lanes.iter_mut().for_each(|lane| lane.finish(last));
        while durable(&landed) < self.need && !self.lanes.is_empty() {
            let (index, outcome) = self.first_result().await;
            let lane = self.lanes.swap_remove(index);
            match outcome {
                Ok(claim) => landed.claims.push(claim),
                Err(error) => {
                    let before = self.lanes.len();
                    self.lost(lane, Some(error), room).await;
                    self.lanes.iter_mut().skip(before).for_each(|lane| lane.finish(last));
                }
            }
        }
        if durable(&landed) == 0 {
            return Err(self.last_error.take().unwrap_or(StoreError::Busy));
        }
        for mut lane in std::mem::take(&mut self.lanes) {
            match lane.result().now_or_never() {
                Some(Ok(claim)) => landed.claims.push(claim),
                Some(Err(error)) => {
                    self.replay = None;
                    self.lost(lane, Some(error), room).await;
                }
                None => {
                    let room = room.split(Account::Backend(lane.target.backend));
                    landed.running.push((lane, room));
                }
            }
        }
        landed.spare = self.spare;
        Ok(landed)
    }

    async fn first_result(&mut self) -> (usize, Result<Claim, LaneError>) {
        let results = self.lanes.iter_mut().enumerate();
        let mut results: FuturesUnordered<_> =
            results.map(|(index, lane)| async move { (index, lane.result().await) }).collect();
        results.next().await.unwrap_or((0, Err(LaneError::Own(StoreError::Busy))))
    }
}

/// The next lane that takes a window: waited for without end if it is needed, else as long as
/// patience lasts.
async fn next<F: Future<Output = (usize, bool)>>(
    waiting: &mut FuturesUnordered<F>,
    needed: bool,
    patience: &mut Duration,
) -> Option<(usize, bool)> {
    if needed {
        return waiting.next().await;
    }
    let begun = Instant::now();
    let next = tokio::time::timeout(*patience, waiting.next()).await;
    *patience = patience.saturating_sub(begun.elapsed());
    next.unwrap_or(None)
}

impl Landed {
    /// Where the bytes are durable.
    pub fn targets(&self) -> impl Iterator<Item = Target> {
        self.claims.iter().map(|claim| claim.target().clone())
    }

    /// The commit that names the durable replicas is written; the others follow as they come.
    pub fn settle(self, blob: BlobId, follow: Option<(Store, tokio::runtime::Handle)>) {
        self.claims.into_iter().for_each(Claim::settle);
        let Some((store, runtime)) = follow else { return };
        for (mut lane, room) in self.running {
            let store = store.clone();
            runtime.spawn(async move {
                match lane.result().await {
                    Ok(claim) => drop(store.record_replica(blob, claim, room).await),
                    Err(error) => {
                        let error = StoreError::from(error);
                        let backend = &lane.member.name;
                        tracing::warn!(backend, %blob, %error, "a replica was not written; it is made later");
                    }
                }
            });
        }
    }
}

impl Store {
    /// Names a durable replica in its blob's record. `false`: nobody wants it any more, or the
    /// backend has one by now; it goes to cleanup.
    pub(crate) async fn record_replica(
        &self,
        blob: BlobId,
        claim: Claim,
        room: Reservation,
    ) -> Result<bool, StoreError> {
        let (sender, receiver) = oneshot::channel();
        let (target, now) = (claim.target().clone(), self.now());
        let work = move |txn: &mut meta::Txn<'_>| {
            let record = txn.add_replica(blob, target, now)?;
            drop(room);
            Ok(record.is_some())
        };
        // In a task of the committer's: it is finished also when the caller is gone.
        self.0.meta.commit(Order::Shared, work, move |answer: Result<bool, StoreError>| {
            if answer.is_ok() {
                claim.settle();
            }
            drop(sender.send(answer));
        });
        receiver.await.unwrap_or(Err(StoreError::Busy))
    }
}
