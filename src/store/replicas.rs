//! One blob's bytes out of whichever replica has them: the healthy, near, cheap one first, another
//! from the same offset when that one fails, stalls or lies.

use backend::{BackendError, Fault};
use bytes::{Bytes, BytesMut};
use futures_util::future::{Either, select};
use meta::{
    BlobRecord, CHUNK_BYTES, Content, CopyTask, Health, Order, Place, Replica, Target, TaskKind, Traffic,
};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use types::checksum::chunk_sum;
use types::{BlobId, ByteRange};

use crate::member::Member;
use crate::{Inner, StoreError};

/// After so long without a chunk another replica is asked as well, if there is one.
const HEDGE_AFTER: Duration = Duration::from_millis(700);

/// How good a replica is to read from; the smallest is best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    damaged: bool,
    /// The backend fails now, or a monthly limit is used up.
    failing: bool,
    distance: u8,
    /// In the configuration.
    position: usize,
}

/// Where to read a blob, best first. What is on backends that are not there is left out.
pub fn ranked(inner: &Inner, record: &BlobRecord) -> Vec<(Rank, Replica)> {
    let mut ranked: Vec<_> = record
        .replicas()
        .iter()
        .filter_map(|replica| Some((rank(inner, replica, record.size)?, replica.clone())))
        .collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked
}

fn rank(inner: &Inner, replica: &Replica, size: u64) -> Option<Rank> {
    let position = inner.fleet.members().iter().position(|member| member.id == replica.backend);
    let damaged = !replica.is_good();
    if replica.place == Place::Inline {
        return Some(Rank { damaged, failing: false, distance: 0, position: position.unwrap_or(0) });
    }
    let position = position?;
    let member = inner.fleet.get(replica.backend)?;
    let read = Traffic { calls: 1, ingress_bytes: 0, egress_bytes: size };
    let used_up = member.has_limits() && member.used_up(member.count(&inner.meta, inner.now()), read);
    let distance = match () {
        () if member.is_embedded() => 1,
        () if !member.backend.is_remote() => 2,
        () => 3,
    };
    Some(Rank { damaged, failing: used_up || !member.breaker.is_closed(), distance, position })
}

/// The bytes of one replica, as far as they were opened.
pub enum Opened {
    /// Verified when it was fetched.
    Inline(Bytes),
    File(Arc<backend::StoredFile>),
    Stream(Box<Stream>),
}

/// A replica on its way over a network.
pub struct Stream {
    reader: Box<dyn backend::Reader>,
    buffer: BytesMut,
    /// Where the buffer begins in the blob: at a chunk.
    at: u64,
}

/// One replica being read.
pub struct Source {
    pub target: Target,
    pub opened: Opened,
}

/// Why a replica did not give a chunk.
#[derive(Debug)]
pub enum Trouble {
    Backend(BackendError),
    /// The bytes are not what was written.
    Mismatch {
        chunk: u64,
    },
    Own(StoreError),
}

impl From<BackendError> for Trouble {
    fn from(error: BackendError) -> Self {
        Self::Backend(error)
    }
}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Self {
        Self::Backend(error.into())
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mismatch { chunk } => write!(f, "chunk {chunk} fails its checksum"),
            Self::Backend(BackendError { fault: Fault::Absent, detail }) => write!(f, "not there: {detail}"),
            Self::Backend(BackendError { fault: Fault::Corrupt, detail }) => f.write_str(detail),
            Self::Backend(error) => error.fmt(f),
            Self::Own(error) => error.fmt(f),
        }
    }
}

impl Trouble {
    /// What it says of the replica itself.
    pub fn verdict(&self, now: types::Timestamp) -> Option<Health> {
        match self {
            Self::Mismatch { .. } => Some(Health::Bad(now)),
            Self::Backend(error) => match error.fault {
                Fault::Absent | Fault::Corrupt => Some(Health::Bad(now)),
                _ => None,
            },
            Self::Own(StoreError::Corrupt(_)) => Some(Health::Bad(now)),
            Self::Own(_) => None,
        }
    }

    pub fn into_error(self, blob: BlobId) -> StoreError {
        match self {
            Self::Mismatch { chunk } => {
                StoreError::Corrupt(format!("chunk {chunk} of blob {blob} fails its checksum"))
            }
            Self::Backend(error) => error.into(),
            Self::Own(error) => error,
        }
    }
}

/// A chunk's place in its blob, and what it must add up to.
#[derive(Debug, Clone, Copy)]
pub struct Chunk {
    pub number: u64,
    pub from: u64,
    pub to: u64,
}

impl Chunk {
    pub fn at(offset: u64, size: u64) -> Self {
        let number = offset / CHUNK_BYTES;
        Self { number, from: number * CHUNK_BYTES, to: ((number + 1) * CHUNK_BYTES).min(size) }
    }

    pub fn len(self) -> usize {
        usize::try_from(self.to - self.from).expect("a chunk fits in memory")
    }

