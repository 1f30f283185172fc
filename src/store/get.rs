//! HeadObject and GetObject: a record, a pin, a stream of verified pieces.

use bytes::Bytes;
use meta::{BlobRecord, Content, EngineError, MetaError, Target};
use std::collections::VecDeque;
use std::future::Future as _;
use std::pin::Pin as StdPin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::task::JoinHandle;
use types::{BlobId, BucketId, ByteRange, Key};

use crate::pins::Pin;
use crate::replicas::{Blob, Chunk, Opened, Source, Trouble};
use crate::{Inner, Object, ObjectPart, Store, StoreError};

/// Chunks that one step reads: long enough that handing it to another thread costs little.
const STEP_CHUNKS: usize = 4;
/// Pieces that wait for a slow reader before reading ahead stops.
const READY_MAX: usize = STEP_CHUNKS;

impl Store {
    pub async fn head(&self, bucket: BucketId, key: &Key) -> Result<Object, StoreError> {
        self.find(bucket, key).await?.ok_or(StoreError::NoSuchKey)
    }

    /// From memory at once, else beside the threads that serve sockets.
    pub(crate) async fn find(&self, bucket: BucketId, key: &Key) -> Result<Option<Object>, StoreError> {
        self.collect().await;
        match self.0.meta.object_cached(bucket, key) {
            Err(MetaError::Engine(EngineError::NotCached)) => {
                let key = key.clone();
                self.blocking(move |inner| Ok(inner.meta.object(bucket, &key)?)).await
            }
            answer => Ok(answer?),
        }
    }

    pub async fn open(&self, bucket: BucketId, key: &Key) -> Result<OpenObject, StoreError> {
        self.collect().await;
        if let Some(opened) = self.open_cached(bucket, key)? {
            return Ok(opened);
        }
        let (store, key) = (self.clone(), key.clone());
        self.blocking(move |inner| {
            let (object, pin) = {
                let _no_cleanup = inner.pins.enter();
                let object = inner.meta.object(bucket, &key)?.ok_or(StoreError::NoSuchKey)?;
                let pin = inner.pins.pin(object.blob);
                (object, pin)
            };
            OpenObject::load(&store, object, pin)
        })
        .await
    }

    /// `None`: something is not in memory.
    fn open_cached(&self, bucket: BucketId, key: &Key) -> Result<Option<OpenObject>, StoreError> {
        let inner = &self.0;
        let (object, pin) = {
            let _no_cleanup = inner.pins.enter();
            let object = match inner.meta.object_cached(bucket, key) {
                Err(MetaError::Engine(EngineError::NotCached)) => return Ok(None),
                answer => answer?.ok_or(StoreError::NoSuchKey)?,
            };
            let pin = inner.pins.pin(object.blob);
            (object, pin)
        };
        if !object.inline {
            return Ok(None);
        }
        match inner.meta.inline_cached(object.blob) {
            Err(MetaError::Engine(EngineError::NotCached)) => Ok(None),
            // Not there, or damaged: the blob's record knows of other replicas.
            Ok(None) | Err(MetaError::Damaged(_)) => Ok(None),
            answer => {
                let bytes = answer?.ok_or_else(|| lost(object.blob))?;
                Ok(Some(OpenObject { store: self.clone(), object, pin, body: Body::Inline(bytes) }))
            }
        }
    }
}

fn lost(blob: BlobId) -> StoreError {
    StoreError::Corrupt(format!("blob {blob} is named but not there"))
}

#[derive(Clone)]
enum Body {
    Inline(Bytes),
    Stored(Arc<BlobRecord>),
}

/// An object as it was when it was opened, whatever happens to its key. Cheap to clone.
#[derive(Clone)]
pub struct OpenObject {
    store: Store,
    object: Object,
    pin: Pin,
    body: Body,
}

