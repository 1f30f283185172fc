//! Several backends: where writes go, what reads survive, how copies come back.

use backend::Fault;
use backend::{Call, Trouble};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use store::{Acknowledge, BackendOptions, BackendState, DeleteRequest, Placement, StoreError};
use types::ByteRange;

use crate::fleet::{Troubled, audit, copies, get, names, policy, put, rig, settle};
use crate::rig::{Rig, advance, content, key, read_all, runtime};

const LARGE: u64 = 3_000_000;

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn clean(rig: &Rig) {
    let (_, found) = rig.fsck();
    assert_eq!(found, [], "fsck");
}

fn two() -> (Troubled, Troubled) {
    (Troubled::new("a"), Troubled::new("b"))
}

const ALL: Acknowledge = Acknowledge::All;
const ONE: Acknowledge = Acknowledge::Replicas(1);

#[test]
fn copies_lie_on_different_backends_and_small_ones_inline_where_policy_says_embedded() {
    let (a, b) = two();
    let rig = rig(
        vec![BackendOptions::embedded("local"), a.options(), b.options()],
        policy(2, ALL, Placement::Pack),
    );
    let (store, bucket) = rig.open();
    runtime().block_on(async {
        put(&store, bucket, "dir/small", content(1, 5_000)).await.unwrap();
        put(&store, bucket, "large", content(2, LARGE)).await.unwrap();
        put(&store, bucket, "empty", content(3, 0)).await.unwrap();
        let inline = |name: &str, inline| (name.to_owned(), inline);
        assert_eq!(copies(&store, bucket, "dir/small").await, [inline("local", true), inline("a", false)]);
        assert_eq!(copies(&store, bucket, "large").await, [inline("local", false), inline("a", false)]);
        assert_eq!(names(&store, bucket, "empty").await, set(&["local", "a"]));
        assert_eq!(a.locations().await.len(), 3);
        assert_eq!(b.locations().await.len(), 0);
        for (name, seed, len) in [("dir/small", 1, 5_000), ("large", 2, LARGE), ("empty", 3, 0)] {
            assert_eq!(get(&store, bucket, name).await.unwrap(), content(seed, len));
            store.delete(bucket, DeleteRequest { key: key(name), if_match: None }).await.unwrap();
        }
        settle(&store).await;
        assert_eq!(a.locations().await, BTreeSet::new());
        store.close().await;
    });
    drop(store);
    clean(&rig);
}

#[test]
fn a_backend_that_fails_passes_the_write_to_the_next_one() {
    for (call, trouble) in [
        (Call::Begin, Trouble::Fail(Fault::Unavailable)),
        (Call::Begin, Trouble::Fail(Fault::Full)),
        (Call::Write, Trouble::Fail(Fault::Throttled)),
        (Call::Finish, Trouble::Fail(Fault::Refused)),
        (Call::Finish, Trouble::DoneThenFail(Fault::Unavailable)),
    ] {
        for len in [0, 10, 40_000, 900_000] {
            let (a, b) = two();
            a.script.always(call, trouble);
            let rig = rig(vec![a.options(), b.options()], policy(1, ONE, Placement::Pack));
            let (store, bucket) = rig.open();
            runtime().block_on(async {
                put(&store, bucket, "k", content(7, len))
                    .await
                    .unwrap_or_else(|error| panic!("{call:?} {trouble:?} {len}: {error}"));
                assert_eq!(names(&store, bucket, "k").await, set(&["b"]));
                assert_eq!(get(&store, bucket, "k").await.unwrap(), content(7, len));
                settle(&store).await;
                assert_eq!(a.locations().await, BTreeSet::new(), "{call:?} {trouble:?} {len}");
                store.close().await;
            });
            drop(store);
            clean(&rig);
        }
    }
}

#[test]
fn with_acknowledge_all_a_failed_copy_is_made_good_before_the_answer() {
    // Too long to be replayed: the third backend gets it from the first.
    for (call, after) in [(Call::Write, 3), (Call::Finish, 0)] {
        let (a, b, c) = (Troubled::new("a"), Troubled::new("b"), Troubled::new("c"));
        b.script.times(call, Trouble::Fail(Fault::Unavailable), after, 1);
        let rig = rig(vec![a.options(), b.options(), c.options()], policy(2, ALL, Placement::Pack));
        let (store, bucket) = rig.open();
        runtime().block_on(async {
            put(&store, bucket, "k", content(7, LARGE)).await.unwrap();
            assert_eq!(names(&store, bucket, "k").await, set(&["a", "c"]));
            settle(&store).await;
            assert_eq!(b.locations().await, BTreeSet::new());
            store.close().await;
        });
        drop(store);
        clean(&rig);
    }
}

