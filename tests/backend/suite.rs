//! What the trait promises, asked of any backend.

use backend::{Backend, BackendError, Fault, Location, NewReplica, Result, Stored};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use testkit::{Rng, Seed};
use types::{BlobId, ByteRange};

/// What a kind may differ in.
#[derive(Debug, Clone, Copy)]
pub struct Traits {
    /// Bodies above this go in parts.
    pub part_bytes: u64,
    /// Headers, metadata and identity come back from `head`.
    pub describes: bool,
    /// Names are made from `readable`.
    pub readable: bool,
    /// Metadata of large bodies comes back too.
    pub describes_large: bool,
}

pub const PART: u64 = 5 << 20;
static NEXT: AtomicU64 = AtomicU64::new(1);

pub fn new_blob() -> BlobId {
    BlobId(NEXT.fetch_add(1, Ordering::Relaxed) * 0x9e37 + 0x1234_5678)
}

/// Bytes that depend on every position.
pub fn body(blob: BlobId, size: u64) -> Bytes {
    let mut rng = Rng::new(blob.0);
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap() + 8);
    while (bytes.len() as u64) < size {
        bytes.extend_from_slice(&rng.next().to_le_bytes());
    }
    bytes.truncate(usize::try_from(size).unwrap());
    Bytes::from(bytes)
}

pub async fn put(backend: &dyn Backend, new: NewReplica, bytes: &Bytes) -> Result<Stored> {
    let location = backend.locate(new.blob, new.readable.as_deref());
    let mut writer = backend.begin(new).await?;
    assert_eq!(*writer.location(), location, "the location is known before the first byte");
    for piece in pieces(bytes) {
        writer.write(piece).await?;
    }
    let stored = writer.finish(Vec::new()).await?;
    assert_eq!((&stored.location, stored.size), (&location, bytes.len() as u64));
    Ok(stored)
}

fn pieces(bytes: &Bytes) -> impl Iterator<Item = Bytes> + '_ {
    const PIECE: usize = 300_000;
    (0..bytes.len()).step_by(PIECE).map(|start| bytes.slice(start..bytes.len().min(start + PIECE)))
}

pub async fn get(backend: &dyn Backend, location: &Location, range: ByteRange) -> Result<Vec<u8>> {
    let mut reader = backend.read(location, range).await?;
    let mut bytes = Vec::new();
    while let Some(piece) = reader.next().await? {
        assert!(!piece.is_empty(), "a piece is never empty");
        bytes.extend_from_slice(&piece);
    }
    assert_eq!(bytes.len() as u64, range.len(), "a body that ends is whole");
    Ok(bytes)
}

pub async fn everything(backend: &dyn Backend, prefix: &str) -> Vec<Location> {
    let (mut all, mut after) = (Vec::new(), None);
    for _ in 0..1000 {
        let page = backend.list(prefix, after.as_ref(), 1000).await.unwrap();
        all.extend(page.found.into_iter().map(|found| found.location));
        match page.next {
            Some(next) => after = Some(next),
            None => return all,
        }
    }
    panic!("a listing without end");
}

pub fn fault<T: std::fmt::Debug>(result: Result<T>) -> Fault {
    match result {
        Err(BackendError { fault, .. }) => fault,
        Ok(value) => panic!("succeeded: {value:?}"),
    }
}

fn named(blob: BlobId, key: &str) -> NewReplica {
    NewReplica { readable: Some(format!("suite/{key}")), ..NewReplica::of(blob) }
}

/// All of it.
pub async fn conforms(backend: Arc<dyn Backend>, traits: Traits) {
    let backend = &*backend;
    backend.probe().await.expect("the backend is there");
    assert_eq!(everything(backend, "").await, [], "the suite begins with nothing");
    bodies_come_back(backend, traits).await;
    ranges_come_back(backend).await;
    absent_is_said(backend).await;
    odd_names_hold(backend, traits).await;
    replicas_describe_themselves(backend, traits).await;
    listings_are_exact(backend).await;
    promises_of_size_are_held(backend).await;
    abandoned_writes_leave_nothing(backend, traits).await;
    many_are_removed_at_once(backend).await;
    writers_do_not_disturb_each_other(backend).await;
    assert_eq!(everything(backend, "").await, [], "the suite ends with nothing");
    assert_eq!(backend.unfinished("", 100).await.unwrap(), []);
    let usage = backend.usage();
    assert!(usage.calls > 0 && usage.ingress_bytes > 0 && usage.egress_bytes > 0, "{usage:?}");
}

