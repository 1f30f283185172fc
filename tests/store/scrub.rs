//! Every copy is verified in time, the longest unverified first; what is bad is made good, the last one kept.

use backend::{Backend, Call, Fault, Memory, Trouble};
use bytes::Bytes;
use std::time::Duration;
use store::{Acknowledge, BackendOptions, Pace, Placement, ScrubOrder, ScrubStep, Store};
use types::Timestamp;

use crate::fleet::{Troubled, get, names, policy, put, rig, settle};
use crate::rig::{advance, content, now, runtime};

const LARGE: u64 = 300_000;

fn order(before: Timestamp) -> ScrubOrder {
    ScrubOrder { backend: None, before, remote: true }
}

/// Everything that is due; what was found.
async fn scrub(store: &Store, order: &ScrubOrder) -> ScrubStep {
    let mut due = store.scrub_due(order).await.unwrap();
    let mut all = ScrubStep::default();
    while !due.is_done() {
        let step = store.scrub_step(&mut due, &Pace::new(None)).await.unwrap();
        all.verified += step.verified;
        all.bytes += step.bytes;
        all.unread += step.unread;
        all.bad.extend(step.bad);
    }
    all
}

/// One byte of what lies there is another one now.
async fn flip(memory: &Memory, location: &str) {
    let location = backend::Location::new(location);
    let size = memory.head(&location).await.unwrap().found.size;
    let mut reader = memory.read(&location, types::ByteRange::whole(size)).await.unwrap();
    let mut bytes = Vec::new();
    while let Some(piece) = reader.next().await.unwrap() {
        bytes.extend_from_slice(&piece);
    }
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    memory.put_foreign(location.as_str(), Bytes::from(bytes));
}

fn two_and_embedded() -> (Troubled, Troubled, crate::rig::Rig) {
    let (a, b) = (Troubled::new("a"), Troubled::new("b"));
    let backends = vec![BackendOptions::embedded("local"), a.options(), b.options()];
    let rig = rig(backends, policy(3, Acknowledge::All, Placement::Pack));
    (a, b, rig)
}

#[test]
fn a_scrub_reads_every_copy_once_in_a_period_and_the_oldest_first() {
    let (_, _, rig) = two_and_embedded();
    let (store, bucket) = rig.open();
    runtime().block_on(async {
        for (n, len) in [10, LARGE, 0, LARGE].into_iter().enumerate() {
            put(&store, bucket, &format!("k{n}"), content(n as u64, len)).await.unwrap();
            advance(Duration::from_secs(60));
        }
        let begun = now();
        let due = store.scrub_due(&order(begun.saturating_sub_ms(150_000))).await.unwrap();
        assert_eq!((due.replicas, due.bytes), (6, 3 * (10 + LARGE)), "the first two are due");
        let all = scrub(&store, &order(begun)).await;
        assert_eq!((all.verified, all.bytes), (12, 3 * (10 + 2 * LARGE)));
        assert!(all.bad.is_empty() && all.unread == 0, "{all:?}");
        let due = store.scrub_due(&order(begun)).await.unwrap();
        assert_eq!((due.replicas, due.is_done(), due.next), (0, true, Some(begun)));
        let figures = store.figures().await.unwrap().scrub;
        assert_eq!((figures.replicas, figures.mismatches), (12, 0));
        store.close().await;
    });
}

