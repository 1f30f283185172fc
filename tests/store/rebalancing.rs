//! Moving replicas to where placement would put them now.

use backend::{Call, Trouble};
use store::{Acknowledge, BackendOptions, Placement, Plan, Rebalance, Store};
use types::{BlobId, BucketId};

use crate::fleet::{Troubled, audit, get, names, policy, put, rig, settle};
use crate::rig::{Rig, content, runtime};

const OBJECTS: u64 = 20;
const SIZE: u64 = 50_000;
const SPREAD: Rebalance = Rebalance { strategy: Placement::Spread, threshold_percent: 5 };
const PACK: Rebalance = Rebalance { strategy: Placement::Pack, threshold_percent: 0 };

async fn fill(store: &Store, bucket: BucketId) {
    for n in 0..OBJECTS {
        put(store, bucket, &format!("k{n}"), content(n, SIZE)).await.expect("a put");
    }
}

async fn check(store: &Store, bucket: BucketId) {
    for n in 0..OBJECTS {
        assert_eq!(get(store, bucket, &format!("k{n}")).await.expect("a get"), content(n, SIZE));
    }
}

/// To the end, as the job does it; how many were moved, and how many could not be.
async fn rebalance(store: &Store, asked: Rebalance) -> (u64, u64) {
    let (mut moved, mut failed) = (0, 0);
    let mut after: Option<BlobId> = None;
    loop {
        let step = store.rebalance_step(asked, after).await.expect("a step");
        (moved, failed) = (moved + step.objects, failed + step.failed);
        after = step.next;
        settle(store).await;
        if after.is_none() {
            return (moved, failed);
        }
    }
}

fn bytes(store: &Store) -> Vec<u64> {
    store.backends().iter().map(|backend| backend.usage.bytes).collect()
}

fn clean(rig: &Rig) {
    assert_eq!(rig.fsck().1, []);
}

#[test]
fn spreading_fills_all_alike_as_its_plan_said_and_packing_brings_it_back() {
    let (a, b, c) = (Troubled::new("a"), Troubled::new("b"), Troubled::new("c"));
    let rig = rig(vec![a.options(), b.options(), c.options()], policy(1, Acknowledge::All, Placement::Pack));
    let (store, bucket) = rig.open();
    runtime().block_on(async {
        fill(&store, bucket).await;
        assert_eq!(bytes(&store), [OBJECTS * SIZE, 0, 0]);
        let plan = store.plan_rebalance(SPREAD).await.unwrap();
        assert_eq!(bytes(&store), [OBJECTS * SIZE, 0, 0], "a plan moves nothing");
        let (moved, failed) = rebalance(&store, SPREAD).await;
        let after: Vec<u64> = plan.backends.iter().map(|backend| backend.bytes_after).collect();
        assert_eq!((bytes(&store), moved, failed), (after, plan.objects, 0));
        assert_eq!((plan.bytes, plan.backends[0].objects_out), (plan.objects * SIZE, plan.objects));
        assert_eq!(
            (plan.backends[0].calls, plan.backends[1].calls),
            (plan.objects * 2, plan.backends[1].objects_in * 2)
        );
        let (least, most) =
            (bytes(&store).into_iter().min().unwrap(), bytes(&store).into_iter().max().unwrap());
        assert!(most - least <= OBJECTS * SIZE / 20 + SIZE, "{:?}", bytes(&store));
        let Plan { objects, .. } = store.plan_rebalance(SPREAD).await.unwrap();
        assert_eq!(objects, 0, "what is alike stays as it is");
        check(&store, bucket).await;
        let (moved, failed) = rebalance(&store, PACK).await;
        assert_eq!((moved, failed, bytes(&store)), (plan.objects, 0, vec![OBJECTS * SIZE, 0, 0]));
        assert_eq!((b.locations().await.len(), c.locations().await.len()), (0, 0), "nothing is left behind");
        check(&store, bucket).await;
    });
    drop(store);
    clean(&rig);
}

