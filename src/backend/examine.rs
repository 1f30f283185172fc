//! A round trip of every call that the node will need, at a backend that somebody considers using:
//! what works, what is missing, how fast it is. Everything that was written is removed again.

use crate::{Backend, BackendError, Fault, Location, NewReplica, Reader, Result, Stored};
use bytes::Bytes;
use std::time::{Duration, Instant};
use types::{BlobId, ByteRange};

const SMALL_BYTES: usize = 4 << 10;
const PIECE_BYTES: usize = 512 << 10;
/// Small replicas of the listing and batch steps.
const MANY: usize = 12;
/// A key that servers trip over which clean paths, or decode twice.
/// Where a provider's bucket is tried.
pub(crate) const PLACE: &str = "s3-orchestrator-probe/";
const ODD_KEY: &str = "s3-orchestrator-probe/a b+c/%41&d=é/../e//f'()!";
const PLAIN_KEY: &str = "s3-orchestrator-probe/plain";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Works,
    /// The node can do without.
    Missing,
    /// The node needs it.
    Fails,
}

#[derive(Debug, Clone)]
pub struct Step {
    pub name: &'static str,
    pub verdict: Verdict,
    pub took: Duration,
    /// Of bodies that moved.
    pub bytes: u64,
    /// The error, or what should be known.
    pub note: String,
}

/// Tells of steps as they end.
pub type Report<'a> = &'a mut (dyn FnMut(Step) + Send);

/// One examination of one backend.
pub struct Examiner<'a> {
    backend: &'a dyn Backend,
    /// Ids that no blob has.
    ids: &'a mut (dyn FnMut() -> BlobId + Send),
    report: Report<'a>,
    written: Vec<Location>,
}

impl<'a> Examiner<'a> {
    pub fn new(
        backend: &'a dyn Backend,
        ids: &'a mut (dyn FnMut() -> BlobId + Send),
        report: Report<'a>,
    ) -> Self {
        Self { backend, ids, report, written: Vec::new() }
    }

    /// `large_bytes`: of the body that goes in parts.
    pub async fn run(mut self, large_bytes: usize) {
        let reached = self.step("reach", 0, self.backend.probe()).await;
        if reached.is_some() {
            self.small().await;
            self.large(large_bytes).await;
            self.odd_names().await;
            self.listing().await;
            self.unfinished().await;
            self.batch_delete().await;
        }
        self.clean_up().await;
    }

    async fn step<T>(
        &mut self,
        name: &'static str,
        bytes: usize,
        work: impl Future<Output = Result<T>>,
    ) -> Option<T> {
        let begun = Instant::now();
        let done = work.await;
        let verdict = if done.is_ok() { Verdict::Works } else { Verdict::Fails };
        let note = done.as_ref().err().map(ToString::to_string).unwrap_or_default();
        (self.report)(Step { name, verdict, took: begun.elapsed(), bytes: bytes as u64, note });
        done.ok()
    }

    fn new_replica(&mut self, key: &str, size: usize) -> NewReplica {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let new = NewReplica {
            readable: Some(key.to_owned()),
            size: Some(size as u64),
            headers: vec![pair("content-type", "application/x-probe")],
            metadata: vec![pair("mtime", "1700000000.25"), pair("title", "Größe")],
            identity: vec![pair("key", key)],
            ..NewReplica::of((self.ids)())
        };
        // Before it is written: what fails half-way is cleaned up too.
        self.written.push(self.backend.locate(new.blob, new.readable.as_deref()));
        new
    }

    async fn small(&mut self) {
        let new = self.new_replica(PLAIN_KEY, SMALL_BYTES);
        let body = content(SMALL_BYTES, 1);
        let Some(stored) = self.step("put small", SMALL_BYTES, put(self.backend, new.clone(), &body)).await
        else {
            return;
        };
        let location = &stored.location;
        let whole = ByteRange::whole(SMALL_BYTES as u64);
        self.step("get small", SMALL_BYTES, expect(self.backend, location, whole, &body)).await;
        let range = ByteRange { start: 1000, end: 1100 };
        let part = body.slice(1000..1100);
        self.step("get range", 100, expect(self.backend, location, range, &part)).await;
        self.step("head", 0, described(self.backend, &new, location)).await;
        let absent = self.backend.locate((self.ids)(), Some(PLAIN_KEY));
        self.step("head absent", 0, is_absent(self.backend, &absent)).await;
        self.step("delete", 0, remove(self.backend, std::slice::from_ref(location))).await;
        self.step("delete is seen", 0, is_absent(self.backend, location)).await;
    }

    async fn large(&mut self, size: usize) {
        let new = self.new_replica(PLAIN_KEY, size);
        let body = content(size, 2);
        let Some(stored) = self.step("put large", size, put(self.backend, new, &body)).await else { return };
        let whole = ByteRange::whole(size as u64);
        self.step("get large", size, expect(self.backend, &stored.location, whole, &body)).await;
    }