async fn bodies_come_back(backend: &dyn Backend, traits: Traits) {
    let part = traits.part_bytes;
    for (size, told) in [
        (0, true),
        (0, false),
        (1, true),
        (70_000, false),
        (part, true),
        (part, false),
        (part + 1, true),
        (2 * part, false),
        (3 * part - 1, true),
    ] {
        let blob = new_blob();
        let bytes = body(blob, size);
        let new = NewReplica { size: told.then_some(size), ..named(blob, "body") };
        let stored = put(backend, new, &bytes).await.unwrap_or_else(|e| panic!("{size} bytes: {e}"));
        let read = get(backend, &stored.location, ByteRange::whole(size)).await.unwrap();
        assert!(read == bytes, "{size} bytes came back different");
        assert_eq!(backend.head(&stored.location).await.unwrap().found.size, size);
        if let Some(file) = backend.open_file(&stored.location) {
            let mut direct = vec![0; bytes.len()];
            file.unwrap().read_exact_at(&mut direct, 0).unwrap();
            assert!(direct == bytes, "{size} bytes of the file are different");
        }
        backend.remove(&[stored.location]).await.unwrap().remove(0).unwrap();
    }
}

async fn ranges_come_back(backend: &dyn Backend) {
    let blob = new_blob();
    let bytes = body(blob, 1_000_000);
    let location = put(backend, named(blob, "ranges"), &bytes).await.unwrap().location;
    let mut rng = Rng::new(Seed::new().value());
    for _ in 0..20 {
        let start = rng.below(1_000_000);
        let end = start + 1 + rng.below(1_000_000 - start);
        let read = get(backend, &location, ByteRange { start, end }).await.unwrap();
        assert!(read == bytes[start as usize..end as usize], "{start}..{end}");
    }
    assert!(get(backend, &location, ByteRange { start: 7, end: 7 }).await.unwrap().is_empty());
    for beyond in [ByteRange { start: 0, end: 1_000_001 }, ByteRange { start: 1_000_000, end: 1_000_001 }] {
        assert_eq!(fault(get(backend, &location, beyond).await), Fault::Corrupt, "{beyond:?}");
    }
    backend.remove(&[location]).await.unwrap().remove(0).unwrap();
}

async fn absent_is_said(backend: &dyn Backend) {
    let location = backend.locate(new_blob(), Some("suite/absent"));
    assert_eq!(fault(backend.head(&location).await), Fault::Absent);
    assert_eq!(fault(get(backend, &location, ByteRange::whole(1)).await), Fault::Absent);
    backend.remove(std::slice::from_ref(&location)).await.unwrap().remove(0).expect("absent is removed");
    backend.abandon(&location).await.expect("nothing is abandoned");
}

/// Keys that some server somewhere trips over.
pub fn odd_keys() -> Vec<String> {
    let mut keys: Vec<String> = [
        "plain.txt",
        "a b+c&d=e;f,g@h$i!j'k(l)m",
        "ü/日本語/🎉",
        "e\u{301} and é",
        "//",
        "/leading",
        "trailing/",
        "a//b",
        "./dot/../dotdot/.",
        "..",
        "back\\slash",
        "%41%2F%",
        "quote\"<tag>&amp;'",
        "hash#question?star*colon:pipe|",
        "tilde~caret^tick`brace{}[]",
        "tab\tnewline\nreturn\r",
        "control\u{1}\u{7f}",
        ".hidden",
        " blank ends ",
        "con/nul/aux",
    ]
    .map(str::to_owned)
    .into();
    keys.extend(["k".repeat(1024), "ü".repeat(512), "d/".repeat(512), "%".repeat(1024), "s".repeat(300)]);
    keys
}