#[test]
fn a_flipped_byte_is_found_and_made_good_and_a_missing_copy_too() {
    let (a, b, rig) = two_and_embedded();
    let (store, bucket) = rig.open();
    runtime().block_on(async {
        for len in [100, LARGE, 0] {
            put(&store, bucket, &format!("k{len}"), content(1, len)).await.unwrap();
        }
        let (of_a, of_b) = (a.locations().await, b.locations().await);
        for location in &of_a {
            match a.backend.inner().head(&backend::Location::new(location.as_str())).await.unwrap().found.size
            {
                0 => drop(a.backend.inner().remove(&[backend::Location::new(location.as_str())]).await),
                _ => flip(a.backend.inner(), location).await,
            }
        }
        advance(Duration::from_secs(10));
        let all = scrub(&store, &order(now())).await;
        assert_eq!((all.verified, all.bad.len()), (6, 3), "{all:?}");
        assert!(all.bad.iter().all(|bad| bad.backend == "a" && bad.replaceable), "{all:?}");
        settle(&store).await;
        for len in [100, LARGE, 0] {
            let name = format!("k{len}");
            assert_eq!(names(&store, bucket, &name).await.len(), 3, "{name}");
            assert_eq!(get(&store, bucket, &name).await.unwrap(), content(1, len));
        }
        assert!(a.locations().await.is_disjoint(&of_a), "under new names");
        assert_eq!(b.locations().await, of_b);
        advance(Duration::from_secs(10));
        let again = scrub(&store, &order(now())).await;
        assert_eq!((again.verified, again.bad.len()), (9, 0), "{again:?}");
        store.close().await;
    });
    drop(store);
    assert_eq!(rig.fsck().1, []);
}

#[test]
fn the_last_copy_is_kept_however_bad_it_is_and_believed_again_when_it_is_good() {
    let a = Troubled::new("a");
    let rig = rig(vec![a.options()], policy(1, Acknowledge::All, Placement::Pack));
    let (store, bucket) = rig.open();
    runtime().block_on(async {
        put(&store, bucket, "k", content(1, LARGE)).await.unwrap();
        advance(Duration::from_secs(10));
        a.script.always(Call::Next, Trouble::WrongByte);
        let all = scrub(&store, &order(now())).await;
        assert!(all.bad.len() == 1 && !all.bad[0].replaceable, "{all:?}");
        settle(&store).await;
        assert_eq!(a.locations().await.len(), 1);
        assert_eq!(names(&store, bucket, "k").await.len(), 0);
        assert!(store.scrub_due(&order(now())).await.unwrap().is_done(), "looked at, and not again at once");
        a.script.clear();
        advance(Duration::from_secs(10));
        assert_eq!(scrub(&store, &order(now())).await.verified, 1);
        assert_eq!(names(&store, bucket, "k").await.len(), 1);
        // A backend that is away says nothing of its copies.
        advance(Duration::from_secs(10));
        a.script.always(Call::Read, Trouble::Fail(Fault::Unavailable));
        let all = scrub(&store, &order(now())).await;
        assert_eq!((all.unread, all.bad.len()), (1, 0), "{all:?}");
        assert_eq!(names(&store, bucket, "k").await.len(), 1);
        store.close().await;
    });
}

#[test]
fn a_scrub_keeps_its_pace() {
    let a = Troubled::new("a");
    let rig = rig(vec![a.options()], policy(1, Acknowledge::All, Placement::Pack));
    let (store, bucket) = rig.open();
    runtime().block_on(async {
        for n in 0..3 {
            put(&store, bucket, &format!("k{n}"), content(n, LARGE)).await.unwrap();
        }
        advance(Duration::from_secs(10));
        let begun = std::time::Instant::now();
        let mut due = store.scrub_due(&order(now())).await.unwrap();
        store.scrub_step(&mut due, &Pace::new(Some(3_000_000))).await.unwrap();
        assert!(begun.elapsed() >= Duration::from_millis(295), "{:?}", begun.elapsed());
        store.close().await;
    });
}

#[test]
fn fsck_reads_what_lies_on_other_backends() {
    let (a, _, rig) = two_and_embedded();
    let (store, bucket) = rig.open();
    runtime().block_on(async {
        put(&store, bucket, "k", content(1, LARGE)).await.unwrap();
        store.close().await;
        for location in a.locations().await {
            flip(a.backend.inner(), &location).await;
        }
    });
    drop(store);
    let (_, found) = rig.fsck();
    assert!(
        matches!(&found[..], [store::Difference::DamagedReplica { backend, .. }] if backend == "a"),
        "{found:?}"
    );
    let (_, found) = rig.fsck_and(store::FsckOptions::default());
    assert_eq!(found, [], "only with --verify");
}