    pub fn verify(self, record: &BlobRecord, bytes: &[u8]) -> Result<(), Trouble> {
        let Content::Bytes { sums, .. } = &record.content else {
            return Err(Trouble::Mismatch { chunk: self.number });
        };
        if !record.is_summed() {
            // Adopted, and not read in full yet: all that is known is its size.
            return Ok(());
        }
        let wanted = usize::try_from(self.number).ok().and_then(|number| sums.get(number));
        match wanted == Some(&chunk_sum(bytes)) {
            true => Ok(()),
            false => Err(Trouble::Mismatch { chunk: self.number }),
        }
    }
}

/// What a read of one blob needs to know; cheap to clone.
#[derive(Clone)]
pub struct Blob {
    pub id: BlobId,
    pub record: Arc<BlobRecord>,
    /// The last byte that is wanted: a stream is opened no further, but for the end of its chunk.
    pub end: u64,
}

impl Blob {
    /// Opens what needs no network. Blocks. `None`: it does.
    pub fn open_local(&self, inner: &Inner, target: &Target) -> Result<Option<Source>, Trouble> {
        let opened = match &target.place {
            Place::Inline => {
                let bytes = inner.meta.inline(self.id).map_err(|error| Trouble::Own(error.into()))?;
                let missing = || BackendError::new(Fault::Absent, "no inline value");
                Opened::Inline(bytes.ok_or_else(missing)?)
            }
            Place::File if target.backend == meta::EMBEDDED => {
                Opened::File(Arc::new(inner.local.get(self.id)?))
            }
            _ => {
                let (member, location) = self.located(inner, target)?;
                match member.backend.open_file(&location) {
                    Some(file) => Opened::File(Arc::new(member.judge(file)?)),
                    None => return Ok(None),
                }
            }
        };
        Ok(Some(Source { target: target.clone(), opened }))
    }

    fn located(&self, inner: &Inner, target: &Target) -> Result<(Arc<Member>, backend::Location), Trouble> {
        let absent = || BackendError::new(Fault::Unavailable, "the backend is not configured");
        let member = inner.fleet.get(target.backend).ok_or_else(absent)?;
        let location = member.location(self.id, &target.place).ok_or_else(absent)?;
        Ok((member, location))
    }

    /// The verified chunk at `chunk` from a local source. Blocks.
    pub fn read_local(&self, source: &Source, chunk: Chunk) -> Result<Option<Bytes>, Trouble> {
        match &source.opened {
            Opened::Inline(bytes) => {
                let index = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
                Ok(Some(bytes.slice(index(chunk.from)..index(chunk.to))))
            }
            Opened::File(file) => {
                let mut buffer = vec![0; chunk.len()];
                file.read_exact_at(&mut buffer, chunk.from)?;
                chunk.verify(&self.record, &buffer)?;
                Ok(Some(Bytes::from(buffer)))
            }
            Opened::Stream(_) => Ok(None),
        }
    }

    async fn open_stream(&self, inner: &Inner, target: &Target, from: u64) -> Result<Source, Trouble> {
        let (member, location) = self.located(inner, target)?;
        let range =
            ByteRange { start: from, end: Chunk::at(self.end.saturating_sub(1), self.record.size).to };
        let reader = member.judge(member.backend.read(&location, range).await)?;
        let stream = Stream { reader, buffer: BytesMut::new(), at: from };
        Ok(Source { target: target.clone(), opened: Opened::Stream(Box::new(stream)) })
    }

    /// One verified chunk out of one replica, which is opened first if need be.
    pub async fn attempt(
        self,
        inner: Arc<Inner>,
        target: Target,
        source: Option<Source>,
        chunk: Chunk,
    ) -> Result<(Source, Bytes), (Target, Trouble)> {
        let failed = |trouble| (target.clone(), trouble);
        let mut source = match source {
            Some(source) => source,
            None => self.open(&inner, &target, chunk).await.map_err(failed)?,
        };
        if let Opened::Stream(stream) = &mut source.opened {
            let bytes = stream.chunk(chunk).await;
            let member = inner.fleet.get(target.backend);
            if let (Err(Trouble::Backend(error)), Some(member)) = (&bytes, member) {
                member.failed(error);
            }
            let bytes = bytes.map_err(failed)?;
            chunk.verify(&self.record, &bytes).map_err(failed)?;
            return Ok((source, bytes));
        }
        let blob = self.clone();
        let read = tokio::task::spawn_blocking(move || {
            let bytes = blob.read_local(&source, chunk);
            (source, bytes)
        });
        match read.await {
            Ok((source, Ok(Some(bytes)))) => Ok((source, bytes)),
            Ok((_, Err(trouble))) => Err(failed(trouble)),
            Ok((_, Ok(None))) => Err(failed(Trouble::Own(StoreError::Busy))),
            Err(error) => Err(failed(Trouble::Own(StoreError::Storage(error.to_string())))),
        }
    }

