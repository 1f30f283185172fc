//! Work that no client waits for calls a backend no oftener than it may.

use backend::Backend;
use std::time::{Duration, Instant};
use store::{
    Acknowledge, BackendOptions, DeleteRequest, Pace, Placement, Rebalance, ScrubOrder, Settings, Store,
};

use crate::fleet::{Troubled, audit, names, policy, put, rig, settle};
use crate::restore::snapshot;
use crate::rig::{EXPIRY, MAX_OBJECT_BYTES, Rig, advance, content, key, now, runtime};

const CALLS_PER_SECOND: u64 = 10;
const OBJECTS: u64 = 15;
/// More than one look at the cleanup queue sees.
const MANY: u64 = 600;
const ONE: Acknowledge = Acknowledge::Replicas(1);

fn capped(troubled: &Troubled, calls: Option<u64>) -> BackendOptions {
    let mut options = troubled.options();
    options.copy_calls_per_second = calls;
    options
}

async fn change(store: &Store, rig: &Rig, copies: u32, backends: Vec<BackendOptions>) {
    let mut buckets = rig.options.buckets.clone();
    buckets.iter_mut().for_each(|bucket| bucket.policy = policy(copies, ONE, Placement::Pack));
    let (max_object_size_bytes, multipart_expiry) = (MAX_OBJECT_BYTES, EXPIRY);
    let settings = Settings { buckets, backends, max_object_size_bytes, multipart_expiry };
    store.change(settings).await.unwrap();
}

async fn scrub(store: &Store) {
    advance(Duration::from_secs(10));
    let order = ScrubOrder { backend: Some("b".to_owned()), before: now(), remote: true };
    let mut due = store.scrub_due(&order).await.unwrap();
    while !due.is_done() {
        store.scrub_step(&mut due, &Pace::new(None)).await.unwrap();
    }
}

/// How many calls `b` got meanwhile, and how long that took.
async fn count(b: &Troubled, work: impl Future<Output = ()>) -> (u64, Duration) {
    let (begun, before) = (Instant::now(), b.backend.usage().calls);
    work.await;
    (b.backend.usage().calls - before, begun.elapsed())
}

fn is_within(what: &str, (calls, time): (u64, Duration)) {
    assert!(calls >= OBJECTS, "{what}: {calls} calls in {time:?}");
    is_no_more(what, calls, time);
}

fn is_no_more(what: &str, calls: u64, time: Duration) {
    // A quarter of a second may have been saved up.
    let most = (time.as_secs_f64() + 0.25) * CALLS_PER_SECOND as f64 + 1.0;
    assert!(calls as f64 <= most, "{what}: {calls} calls in {time:?}");
}

#[test]
fn copies_scrub_and_rebalance_keep_to_the_calls_a_second_of_a_backend() {
    let (a, b) = (Troubled::new("a"), Troubled::new("b"));
    let cap = Some(CALLS_PER_SECOND);
    let rig = rig(vec![a.options(), capped(&b, cap)], policy(1, ONE, Placement::Pack));
    let (store, bucket) = rig.open();
    runtime().block_on(async {
        for n in 0..OBJECTS {
            put(&store, bucket, &format!("k{n}"), content(n, 40_000)).await.unwrap();
        }
        assert_eq!((a.locations().await.len(), b.backend.usage().calls), (15, 0));
        change(&store, &rig, 2, vec![a.options(), capped(&b, cap)]).await;
        audit(&store).await;
        is_within("copies", count(&b, settle(&store)).await);
        assert_eq!(names(&store, bucket, "k7").await.len(), 2);
        is_within("scrub", count(&b, scrub(&store)).await);

        // From the next call on.
        change(&store, &rig, 2, vec![a.options(), capped(&b, None)]).await;
        let (calls, time) = count(&b, scrub(&store)).await;
        assert!(calls >= OBJECTS && time < Duration::from_secs(1), "{calls} calls in {time:?}");

        change(&store, &rig, 1, vec![a.options(), capped(&b, None)]).await;
        audit(&store).await;
        settle(&store).await;
        assert_eq!(b.locations().await.len(), 0);
        change(&store, &rig, 1, vec![capped(&b, cap), a.options()]).await;
        let asked = Rebalance { strategy: Placement::Pack, threshold_percent: 0 };
        let moving = async {
            let mut after = None;
            loop {
                after = store.rebalance_step(asked, after).await.unwrap().next;
                if after.is_none() {
                    break;
                }
            }
        };
        is_within("rebalance", count(&b, moving).await);
        assert_eq!(b.locations().await.len(), 15);
        // A client is not held up by it.
        let begun = Instant::now();
        for n in 0..2 * OBJECTS {
            put(&store, bucket, &format!("c{n}"), content(n, 10)).await.unwrap();
        }
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        settle(&store).await;
        store.close().await;
    });
    drop(store);
    assert_eq!(rig.fsck().1, []);
}

#[test]
fn deletions_keep_to_the_calls_a_second_of_a_backend_and_hold_up_no_other() {
    let (a, b) = (Troubled::new("a"), Troubled::new("b"));
    let cap = Some(CALLS_PER_SECOND);
    let rig = rig(vec![capped(&b, cap), a.options()], policy(1, ONE, Placement::Pack));
    let (store, bucket) = rig.open();
    let delete = async |name: &str| {
        store.delete(bucket, DeleteRequest { key: key(name), if_match: None }).await.unwrap();
    };
    runtime().block_on(async {
        for n in 0..MANY {
            put(&store, bucket, &format!("k{n}"), content(n, 10)).await.unwrap();
        }
        change(&store, &rig, 1, vec![a.options(), capped(&b, cap)]).await;
        put(&store, bucket, "other", content(MANY, 10)).await.unwrap();
        assert_eq!((a.locations().await.len(), b.locations().await.len() as u64), (1, MANY));
        for n in 0..MANY {
            delete(&format!("k{n}")).await;
        }
        delete("other").await;
        let (begun, mut gone) = (Instant::now(), 0);
        while gone < OBJECTS {
            store.cleanup_pass().await.unwrap();
            gone = MANY - b.locations().await.len() as u64;
            is_no_more("deletions", gone, begun.elapsed());
            assert_eq!(a.locations().await.len(), 0, "what lies behind them, on another backend");
            assert!(begun.elapsed() < Duration::from_secs(30), "{gone} deletions");
        }
        // Those that wait were not tried: nothing puts them off when they may be.
        change(&store, &rig, 1, vec![a.options(), capped(&b, None)]).await;
        settle(&store).await;
        assert_eq!((b.locations().await.len(), store.cleanup_queue(1).await.unwrap().len()), (0, 0));
        store.close().await;
    });
    drop(store);
    assert_eq!(rig.fsck().1, []);
}

#[test]
fn snapshots_keep_to_the_calls_a_second_of_a_backend() {
    let (a, b) = (Troubled::new("a"), Troubled::new("b"));
    let rig = rig(vec![a.options(), capped(&b, Some(CALLS_PER_SECOND))], policy(1, ONE, Placement::Pack));
    let (store, bucket) = rig.open();
    runtime().block_on(async {
        let some = async {
            for n in 0..4 {
                put(&store, bucket, &format!("k{n}"), content(n, 10)).await.unwrap();
                let sent = snapshot(&store, 1).await;
                assert!(sent.iter().all(|sent| sent.error.is_none()), "{sent:?}");
            }
        };
        is_within("snapshots", count(&b, some).await);
        store.close().await;
    });
}