impl OpenObject {
    /// May wait for the disk.
    pub(crate) fn load(store: &Store, object: Object, pin: Pin) -> Result<Self, StoreError> {
        let meta = &store.0.meta;
        let inline = if object.inline { meta.inline(object.blob) } else { Ok(None) };
        let body = match inline {
            Ok(Some(bytes)) => Body::Inline(bytes),
            // The blob's record knows whether there are others.
            Ok(None) | Err(MetaError::Damaged(_)) => {
                Body::Stored(Arc::new(meta.blob(object.blob)?.ok_or_else(|| lost(object.blob))?))
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Self { store: store.clone(), object, pin, body })
    }

    pub fn object(&self) -> &Object {
        &self.object
    }

    pub(crate) fn pin(&self) -> Pin {
        self.pin.clone()
    }

    /// Parts of a multipart object in order; empty for one written in a single piece.
    pub fn parts(&self) -> Vec<ObjectPart> {
        let Body::Stored(record) = &self.body else { return Vec::new() };
        let Content::Parts(parts) = &record.content else { return Vec::new() };
        parts.iter().map(|p| ObjectPart { number: p.number, size: p.size, checksum: p.checksum }).collect()
    }

    /// `range` lies inside the object. The reader keeps the pin.
    pub fn read(&self, range: ByteRange) -> Reader {
        let (ready, cursor) = match &self.body {
            Body::Inline(bytes) => {
                let index = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
                let piece = bytes.slice(index(range.start)..index(range.end));
                (VecDeque::from_iter((!piece.is_empty()).then_some(piece)), None)
            }
            Body::Stored(record) => {
                let segments = segments(self.object.blob, record, range);
                (VecDeque::new(), Some(Cursor::new(Arc::clone(&self.store.0), segments)))
            }
        };
        Reader { remaining: range.len(), ready, cursor, running: None, _pin: self.pin.clone() }
    }
}

impl OpenObject {
    /// Of the blob, where it does not lie with the metadata.
    pub(crate) fn record(&self) -> Option<&Arc<BlobRecord>> {
        match &self.body {
            Body::Inline(_) => None,
            Body::Stored(record) => Some(record),
        }
    }

    /// As `read_now`, as long as the bytes lie here: `None` where a network is needed, or a second replica.
    pub fn read_here(&self, range: ByteRange) -> Result<Option<Vec<Bytes>>, StoreError> {
        let Reader { mut ready, cursor, .. } = self.read(range);
        let mut pieces: Vec<Bytes> = ready.drain(..).collect();
        let Some(mut cursor) = cursor else { return Ok(Some(pieces)) };
        while !cursor.is_done() {
            let more = cursor.step_local()?;
            if more.is_empty() {
                return Ok(None);
            }
            pieces.extend(more);
        }
        Ok(Some(pieces))
    }

    /// As `read`, for callers on threads of their own: the verified pieces of `range`, one behind
    /// the other.
    pub fn read_now(&self, range: ByteRange) -> Result<Vec<Bytes>, StoreError> {
        let Reader { mut ready, cursor, .. } = self.read(range);
        let mut pieces: Vec<Bytes> = ready.drain(..).collect();
        let Some(mut cursor) = cursor else { return Ok(pieces) };
        loop {
            let more = cursor.step_now()?;
            if more.is_empty() {
                return Ok(pieces);
            }
            pieces.extend(more);
        }
    }
}

/// The piece of one blob that a read needs.
struct Segment {
    blob: BlobId,
    range: ByteRange,
    /// Known already for a blob that is not made of others.
    record: Option<Arc<BlobRecord>>,
    /// A local step got nowhere.
    remote: bool,
}

fn segments(blob: BlobId, record: &Arc<BlobRecord>, range: ByteRange) -> VecDeque<Segment> {
    let Content::Parts(parts) = &record.content else {
        return VecDeque::from([Segment { blob, range, record: Some(Arc::clone(record)), remote: false }]);
    };
    let mut start = 0;
    let mut found = VecDeque::new();
    for part in parts {
        let end = start + part.size;
        let (from, to) = (range.start.max(start), range.end.min(end));
        if from < to {
            let range = ByteRange { start: from - start, end: to - start };
            found.push_back(Segment { blob: part.blob, range, record: None, remote: false });
        }
        start = end;
    }
    found
}

/// Where a read stands; moves to where the next step is done and back.
pub(crate) struct Cursor {
    store: Arc<Inner>,
    segments: VecDeque<Segment>,
    /// The blob of the first segment.
    blob: Option<Blob>,
    source: Option<Source>,
    /// What did not give the chunk that is wanted now.
    failed: Vec<(Target, Trouble)>,
}

impl Cursor {
    fn new(store: Arc<Inner>, segments: VecDeque<Segment>) -> Self {
        Self { store, segments, blob: None, source: None, failed: Vec::new() }
    }

