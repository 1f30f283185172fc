//! Replicas in memory, for tests: the simplest thing that keeps the contract.

use crate::meter::Meter;
use crate::{
    About, Answer, Backend, BackendError, Fault, Found, Location, NewReplica, Page, Pairs, Reader, Result,
    Stored, Usage, Writer,
};
use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::future::ready;
use std::ops::Bound;
use std::sync::Arc;
use types::{BlobId, ByteRange, Timestamp};

/// Pieces that a reader hands out.
const PIECE_BYTES: usize = 256 << 10;

#[derive(Debug, Default)]
pub struct Memory(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    replicas: Mutex<BTreeMap<Location, Replica>>,
    meter: Meter,
}

#[derive(Debug, Clone)]
struct Replica {
    bytes: Bytes,
    new: NewReplica,
}

impl Replica {
    fn found(&self, location: &Location) -> Found {
        let size = self.bytes.len() as u64;
        Found { location: location.clone(), size, etag: None, modified: Timestamp::default() }
    }
}

impl Memory {
    /// What somebody else has put here; for tests of imports and reconciliations.
    pub fn put_foreign(&self, location: &str, bytes: Bytes) {
        let new = NewReplica::of(BlobId(0));
        self.0.replicas.lock().insert(Location::new(location), Replica { bytes, new });
    }

    fn get(&self, location: &Location) -> Result<Replica> {
        self.0.meter.call();
        let found = self.0.replicas.lock().get(location).cloned();
        found.ok_or_else(|| BackendError::new(Fault::Absent, location.to_string()))
    }

    fn page(&self, prefix: &str, after: Option<&Location>, limit: usize) -> Page {
        self.0.meter.call();
        let replicas = self.0.replicas.lock();
        let first = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut wanted = replicas
            .range::<Location, _>((first, Bound::Unbounded))
            .filter(|(location, _)| location.as_str().starts_with(prefix))
            .map(|(location, replica)| replica.found(location));
        let found: Vec<_> = wanted.by_ref().take(limit.max(1)).collect();
        let next = wanted.next().and(found.last()).map(|last| last.location.clone());
        Page { found, next }
    }

    fn slice(&self, location: &Location, range: ByteRange) -> Result<Bytes> {
        let bytes = self.get(location)?.bytes;
        let end = usize::try_from(range.end).ok().filter(|end| *end <= bytes.len());
        let start = usize::try_from(range.start).ok();
        let (Some(start), Some(end)) = (start, end) else {
            return Err(BackendError::new(
                Fault::Corrupt,
                format!("{} bytes, fewer than asked for", bytes.len()),
            ));
        };
        Ok(bytes.slice(start..end))
    }
}

impl Backend for Memory {
    fn locate(&self, blob: BlobId, readable: Option<&str>) -> Location {
        let readable = readable.unwrap_or_default();
        let cut = readable.floor_char_boundary(1000.min(readable.len()));
        Location::new(format!("{}.{blob}", readable.get(..cut).unwrap_or_default()))
    }

    fn leaves_traces(&self) -> bool {
        false
    }

    fn is_remote(&self) -> bool {
        false
    }

    fn begin(&self, new: NewReplica) -> Answer<'_, Box<dyn Writer>> {
        self.begin_aside(self.locate(new.blob, new.readable.as_deref()), new)
    }

    fn begin_aside(&self, location: Location, new: NewReplica) -> Answer<'_, Box<dyn Writer>> {
        let writer = MemoryWriter { inner: Arc::clone(&self.0), location, new, bytes: BytesMut::new() };
        Box::pin(ready(Ok(Box::new(writer) as Box<dyn Writer>)))
    }

    fn read<'a>(&'a self, location: &'a Location, range: ByteRange) -> Answer<'a, Box<dyn Reader>> {
        let reader = self
            .slice(location, range)
            .map(|rest| Box::new(MemoryReader { inner: Arc::clone(&self.0), rest }) as Box<dyn Reader>);
        Box::pin(ready(reader))
    }

    fn remove<'a>(&'a self, locations: &'a [Location]) -> Answer<'a, Vec<Result<()>>> {
        Box::pin(async {
            self.0.meter.call();
            self.0.replicas.lock().retain(|location, _| !locations.contains(location));
            Ok(vec![Ok(()); locations.len()])
        })
    }

    fn abandon<'a>(&'a self, location: &'a Location) -> Answer<'a, ()> {
        Box::pin(async {
            self.0.meter.call();
            self.0.replicas.lock().remove(location);
            Ok(())
        })
    }

    fn head<'a>(&'a self, location: &'a Location) -> Answer<'a, About> {
        let about = self.get(location).map(|replica| About {
            found: replica.found(location),
            headers: replica.new.headers,
            metadata: replica.new.metadata,
            identity: replica.new.identity,
        });
        Box::pin(ready(about))
    }

    fn list<'a>(&'a self, prefix: &'a str, after: Option<&'a Location>, limit: usize) -> Answer<'a, Page> {
        Box::pin(ready(Ok(self.page(prefix, after, limit))))
    }

    fn is_reserved(&self, location: &Location) -> bool {
        location.as_str().starts_with(crate::KEPT_ASIDE)
    }

    fn probe(&self) -> Answer<'_, ()> {
        Box::pin(ready(Ok(())))
    }

    fn usage(&self) -> Usage {
        self.0.meter.usage()
    }
}

struct MemoryWriter {
    inner: Arc<Inner>,
    location: Location,
    new: NewReplica,
    bytes: BytesMut,
}

impl Writer for MemoryWriter {
    fn location(&self) -> &Location {
        &self.location
    }

    fn write(&mut self, bytes: Bytes) -> Answer<'_, ()> {
        Box::pin(async move {
            self.bytes.extend_from_slice(&bytes);
            self.inner.meter.sent(bytes.len());
            self.new.must_hold_at_most(self.bytes.len() as u64)
        })
    }

    fn finish(mut self: Box<Self>, last: Pairs) -> Answer<'static, Stored> {
        Box::pin(async move {
            self.inner.meter.call();
            let size = self.bytes.len() as u64;
            self.new.must_hold(size)?;
            self.new.identity.extend(last);
            let replica = Replica { bytes: self.bytes.freeze(), new: self.new };
            self.inner.replicas.lock().insert(self.location.clone(), replica);
            Ok(Stored { location: self.location, size, etag: None })
        })
    }
}

struct MemoryReader {
    inner: Arc<Inner>,
    rest: Bytes,
}

impl Reader for MemoryReader {
    fn next(&mut self) -> Answer<'_, Option<Bytes>> {
        let piece = self.rest.split_to(PIECE_BYTES.min(self.rest.len()));
        self.inner.meter.received(piece.len());
        Box::pin(ready(Ok((!piece.is_empty()).then_some(piece))))
    }
}