#[test]
fn quotas_are_kept_and_fullness_is_by_them() {
    let (a, b) = (Troubled::new("a"), Troubled::new("b"));
    let large = b.options().with_quota(Some(30 * SIZE));
    let rig = rig(
        vec![a.options().with_quota(Some(20 * SIZE)), large],
        policy(1, Acknowledge::All, Placement::Pack),
    );
    let (store, bucket) = rig.open();
    runtime().block_on(async {
        fill(&store, bucket).await;
        assert_eq!(bytes(&store), [20 * SIZE, 0]);
        rebalance(&store, SPREAD).await;
        let [small, large] = bytes(&store)[..] else { panic!("two backends") };
        let (small, large) = (small as f64 / 20.0, large as f64 / 30.0);
        assert!((small - large).abs() <= 0.06 * SIZE as f64, "{:?}", bytes(&store));
        let half = Rebalance { threshold_percent: 40, ..PACK };
        rebalance(&store, half).await;
        assert_eq!(bytes(&store)[0], 12 * SIZE, "forty per cent stay free");
        check(&store, bucket).await;
    });
    drop(store);
    clean(&rig);
}

/// What lies with the records is not moved; no backend gets two copies of one object.
#[test]
fn copies_stay_on_different_backends_and_small_ones_where_they_are() {
    let (a, b) = (Troubled::new("a"), Troubled::new("b"));
    let rig = rig(
        vec![BackendOptions::embedded("local"), a.options(), b.options()],
        policy(2, Acknowledge::All, Placement::Pack),
    );
    let (store, bucket) = rig.open();
    runtime().block_on(async {
        put(&store, bucket, "small", content(99, 5_000)).await.unwrap();
        fill(&store, bucket).await;
        rebalance(&store, SPREAD).await;
        for n in 0..OBJECTS {
            assert_eq!(names(&store, bucket, &format!("k{n}")).await.len(), 2);
        }
        assert!(names(&store, bucket, "small").await.contains("local"));
        let most = bytes(&store).into_iter().max().unwrap();
        assert!(most <= OBJECTS * SIZE * 2 / 3 + 2 * SIZE + OBJECTS * SIZE / 10, "{:?}", bytes(&store));
        check(&store, bucket).await;
    });
    drop(store);
    clean(&rig);
}

#[test]
fn a_move_that_fails_leaves_the_object_where_it_was() {
    let (a, b) = (Troubled::new("a"), Troubled::new("b"));
    let rig = rig(vec![a.options(), b.options()], policy(1, Acknowledge::All, Placement::Pack));
    let (store, bucket) = rig.open();
    runtime().block_on(async {
        fill(&store, bucket).await;
        // What is read back is not what was written.
        b.script.always(Call::Next, Trouble::WrongByte);
        let step = store.rebalance_step(SPREAD, None).await.unwrap();
        assert!(step.failed > 0 && step.objects == 0 && step.trouble.is_some(), "{step:?}");
        b.script.clear();
        check(&store, bucket).await;
        audit(&store).await;
        settle(&store).await;
        check(&store, bucket).await;
    });
    drop(store);
    clean(&rig);
}

/// As a crash between the copy and its consequence leaves it.
#[test]
fn a_copy_too_many_is_taken_away_when_the_walk_comes_by() {
    let (a, b) = (Troubled::new("a"), Troubled::new("b"));
    let mut rig = rig(vec![a.options(), b.options()], policy(2, Acknowledge::All, Placement::Pack));
    let (store, bucket) = rig.open();
    runtime().block_on(fill(&store, bucket));
    drop(store);
    rig.options.buckets[0].policy = policy(1, Acknowledge::All, Placement::Pack);
    let (store, bucket) = rig.open();
    runtime().block_on(async {
        rebalance(&store, PACK).await;
        assert_eq!(bytes(&store), [OBJECTS * SIZE, 0]);
        check(&store, bucket).await;
    });
    drop(store);
    clean(&rig);
}