    /// Over one blob whose record is known.
    pub(crate) fn over(store: Arc<Inner>, blob: BlobId, record: Arc<BlobRecord>) -> Self {
        let range = ByteRange::whole(record.size);
        Self::new(store, VecDeque::from([Segment { blob, range, record: Some(record), remote: false }]))
    }

    /// Passes over what is read already; `true` at the end.
    pub(crate) fn is_done(&mut self) -> bool {
        while self.segments.front().is_some_and(|segment| segment.range.is_empty()) {
            self.segments.pop_front();
            (self.blob, self.source) = (None, None);
            self.failed.clear();
        }
        self.segments.is_empty()
    }

    /// Whether the next step needs a network, as far as it is known without looking.
    fn is_remote(&self) -> bool {
        match (&self.source, self.segments.front()) {
            (Some(source), _) => matches!(source.opened, Opened::Stream(_)),
            (None, Some(segment)) => segment.remote,
            (None, None) => false,
        }
    }

    /// May wait for the disk.
    fn resolve(&mut self) -> Result<Option<Blob>, StoreError> {
        let Some(segment) = self.segments.front() else { return Ok(None) };
        if self.blob.is_none() {
            let id = segment.blob;
            let record = match &segment.record {
                Some(record) => Arc::clone(record),
                None => Arc::new(self.store.meta.blob(id)?.ok_or_else(|| lost(id))?),
            };
            if record.is_composite() {
                return Err(StoreError::Corrupt(format!("blob {id} is a part made of parts")));
            }
            self.blob = Some(Blob { id, record, end: segment.range.end });
        }
        Ok(self.blob.clone())
    }

    /// The next few verified pieces from local replicas. Blocks. Fewer than asked for at the end, and
    /// where a replica fails or is not local: [`Cursor::step`] goes on from there.
    fn step_local(&mut self) -> Result<Vec<Bytes>, StoreError> {
        let mut pieces = Vec::with_capacity(STEP_CHUNKS);
        while pieces.len() < STEP_CHUNKS && !self.is_done() {
            let (Some(blob), Some(chunk)) = (self.resolve()?, self.chunk()) else { break };
            if !self.failed.is_empty() || !self.open_local(&blob) {
                break;
            }
            let Some(source) = &self.source else { break };
            match blob.read_local(source, chunk) {
                Ok(Some(bytes)) => pieces.push(self.take(chunk, bytes)),
                Ok(None) => break,
                Err(trouble) => {
                    let target = source.target.clone();
                    self.give_up(&blob, target, trouble);
                    break;
                }
            }
        }
        Ok(pieces)
    }

    fn open_local(&mut self, blob: &Blob) -> bool {
        if self.source.is_some() {
            return true;
        }
        let Some(target) = blob.best(&self.store, &self.failed, None) else { return false };
        match blob.open_local(&self.store, &target) {
            Ok(opened) => self.source = opened,
            Err(trouble) => self.give_up(blob, target, trouble),
        }
        self.source.is_some()
    }

    fn give_up(&mut self, blob: &Blob, target: Target, trouble: Trouble) {
        self.store.doubt(blob.id, &target, &trouble);
        self.failed.push((target, trouble));
        self.source = None;
    }

    fn chunk(&self) -> Option<Chunk> {
        let (segment, blob) = (self.segments.front()?, self.blob.as_ref()?);
        Some(Chunk::at(segment.range.start, blob.record.size))
    }

    /// The piece of a verified chunk that is wanted.
    fn take(&mut self, chunk: Chunk, bytes: Bytes) -> Bytes {
        self.failed.clear();
        let Some(segment) = self.segments.front_mut() else { return Bytes::new() };
        let index = |at: u64| usize::try_from(at - chunk.from).expect("a chunk fits in memory");
        let piece = bytes.slice(index(segment.range.start)..index(segment.range.end.min(chunk.to)));
        segment.range.start += piece.len() as u64;
        piece
    }

