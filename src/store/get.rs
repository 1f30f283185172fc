//! HeadObject and GetObject: a record, a pin, a stream of verified pieces.

use bytes::Bytes;
use meta::{BlobRecord, CHUNK_BYTES, Content, EngineError, MetaError};
use std::collections::VecDeque;
use std::future::Future as _;
use std::pin::Pin as StdPin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::task::JoinHandle;
use types::checksum::chunk_sum;
use types::{BlobId, BucketId, ByteRange, Key};

use crate::pins::Pin;
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

/// An object as it was when it was opened, whatever happens to its key.
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
        let body = if object.inline {
            Body::Inline(meta.inline(object.blob)?.ok_or_else(|| lost(object.blob))?)
        } else {
            Body::Stored(Arc::new(meta.blob(object.blob)?.ok_or_else(|| lost(object.blob))?))
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
                (VecDeque::new(), Some(Cursor { store: Arc::clone(&self.store.0), segments, open: None }))
            }
        };
        Reader { remaining: range.len(), ready, cursor, running: None, _pin: self.pin.clone() }
    }
}

impl OpenObject {
    /// Of the blob, where it does not lie with the metadata.
    pub(crate) fn record(&self) -> Option<&BlobRecord> {
        match &self.body {
            Body::Inline(_) => None,
            Body::Stored(record) => Some(record),
        }
    }

    /// As `read`, for callers on threads of their own: the verified pieces of `range`, one behind
    /// the other.
    pub fn read_now(&self, range: ByteRange) -> Result<Vec<Bytes>, StoreError> {
        let Reader { mut ready, cursor, .. } = self.read(range);
        let mut pieces: Vec<Bytes> = ready.drain(..).collect();
        let Some(mut cursor) = cursor else { return Ok(pieces) };
        loop {
            let more = cursor.step()?;
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
}

fn segments(blob: BlobId, record: &Arc<BlobRecord>, range: ByteRange) -> VecDeque<Segment> {
    let Content::Parts(parts) = &record.content else {
        return VecDeque::from([Segment { blob, range, record: Some(Arc::clone(record)) }]);
    };
    let mut start = 0;
    let mut found = VecDeque::new();
    for part in parts {
        let end = start + part.size;
        let (from, to) = (range.start.max(start), range.end.min(end));
        if from < to {
            let range = ByteRange { start: from - start, end: to - start };
            found.push_back(Segment { blob: part.blob, range, record: None });
        }
        start = end;
    }
    found
}

/// Where a read stands; moves to the thread that reads and back.
struct Cursor {
    store: Arc<Inner>,
    segments: VecDeque<Segment>,
    open: Option<OpenBlob>,
}

struct OpenBlob {
    blob: BlobId,
    size: u64,
    record: Arc<BlobRecord>,
    bytes: BlobBytes,
}

enum BlobBytes {
    Inline(Bytes),
    File(backend::StoredFile),
}

impl Cursor {
    /// The next few verified pieces; fewer than asked for only at the end.
    fn step(&mut self) -> Result<Vec<Bytes>, StoreError> {
        let mut pieces = Vec::with_capacity(STEP_CHUNKS);
        while pieces.len() < STEP_CHUNKS {
            let Some(segment) = self.segments.front_mut().filter(|s| !s.range.is_empty()) else {
                if self.segments.pop_front().is_none() {
                    break;
                }
                self.open = None;
                continue;
            };
            let opened = match self.open.take() {
                Some(opened) => opened,
                None => open_blob(&self.store, segment)?,
            };
            let piece = opened.read(segment.range)?;
            segment.range.start += piece.len() as u64;
            self.open = Some(opened);
            pieces.push(piece);
        }
        Ok(pieces)
    }
}

fn open_blob(inner: &Inner, segment: &Segment) -> Result<OpenBlob, StoreError> {
    let blob = segment.blob;
    let record = match &segment.record {
        Some(record) => Arc::clone(record),
        None => Arc::new(inner.meta.blob(blob)?.ok_or_else(|| lost(blob))?),
    };
    let inline = match &record.content {
        Content::Bytes { replicas, .. } => replicas.iter().any(|r| r.place == meta::Place::Inline),
        Content::Parts(_) => return Err(StoreError::Corrupt(format!("blob {blob} is a part made of parts"))),
    };
    let bytes = if inline {
        BlobBytes::Inline(inner.meta.inline(blob)?.ok_or_else(|| lost(blob))?)
    } else {
        BlobBytes::File(inner.local.get(blob)?)
    };
    Ok(OpenBlob { blob, size: record.size, record, bytes })
}

impl OpenBlob {
    /// From the range's start to the end of its chunk, verified as a whole chunk.
    fn read(&self, range: ByteRange) -> Result<Bytes, StoreError> {
        let chunk = range.start / CHUNK_BYTES;
        let (from, to) = (chunk * CHUNK_BYTES, ((chunk + 1) * CHUNK_BYTES).min(self.size));
        let index = |at: u64| usize::try_from(at - from).expect("a chunk fits in memory");
        let inside = index(range.start)..index(range.end.min(to));
        match &self.bytes {
            // Verified when it was fetched.
            BlobBytes::Inline(bytes) => Ok(bytes.slice(inside)),
            BlobBytes::File(file) => {
                let mut buffer = vec![0; index(to)];
                file.read_exact_at(&mut buffer, from)?;
                self.verify(chunk, &buffer)?;
                Ok(Bytes::from(buffer).slice(inside))
            }
        }
    }

    fn verify(&self, chunk: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let Content::Bytes { sums, .. } = &self.record.content else { return Err(lost(self.blob)) };
        let wanted = usize::try_from(chunk).ok().and_then(|chunk| sums.get(chunk));
        if wanted == Some(&chunk_sum(bytes)) {
            return Ok(());
        }
        tracing::error!(blob = %self.blob, chunk, "stored bytes fail their checksum");
        Err(StoreError::Corrupt(format!("chunk {chunk} of blob {} fails its checksum", self.blob)))
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
                Ok((cursor, Ok(pieces))) => {
                    self.cursor = Some(cursor).filter(|_| !pieces.is_empty());
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
            self.running = Some(tokio::task::spawn_blocking(move || {
                let pieces = cursor.step();
                (cursor, pieces)
            }));
        }
    }
}