#[test]
fn without_enough_backends_a_write_is_refused_and_leaves_nothing() {
    let (a, b) = two();
    b.script.always(Call::Finish, Trouble::DoneThenFail(Fault::Unavailable));
    let rig = rig(vec![a.options(), b.options()], policy(2, ALL, Placement::Pack));
    let (store, bucket) = rig.open();
    runtime().block_on(async {
        for len in [100, 40_000, LARGE] {
            let refused = put(&store, bucket, "k", content(7, len)).await;
            assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
            assert!(matches!(get(&store, bucket, "k").await, Err(StoreError::NoSuchKey)));
        }
        b.script.clear();
        tokio::time::sleep(Duration::from_millis(2100)).await;
        settle(&store).await;
        assert_eq!((a.locations().await, b.locations().await), Default::default());
        store.close().await;
    });
    drop(store);
    clean(&rig);
}

#[test]
fn a_slow_backend_holds_up_neither_the_answer_nor_more_than_its_window() {
    let (a, b) = two();
    b.script.always(Call::Write, Trouble::Late(Duration::from_millis(900)));
    let rig = rig(vec![a.options(), b.options()], policy(2, ONE, Placement::Pack));
    let (store, bucket) = rig.open();
    runtime().block_on(async {
        let begun = Instant::now();
        put(&store, bucket, "small", content(1, 1_000)).await.unwrap();
        put(&store, bucket, "large", content(2, 6_000_000)).await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
        assert_eq!(names(&store, bucket, "large").await, set(&["a"]));
        // The small one follows by itself; the large one was given up and is made anew.
        b.script.clear();
        tokio::time::sleep(Duration::from_millis(1200)).await;
        assert_eq!(names(&store, bucket, "small").await, set(&["a", "b"]));
        advance(Duration::from_secs(120));
        settle(&store).await;
        for (name, seed, len) in [("small", 1, 1_000), ("large", 2, 6_000_000)] {
            assert_eq!(names(&store, bucket, name).await, set(&["a", "b"]), "{name}");
            assert_eq!(get(&store, bucket, name).await.unwrap(), content(seed, len));
        }
        assert_eq!(b.locations().await.len(), 2);
        store.close().await;
    });
    drop(store);
    clean(&rig);
}

/// Everything that a backend can do to a reader.
fn troubles() -> Vec<(Call, Trouble)> {
    let mut all = vec![
        (Call::Next, Trouble::WrongByte),
        (Call::Next, Trouble::Stall),
        (Call::Read, Trouble::Stall),
        (Call::Next, Trouble::Late(Duration::from_millis(1500))),
    ];
    for fault in [Fault::Absent, Fault::Refused, Fault::Throttled, Fault::Unavailable, Fault::Corrupt] {
        all.push((Call::Read, Trouble::Fail(fault)));
        all.push((Call::Next, Trouble::Fail(fault)));
        all.push((Call::Next, Trouble::BreakOff(fault)));
    }
    all
}

#[test]
fn a_read_goes_on_from_another_copy_whatever_one_backend_does() {
    let (a, b) = two();
    let rig = rig(vec![a.options(), b.options()], policy(2, ALL, Placement::Pack));
    let (store, bucket) = rig.open();
    runtime().block_on(async {
        let body = content(5, LARGE);
        for (call, trouble) in troubles() {
            for after in [0, 1, 5] {
                put(&store, bucket, "k", body.clone()).await.unwrap();
                a.script.times(call, trouble, after, u32::MAX);
                let open = store.open(bucket, &key("k")).await.unwrap();
                for range in [ByteRange::whole(LARGE), ByteRange { start: 1_234_567, end: 2_345_678 }] {
                    let read = read_all(&open, range).await;
                    let read =
                        read.unwrap_or_else(|error| panic!("{call:?} {trouble:?} after {after}: {error}"));
                    assert!(read == body[range.start as usize..range.end as usize], "{call:?} {trouble:?}");
                }
                drop(open);
                a.script.clear();
                // Its circuit may be open: closed again for the next.
                tokio::time::sleep(Duration::from_millis(5)).await;
                store.trust_backend("a");
                settle(&store).await;
            }
        }
        settle(&store).await;
        assert_eq!(names(&store, bucket, "k").await, set(&["a", "b"]));
        assert_eq!((a.locations().await.len(), b.locations().await.len()), (1, 1));
        store.close().await;
    });
    drop(store);
    clean(&rig);
}