    /// At least one verified piece, from wherever it can be had; none only at the end.
    pub(crate) async fn step(&mut self) -> Result<Vec<Bytes>, StoreError> {
        let mut pieces = Vec::with_capacity(STEP_CHUNKS);
        while pieces.len() < STEP_CHUNKS && !self.is_done() {
            let blob = match (&self.blob, self.segments.front().is_some_and(|s| s.record.is_some())) {
                (Some(blob), _) => Some(blob.clone()),
                (None, true) => self.resolve()?,
                // A part whose record is still on the disk: not here.
                (None, false) => break,
            };
            let (Some(blob), Some(chunk)) = (blob, self.chunk()) else { break };
            let source = self.source.take();
            let Some((source, bytes)) = blob.chunk(&self.store, source, chunk, &mut self.failed).await else {
                let (_, trouble) = self.failed.pop().ok_or_else(|| lost(blob.id))?;
                return Err(trouble.into_error(blob.id));
            };
            self.source = Some(source);
            let local =
                self.source.as_ref().is_some_and(|source| !matches!(source.opened, Opened::Stream(_)));
            pieces.push(self.take(chunk, bytes));
            if local {
                // Cheaper on a thread that may block.
                break;
            }
        }
        Ok(pieces)
    }

    /// As the steps of a reader, for callers on threads of their own.
    pub(crate) fn step_now(&mut self) -> Result<Vec<Bytes>, StoreError> {
        let runtime = self.store.runtime.clone();
        while !self.is_done() {
            let remote = self.is_remote() || !self.failed.is_empty();
            let pieces = match (&runtime, remote) {
                (Some(runtime), true) => runtime.block_on(self.step())?,
                _ => self.step_local()?,
            };
            if !pieces.is_empty() {
                return Ok(pieces);
            }
            self.note_remote();
        }
        Ok(Vec::new())
    }

    /// A local step that got nowhere has resolved what it could: from here on the other kind goes on.
    fn note_remote(&mut self) {
        if let (Some(segment), Some(blob)) = (self.segments.front_mut(), &self.blob) {
            segment.record = Some(Arc::clone(&blob.record));
            segment.remote = self.source.is_none();
        }
    }
}

type Step = JoinHandle<(Cursor, Result<Vec<Bytes>, StoreError>)>;

/// A body on its way out: pieces of up to a chunk, each verified before it is handed out.
pub struct Reader {
    remaining: u64,
    ready: VecDeque<Bytes>,
    /// At rest between two steps.
    cursor: Option<Cursor>,
    running: Option<Step>,
    _pin: Pin,
}

impl Reader {
    pub fn remaining(&self) -> u64 {
        self.remaining
    }

    /// Waits for the first piece: what cannot be read at all is refused then, and not begun and cut off.
    pub async fn begin(&mut self) -> Result<(), StoreError> {
        if let Some(first) = self.next().await {
            let first = first?;
            self.remaining += first.len() as u64;
            self.ready.push_front(first);
        }
        Ok(())
    }

    pub async fn next(&mut self) -> Option<Result<Bytes, StoreError>> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, StoreError>>> {
        loop {
            self.read_ahead();
            if let Some(piece) = self.ready.pop_front() {
                self.remaining = self.remaining.saturating_sub(piece.len() as u64);
                return Poll::Ready(Some(Ok(piece)));
            }
            let Some(step) = self.running.as_mut() else {
                return Poll::Ready((self.remaining > 0).then(|| {
                    self.remaining = 0;
                    Err(StoreError::Corrupt("the object ends before its size".to_owned()))
                }));
            };
            let Poll::Ready(ended) = StdPin::new(step).poll(cx) else { return Poll::Pending };
            self.running = None;
            match ended {
                Ok((mut cursor, Ok(pieces))) => {
                    if pieces.is_empty() {
                        cursor.note_remote();
                    }
                    self.cursor = (!cursor.is_done()).then_some(cursor);
                    self.ready.extend(pieces);
                }
                Ok((_, Err(error))) => {
                    self.remaining = 0;
                    return Poll::Ready(Some(Err(error)));
                }
                Err(error) => {
                    self.remaining = 0;
                    return Poll::Ready(Some(Err(StoreError::Storage(error.to_string()))));
                }
            }
        }
    }

    fn read_ahead(&mut self) {
        if self.ready.len() < READY_MAX
            && let Some(mut cursor) = self.cursor.take()
        {
            self.running = Some(match cursor.is_remote() || !cursor.failed.is_empty() {
                true => tokio::spawn(async move {
                    let pieces = cursor.step().await;
                    (cursor, pieces)
                }),
                false => tokio::task::spawn_blocking(move || {
                    let pieces = cursor.step_local();
                    (cursor, pieces)
                }),
            });
        }
    }
}