    async fn odd_names(&mut self) {
        let new = self.new_replica(ODD_KEY, SMALL_BYTES);
        let body = content(SMALL_BYTES, 3);
        let backend = self.backend;
        let round = async {
            let stored = put(backend, new, &body).await?;
            expect(backend, &stored.location, ByteRange::whole(SMALL_BYTES as u64), &body).await?;
            let page = backend.list(stored.location.as_str(), None, 10).await?;
            let listed = page.found.iter().any(|found| found.location == stored.location);
            listed.then_some(()).ok_or_else(|| wrong("the listing shows another name"))
        };
        self.step("odd names", SMALL_BYTES, round).await;
    }

    async fn listing(&mut self) {
        let mut expected = Vec::new();
        for nth in 0..MANY {
            let new = self.new_replica(&format!("{PLAIN_KEY}-{nth}"), 1);
            match put(self.backend, new, &content(1, 4)).await {
                Ok(stored) => expected.push(stored.location),
                Err(error) => {
                    self.step("list", 0, async { Err::<(), _>(error) }).await;
                    return;
                }
            }
        }
        expected.sort();
        self.step("list", 0, lists(self.backend, &expected)).await;
    }

    /// A write that is broken off leaves nothing.
    async fn unfinished(&mut self) {
        let size = 3 * (crate::PART_BYTES as usize);
        let new = self.new_replica(PLAIN_KEY, size);
        let backend = self.backend;
        let round = async {
            let location = backend.locate(new.blob, new.readable.as_deref());
            let mut writer = backend.begin(new).await?;
            for piece in pieces(&content(size / 2, 5)) {
                writer.write(piece).await?;
            }
            drop(writer);
            backend.abandon(&location).await?;
            is_absent(backend, &location).await
        };
        self.step("abort", size / 2, round).await;
    }

    async fn batch_delete(&mut self) {
        let locations = std::mem::take(&mut self.written);
        self.step("delete many", 0, remove(self.backend, &locations)).await;
        self.written = locations;
    }

    /// Once more, one by one: also what an error has hidden.
    async fn clean_up(mut self) {
        let locations = std::mem::take(&mut self.written);
        let backend = self.backend;
        let clean = async {
            for location in &locations {
                backend.abandon(location).await?;
            }
            Ok(())
        };
        self.step("clean up", 0, clean).await;
    }
}

/// Bytes that no compression shortens.
fn content(len: usize, seed: u64) -> Bytes {
    let mut state = seed;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        // SplitMix64 (Steele, Lea, Flood 2014).
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bytes.extend_from_slice(&(z ^ (z >> 31)).to_le_bytes());
    }
    bytes.truncate(len);
    Bytes::from(bytes)
}

fn pieces(body: &Bytes) -> impl Iterator<Item = Bytes> + '_ {
    (0..body.len()).step_by(PIECE_BYTES).map(|at| body.slice(at..body.len().min(at + PIECE_BYTES)))
}

fn wrong(what: &str) -> BackendError {
    BackendError::new(Fault::Corrupt, what)
}

async fn put(backend: &dyn Backend, new: NewReplica, body: &Bytes) -> Result<Stored> {
    let mut writer = backend.begin(new).await?;
    for piece in pieces(body) {
        writer.write(piece).await?;
    }
    writer.finish(Vec::new()).await
}

async fn expect(backend: &dyn Backend, location: &Location, range: ByteRange, body: &Bytes) -> Result<()> {
    let mut reader: Box<dyn Reader> = backend.read(location, range).await?;
    let mut at = 0;
    while let Some(piece) = reader.next().await? {
        if body.get(at..at + piece.len()) != Some(&piece[..]) {
            return Err(wrong("other bytes came back"));
        }
        at += piece.len();
    }
    Ok(())
}

async fn described(backend: &dyn Backend, new: &NewReplica, location: &Location) -> Result<()> {
    let about = backend.head(location).await?;
    if Some(about.found.size) != new.size {
        return Err(wrong("another size"));
    }
    let kept = |wanted: &[(String, String)], found: &[(String, String)]| {
        wanted.iter().all(|pair| found.contains(pair))
    };
    match kept(&new.headers, &about.headers) && kept(&new.metadata, &about.metadata) {
        true => Ok(()),
        false => Err(wrong("headers or metadata were not kept")),
    }
}

async fn is_absent(backend: &dyn Backend, location: &Location) -> Result<()> {
    match backend.head(location).await {
        Err(error) if error.fault == Fault::Absent => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Err(wrong("it is there")),
    }
}

async fn remove(backend: &dyn Backend, locations: &[Location]) -> Result<()> {
    backend.remove(locations).await?.into_iter().collect()
}

/// In pages, so that going on is tried too.
async fn lists(backend: &dyn Backend, expected: &[Location]) -> Result<()> {
    let mut missing: std::collections::BTreeSet<_> = expected.iter().collect();
    let mut after = None;
    for _ in 0..10_000 {
        let page = backend.list("", after.as_ref(), MANY / 2).await?;
        for found in &page.found {
            missing.remove(&found.location);
        }
        match page.next {
            Some(next) if !missing.is_empty() => after = Some(next),
            _ => break,
        }
    }
    missing.is_empty().then_some(()).ok_or_else(|| wrong("what was written is not in the listing"))
}