#[test]
fn a_damaged_copy_is_marked_and_replaced_and_the_last_one_is_kept() {
    let (a, b) = two();
    let rig = rig(vec![a.options(), b.options()], policy(2, ALL, Placement::Pack));
    let (store, bucket) = rig.open();
    runtime().block_on(async {
        put(&store, bucket, "k", content(5, LARGE)).await.unwrap();
        let before = a.locations().await;
        a.script.once(Call::Next, Trouble::WrongByte);
        assert_eq!(get(&store, bucket, "k").await.unwrap(), content(5, LARGE));
        settle(&store).await;
        assert_eq!(names(&store, bucket, "k").await, set(&["a", "b"]));
        let after = a.locations().await;
        assert!(after.len() == 1 && after != before, "a new one under a new name");
        // Both damaged: nothing is delivered, nothing is deleted.
        a.script.always(Call::Next, Trouble::WrongByte);
        b.script.always(Call::Next, Trouble::WrongByte);
        assert!(matches!(get(&store, bucket, "k").await, Err(StoreError::Corrupt(_))));
        settle(&store).await;
        assert_eq!((a.locations().await.len(), b.locations().await.len()), (1, 1));
        a.script.clear();
        b.script.clear();
        assert_eq!(get(&store, bucket, "k").await.unwrap(), content(5, LARGE));
        store.close().await;
    });
    drop(store);
    clean(&rig);
}

#[test]
fn cleanup_waits_for_a_backend_that_refuses_and_for_no_other() {
    let (a, b) = two();
    let rig = rig(vec![a.options(), b.options()], policy(2, ALL, Placement::Pack));
    let (store, bucket) = rig.open();
    runtime().block_on(async {
        put(&store, bucket, "k", content(5, 100_000)).await.unwrap();
        a.script.always(Call::Remove, Trouble::DoneThenFail(Fault::Unavailable));
        put(&store, bucket, "k", content(6, 100_000)).await.unwrap();
        settle(&store).await;
        assert_eq!(b.locations().await.len(), 1, "b is clean already");
        // The key is written again while a delete is outstanding.
        put(&store, bucket, "k", content(7, 100_000)).await.unwrap();
        settle(&store).await;
        a.script.clear();
        store.trust_backend("a");
        advance(Duration::from_secs(3600));
        settle(&store).await;
        assert_eq!((a.locations().await.len(), b.locations().await.len()), (1, 1));
        assert_eq!(get(&store, bucket, "k").await.unwrap(), content(7, 100_000));
        store.close().await;
    });
    drop(store);
    clean(&rig);
}

#[test]
fn a_full_backend_passes_the_write_on_and_its_quota_holds() {
    let (a, b) = two();
    let quota = 1_000_000;
    let backends = vec![a.options().with_quota(Some(quota)), b.options().with_quota(Some(quota))];
    let rig = rig(backends, policy(1, ONE, Placement::Pack));
    let (store, bucket) = rig.open();
    runtime().block_on(async {
        let mut stored = 0;
        for n in 0..30 {
            match put(&store, bucket, &format!("k{n}"), content(n, 90_000)).await {
                Ok(_) => stored += 1,
                Err(StoreError::Full) => {}
                Err(error) => panic!("{error}"),
            }
            for status in store.backends() {
                let usage = status.usage;
                assert!(usage.bytes + usage.awaiting_bytes + usage.reserved_bytes <= quota);
            }
        }
        assert_eq!(stored, 22);
        assert_eq!((a.locations().await.len(), b.locations().await.len()), (11, 11));
        store.close().await;
    });
    drop(store);
    clean(&rig);
}

#[test]
fn spread_fills_by_ratio() {
    let (a, b) = two();
    let backends = vec![a.options().with_quota(Some(1_000_000)), b.options().with_quota(Some(3_000_000))];
    let rig = rig(backends, policy(1, ONE, Placement::Spread));
    let (store, bucket) = rig.open();
    runtime().block_on(async {
        for n in 0..40 {
            put(&store, bucket, &format!("k{n}"), content(n, 50_000)).await.unwrap();
        }
        assert_eq!((a.locations().await.len(), b.locations().await.len()), (10, 30));
        store.close().await;
    });
    drop(store);
    clean(&rig);
}

#[test]
fn a_month_s_limit_sends_writes_and_reads_elsewhere_and_outlives_a_restart() {
    let (a, b) = two();
    let mut first = a.options();
    first.monthly.ingress_bytes = Some(250_000);
    let mut rig = rig(vec![first, b.options()], policy(1, ONE, Placement::Pack));
    let (store, bucket) = rig.open();
    runtime().block_on(async {
        for n in 0..4 {
            put(&store, bucket, &format!("k{n}"), content(n, 100_000)).await.unwrap();
        }
        assert_eq!((a.locations().await.len(), b.locations().await.len()), (2, 2));
        store.close().await;
    });
    drop(store);
    let (store, bucket) = rig.open();
    runtime().block_on(async {
        assert!(store.backends()[0].traffic.ingress_bytes >= 200_000);
        put(&store, bucket, "later", content(9, 100_000)).await.unwrap();
        assert_eq!(names(&store, bucket, "later").await, set(&["b"]));
        advance(Duration::from_secs(32 * 24 * 3600));
        put(&store, bucket, "next month", content(9, 100_000)).await.unwrap();
        assert_eq!(names(&store, bucket, "next month").await, set(&["a"]));
        store.close().await;
    });
    drop(store);
    // Also when the process dies: what was counted is not forgotten.
    let (store, bucket) = rig.open();
    runtime().block_on(async {
        put(&store, bucket, "once more", content(10, 100_000)).await.unwrap();
        assert_eq!(names(&store, bucket, "once more").await, set(&["a"]));
        let counted = store.backends()[0].traffic.ingress_bytes;
        store.delete(bucket, DeleteRequest { key: key("k0"), if_match: None }).await.unwrap();
        rig.move_to_image();
        drop(store);
        let (store, _) = rig.open();
        assert!(store.backends()[0].traffic.ingress_bytes >= counted);
        store.close().await;
    });
}