async fn odd_names_hold(backend: &dyn Backend, traits: Traits) {
    let mut expected = Vec::new();
    for key in odd_keys() {
        let blob = new_blob();
        let bytes = body(blob, 10);
        let location =
            put(backend, named(blob, &key), &bytes).await.unwrap_or_else(|e| panic!("{key:?}: {e}")).location;
        assert!(location.as_str().len() <= backend::MAX_LOCATION_BYTES);
        assert_eq!(get(backend, &location, ByteRange::whole(10)).await.unwrap(), bytes, "{key:?}");
        let again = backend.locate(new_blob(), Some(&format!("suite/{key}")));
        assert_ne!(again, location, "another write of {key:?} has another place");
        expected.push(location);
    }
    if traits.readable {
        assert!(expected[0].as_str().starts_with("suite/plain.txt"), "{}", expected[0]);
    }
    expected.sort();
    assert_eq!(everything(backend, "").await, expected);
    for location in &expected {
        assert_eq!(backend.head(location).await.unwrap().found.location, *location);
    }
    let removed = backend.remove(&expected).await.unwrap();
    assert_eq!(removed, vec![Ok(()); expected.len()]);
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

async fn replicas_describe_themselves(backend: &dyn Backend, traits: Traits) {
    if !traits.describes {
        return;
    }
    for size in [100, traits.part_bytes + 1] {
        if size > 100 && !traits.describes_large {
            continue;
        }
        let new = NewReplica {
            size: Some(size),
            headers: vec![
                pair("cache-control", "max-age=5"),
                pair("content-type", "text/plain; charset=utf-8"),
            ],
            metadata: vec![pair("mtime", "1700000000.5"), pair("title", "Größe, with blanks")],
            identity: vec![pair("bucket", "suite"), pair("key", "d/ü\nx"), pair("size", &size.to_string())],
            ..named(new_blob(), "described")
        };
        let bytes = body(new.blob, size);
        let location = put(backend, new.clone(), &bytes).await.unwrap().location;
        let mut about = backend.head(&location).await.unwrap();
        for pairs in [&mut about.headers, &mut about.metadata, &mut about.identity] {
            pairs.sort();
        }
        for header in &new.headers {
            assert!(about.headers.contains(header), "{header:?} is not in {:?}", about.headers);
        }
        assert_eq!(about.metadata, new.metadata);
        assert_eq!(about.identity, new.identity);
        backend.remove(&[location]).await.unwrap().remove(0).unwrap();
    }
}

async fn listings_are_exact(backend: &dyn Backend) {
    let mut expected = Vec::new();
    for nth in 0..25 {
        let blob = new_blob();
        let location =
            put(backend, named(blob, &format!("list/{nth}")), &body(blob, nth)).await.unwrap().location;
        expected.push((location, nth));
    }
    expected.sort();
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = backend.list("", after.as_ref(), 7).await.unwrap();
        assert!(page.found.len() <= 7, "no more than was asked for");
        seen.extend(page.found.into_iter().map(|found| (found.location, found.size)));
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(seen, expected);
    let (middle, _) = &expected[12];
    let cut = &middle.as_str()[..middle.as_str().len() - 3];
    let below: Vec<_> =
        expected.iter().map(|(l, _)| l).filter(|l| l.as_str().starts_with(cut)).cloned().collect();
    assert_eq!(everything(backend, cut).await, below);
    let locations: Vec<_> = expected.into_iter().map(|(location, _)| location).collect();
    backend.remove(&locations).await.unwrap();
}

async fn promises_of_size_are_held(backend: &dyn Backend) {
    for (promised, written) in [(10, 11), (10, 9), (0, 1), (1, 0)] {
        let new = NewReplica { size: Some(promised), ..named(new_blob(), "promise") };
        let location = backend.locate(new.blob, new.readable.as_deref());
        assert_eq!(fault(put(backend, new, &body(BlobId(1), written)).await), Fault::Corrupt);
        backend.abandon(&location).await.unwrap();
        assert_eq!(fault(backend.head(&location).await), Fault::Absent);
    }
}

async fn abandoned_writes_leave_nothing(backend: &dyn Backend, traits: Traits) {
    for (size, written) in [(100, 50), (3 * traits.part_bytes, 2 * traits.part_bytes + 1)] {
        let new = NewReplica { size: Some(size), ..named(new_blob(), "abandoned") };
        let location = backend.locate(new.blob, new.readable.as_deref());
        let mut writer = backend.begin(new).await.unwrap();
        for piece in pieces(&body(BlobId(2), written)) {
            writer.write(piece).await.unwrap();
        }
        assert_eq!(fault(backend.head(&location).await), Fault::Absent, "nothing is there before `finish`");
        drop(writer);
        // What is under way in the background has ended by then, or abandon comes again.
        for _ in 0..100 {
            backend.abandon(&location).await.unwrap();
            if backend.unfinished("", 100).await.unwrap().is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(fault(backend.head(&location).await), Fault::Absent);
        assert_eq!(everything(backend, "").await, []);
    }
    let blob = new_blob();
    let stored = put(backend, named(blob, "finished"), &body(blob, 5)).await.unwrap();
    let before = backend.usage().calls;
    backend.abandon(&stored.location).await.unwrap();
    is_no_dearer(backend, before, backend.calls_to_abandon());
    assert_eq!(fault(backend.head(&stored.location).await), Fault::Absent);
}

/// Who keeps to a number of calls a second knows what it orders.
fn is_no_dearer(backend: &dyn Backend, before: u64, announced: u64) {
    let made = backend.usage().calls - before;
    assert!((1..=announced).contains(&made), "{made} calls were made, {announced} announced");
}

async fn many_are_removed_at_once(backend: &dyn Backend) {
    let mut locations = Vec::new();
    for nth in 0..30 {
        let blob = new_blob();
        locations
            .push(put(backend, named(blob, &format!("many/{nth}")), &body(blob, 3)).await.unwrap().location);
        locations.push(backend.locate(new_blob(), Some("suite/never-written")));
    }
    let kept = locations.remove(0);
    let before = backend.usage().calls;
    assert_eq!(backend.remove(&locations).await.unwrap(), vec![Ok(()); 59]);
    is_no_dearer(backend, before, backend.calls_to_remove(59));
    assert_eq!(everything(backend, "").await, std::slice::from_ref(&kept));
    backend.remove(&[kept]).await.unwrap().remove(0).unwrap();
}

async fn writers_do_not_disturb_each_other(backend: &dyn Backend) {
    let write = |nth: u64| async move {
        let blob = new_blob();
        let size = 100_000 * nth;
        let bytes = body(blob, size);
        let new = NewReplica { size: Some(size), ..named(blob, "same") };
        let location = put(backend, new, &bytes).await.unwrap().location;
        let read = get(backend, &location, ByteRange::whole(size)).await.unwrap();
        assert!(read == bytes, "writer {nth}");
        location
    };
    let locations = futures_util::future::join_all((0..8).map(write)).await;
    backend.remove(&locations).await.unwrap();
}