    async fn open(&self, inner: &Arc<Inner>, target: &Target, chunk: Chunk) -> Result<Source, Trouble> {
        let remote = inner.fleet.get(target.backend).is_some_and(|member| member.backend.is_remote());
        if !remote {
            let (blob, place, inner) = (self.clone(), target.clone(), Arc::clone(inner));
            let opened = tokio::task::spawn_blocking(move || blob.open_local(&inner, &place)).await;
            let opened = opened.map_err(|error| Trouble::Own(StoreError::Storage(error.to_string())))?;
            if let Some(source) = opened? {
                return Ok(source);
            }
        }
        self.open_stream(inner, target, chunk.from).await
    }

    /// The chunk from `source`, or from the best replica that has not failed at it; a second one is asked
    /// when the first is late.
    pub async fn chunk(
        &self,
        inner: &Arc<Inner>,
        mut source: Option<Source>,
        chunk: Chunk,
        failed: &mut Vec<(Target, Trouble)>,
    ) -> Option<(Source, Bytes)> {
        loop {
            let current = match &source {
                Some(source) => source.target.clone(),
                None => self.best(inner, failed, None)?,
            };
            let first = self.clone().attempt(Arc::clone(inner), current.clone(), source.take(), chunk);
            let outcome = match self.best(inner, failed, Some(&current)) {
                None => first.await,
                Some(other) => self.hedged(inner, first, &current, other, chunk, failed).await,
            };
            match outcome {
                Ok(found) => return Some(found),
                Err((target, trouble)) => {
                    inner.doubt(self.id, &target, &trouble);
                    failed.push((target, trouble));
                }
            }
        }
    }

    async fn hedged(
        &self,
        inner: &Arc<Inner>,
        first: impl Future<Output = Result<(Source, Bytes), (Target, Trouble)>>,
        current: &Target,
        other: Target,
        chunk: Chunk,
        failed: &mut Vec<(Target, Trouble)>,
    ) -> Result<(Source, Bytes), (Target, Trouble)> {
        let mut first = Box::pin(first);
        if let Ok(outcome) = tokio::time::timeout(HEDGE_AFTER, &mut first).await {
            return outcome;
        }
        tracing::debug!(blob = %self.id, "a replica is late; another one is asked as well");
        let second = Box::pin(self.clone().attempt(Arc::clone(inner), other, None, chunk));
        let (outcome, rest) = match select(first, second).await {
            Either::Left((outcome, rest)) => (outcome, Either::Right(rest)),
            Either::Right((outcome, rest)) => {
                if outcome.is_ok()
                    && let Some(late) = inner.fleet.get(current.backend)
                {
                    late.too_late();
                }
                (outcome, Either::Left(rest))
            }
        };
        match outcome {
            Ok(found) => Ok(found),
            Err((target, trouble)) => {
                inner.doubt(self.id, &target, &trouble);
                failed.push((target, trouble));
                match rest {
                    Either::Left(rest) => rest.await,
                    Either::Right(rest) => rest.await,
                }
            }
        }
    }

    /// The best replica that neither failed nor is `besides`. A backend whose circuit is open is asked
    /// only when there is nothing else.
    pub fn best(
        &self,
        inner: &Inner,
        failed: &[(Target, Trouble)],
        besides: Option<&Target>,
    ) -> Option<Target> {
        let usable = |replica: &Replica| {
            !failed.iter().any(|(target, _)| replica.is_at(target))
                && besides.is_none_or(|target| !replica.is_at(target))
        };
        if let [only] = self.record.replicas() {
            return usable(only).then(|| only.target());
        }
        let ranked = ranked(inner, &self.record);
        let found = ranked.into_iter().map(|(_, replica)| replica).find(usable)?;
        Some(found.target())
    }
}

impl Stream {
    async fn chunk(&mut self, chunk: Chunk) -> Result<Bytes, Trouble> {
        if chunk.from != self.at {
            return Err(Trouble::Own(StoreError::Storage("a stream is read out of order".to_owned())));
        }
        while self.buffer.len() < chunk.len() {
            match self.reader.next().await? {
                Some(piece) => self.buffer.extend_from_slice(&piece),
                None => return Err(BackendError::new(Fault::Corrupt, "the replica is cut short").into()),
            }
        }
        self.at = chunk.to;
        Ok(self.buffer.split_to(chunk.len()).freeze())
    }
}

impl Inner {
    /// Something was wrong with a replica: it is marked if it was the bytes, and made good from another.
    pub(crate) fn doubt(&self, blob: BlobId, target: &Target, trouble: &Trouble) {
        let backend = self.fleet.name_of(target.backend);
        let now = self.now();
        let Some(health) = trouble.verdict(now) else {
            tracing::warn!(%blob, backend, %trouble, "a replica could not be read");
            return;
        };
        tracing::error!(%blob, backend, %trouble, "a replica is damaged or missing");
        self.fleet.found_bad(target.backend);
        let target = target.clone();
        let mark = move |txn: &mut meta::Txn<'_>| {
            if txn.judge_replica(blob, &target, health, None)? {
                txn.queue_copies(&CopyTask::new(TaskKind::Replicate, blob, now));
            }
            Ok(())
        };
        self.meta.commit(Order::Shared, mark, |_: Result<(), StoreError>| {});
    }
}