#[test]
fn other_numbers_of_copies_are_made_good_for_what_is_there_already() {
    let (a, b) = two();
    let mut rig = rig(
        vec![BackendOptions::embedded("local"), a.options(), b.options()],
        policy(1, ONE, Placement::Pack),
    );
    for (wanted, expected) in
        [(1, set(&["local"])), (3, set(&["local", "a", "b"])), (2, set(&["local", "a"]))]
    {
        rig.options.buckets.iter_mut().for_each(|bucket| bucket.policy.copies = wanted);
        let (store, bucket) = rig.open();
        runtime().block_on(async {
            if wanted == 1 {
                put(&store, bucket, "small", content(1, 100)).await.unwrap();
                put(&store, bucket, "large", content(2, LARGE)).await.unwrap();
            }
            audit(&store).await;
            settle(&store).await;
            for (name, seed, len) in [("small", 1, 100), ("large", 2, LARGE)] {
                assert_eq!(names(&store, bucket, name).await, expected, "{name}, {wanted} copies");
                assert_eq!(get(&store, bucket, name).await.unwrap(), content(seed, len));
            }
            assert!(store.audit_due().await.unwrap().is_none());
            store.close().await;
        });
        drop(store);
        clean(&rig);
    }
}

#[test]
fn a_backend_that_is_drained_becomes_empty_and_nothing_is_lost() {
    let (a, b) = two();
    let rig = rig(
        vec![BackendOptions::embedded("local"), a.options(), b.options()],
        policy(2, ALL, Placement::Pack),
    );
    let (store, bucket) = rig.open();
    runtime().block_on(async {
        put(&store, bucket, "small", content(1, 100)).await.unwrap();
        put(&store, bucket, "large", content(2, LARGE)).await.unwrap();
        for drained in ["a", "local"] {
            assert!(store.set_backend_state(drained, BackendState::Draining).await.unwrap());
            put(&store, bucket, "new", content(3, 1_000)).await.ok();
            audit(&store).await;
            settle(&store).await;
            let usage = store.backends().into_iter().find(|status| status.name == drained).unwrap().usage;
            assert_eq!((usage.bytes, usage.awaiting_bytes, usage.objects), (0, 0, 0), "{drained}");
            for (name, seed, len) in [("small", 1, 100), ("large", 2, LARGE)] {
                assert!(!names(&store, bucket, name).await.contains(drained));
                assert_eq!(get(&store, bucket, name).await.unwrap(), content(seed, len));
            }
            assert!(store.set_backend_state(drained, BackendState::Active).await.unwrap());
            audit(&store).await;
            settle(&store).await;
        }
        store.close().await;
    });
    drop(store);
    clean(&rig);
}

#[test]
fn copies_on_a_backend_that_is_away_for_long_are_made_elsewhere() {
    let (a, b, c) = (Troubled::new("a"), Troubled::new("b"), Troubled::new("c"));
    let mut rig = rig(vec![a.options(), b.options(), c.options()], policy(2, ALL, Placement::Pack));
    rig.options.replace_after = Duration::from_millis(300);
    let (store, bucket) = rig.open();
    runtime().block_on(async {
        put(&store, bucket, "k", content(2, LARGE)).await.unwrap();
        audit(&store).await;
        b.script.down(Trouble::Fail(Fault::Unavailable));
        for n in 0..4 {
            put(&store, bucket, &format!("more-{n}"), content(3, 100)).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(400)).await;
        assert!(store.backends().iter().any(|status| status.name == "b" && status.lost));
        audit(&store).await;
        settle(&store).await;
        assert_eq!(names(&store, bucket, "k").await, set(&["a", "c"]));
        b.script.clear();
        tokio::time::sleep(Duration::from_millis(2100)).await;
        store.watch_backends().await;
        advance(Duration::from_secs(3600));
        audit(&store).await;
        settle(&store).await;
        assert_eq!(b.locations().await, BTreeSet::new());
        store.close().await;
    });
    drop(store);
    clean(&rig);
}
