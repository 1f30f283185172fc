//! Backends that are emptied, taken out, lost; records of ordered work.

use meta::{JobProgress, JobState};
use std::collections::BTreeSet;
use store::{
    Acknowledge, BackendOptions, BackendState, DeleteRequest, Holding, OrderError, Placement, Store,
};

use crate::fleet::{Troubled, audit, get, names, policy, put, rig, settle};
use crate::rig::{content, key, runtime};

const ALL: Acknowledge = Acknowledge::All;
const SIZES: [u64; 4] = [0, 5_000, 200_000, 1_500_000];

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn three() -> (Troubled, Troubled, Troubled) {
    (Troubled::new("a"), Troubled::new("b"), Troubled::new("c"))
}

async fn fill(store: &Store, bucket: types::BucketId) {
    for (n, size) in SIZES.into_iter().enumerate() {
        put(store, bucket, &format!("k{n}"), content(n as u64, size)).await.expect("a put");
    }
}

async fn check(store: &Store, bucket: types::BucketId) {
    for (n, size) in SIZES.into_iter().enumerate() {
        assert_eq!(get(store, bucket, &format!("k{n}")).await.expect("a get"), content(n as u64, size));
    }
}

async fn holding(store: &Store, name: &str) -> Holding {
    store.holding(name).await.expect("an answer").expect("a backend")
}

/// As the job does it.
async fn drain(store: &Store, name: &str) {
    store.begin_drain(name).await.expect("it can be");
    audit(store).await;
    settle(store).await;
}

fn refused(outcome: Result<impl std::fmt::Debug, OrderError>, part: &str) {
    match outcome {
        Err(OrderError::Refused(why)) => assert!(why.contains(part), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_drained_backend_holds_nothing_and_can_be_taken_out() {
    for copies in [1, 2] {
        let (a, b, c) = three();
        let rig = rig(vec![a.options(), b.options(), c.options()], policy(copies, ALL, Placement::Pack));
        let (store, bucket) = rig.open();
        runtime().block_on(async {
            fill(&store, bucket).await;
            let before = holding(&store, "a").await;
            assert_eq!((before.objects, before.bytes), (4, SIZES.iter().sum()));
            refused(store.remove_backend("a").await, "still holds");
            drain(&store, "a").await;
            assert_eq!(holding(&store, "a").await, Holding::default());
            assert_eq!(a.locations().await, BTreeSet::new());
            put(&store, bucket, "new", content(9, 1000)).await.unwrap();
            assert!(!names(&store, bucket, "new").await.contains("a"), "a drained backend takes writes");
            check(&store, bucket).await;
            store.remove_backend("a").await.unwrap();
            refused(store.begin_drain("a").await, "taken out");
        });
        drop(store);
        let mut without = rig;
        assert_eq!(without.fsck().1, []);
        without.options.backends = vec![b.options(), c.options()];
        let (store, bucket) = without.open();
        runtime().block_on(check(&store, bucket));
        drop(store);
        without.options.backends = vec![a.options(), b.options(), c.options()];
        let (store, bucket) = without.open();
        runtime().block_on(async {
            put(&store, bucket, "later", content(9, 1000)).await.unwrap();
            assert!(!names(&store, bucket, "later").await.contains("a"), "what was taken out stays out");
            assert!(store.end_drain("a").await.unwrap());
            put(&store, bucket, "back", content(9, 1000)).await.unwrap();
            assert!(names(&store, bucket, "back").await.contains("a"), "and comes back by command");
        });
        drop(store);
        assert_eq!(without.fsck().1, []);
    }
}

/// More than one pass takes up: room comes back as copies are made, and who looks sees how far it is.
#[test]
fn a_drain_gives_room_back_as_it_goes() {
    const OBJECTS: u64 = 150;
    let (a, b, _) = three();
    let rig = rig(vec![a.options(), b.options()], policy(1, ALL, Placement::Pack));
    let (store, bucket) = rig.open();
    runtime().block_on(async {
        for n in 0..OBJECTS {
            put(&store, bucket, &format!("k{n}"), content(n, 100)).await.unwrap();
        }
        store.begin_drain("a").await.unwrap();
        audit(&store).await;
        let mut left = vec![a.locations().await.len() as u64];
        while left.last() > Some(&0) && left.len() < 20 {
            store.copies_pass().await.unwrap();
            store.cleanup_pass().await.unwrap();
            left.push(a.locations().await.len() as u64);
        }
        assert_eq!((left.first(), left.last()), (Some(&OBJECTS), Some(&0)));
        assert!(left.windows(2).all(|two| two[1] <= two[0]), "{left:?}");
        left.dedup();
        assert!(left.len() > 3, "{left:?}");
        assert_eq!(b.locations().await.len() as u64, OBJECTS);
        store.close().await;
    });
    drop(store);
    assert_eq!(rig.fsck().1, []);
}

/// Small objects lie with the records there.
#[test]
fn the_data_directory_can_be_drained() {
    let (a, ..) = three();
    let rig = rig(vec![BackendOptions::embedded("local"), a.options()], policy(1, ALL, Placement::Pack));
    let (store, bucket) = rig.open();
    runtime().block_on(async {
        fill(&store, bucket).await;
        drain(&store, "local").await;
        assert_eq!(holding(&store, "local").await, Holding::default());
        assert_eq!(a.locations().await.len(), SIZES.len());
        check(&store, bucket).await;
        store.remove_backend("local").await.unwrap();
    });
    drop(store);
    let mut rig = rig;
    rig.options.backends = vec![a.options()];
    assert_eq!(rig.fsck().1, []);
    let (store, bucket) = rig.open();
    runtime().block_on(check(&store, bucket));
}

#[test]
fn what_can_never_end_is_not_begun() {
    let (a, b, _) = three();
    let rig = rig(vec![a.options(), b.options()], policy(2, ALL, Placement::Pack));
    let (store, _) = rig.open();
    runtime().block_on(async {
        refused(store.begin_drain("a").await, "asks for 2 copies of each object, and without a there are 1");
        assert!(matches!(store.begin_drain("x").await, Err(OrderError::NotFound(_))));
        assert_eq!(store.backends()[0].state, BackendState::Active);
        assert!(!store.end_drain("a").await.unwrap(), "there is nothing to end");
    });
}

#[test]
fn a_drain_without_room_keeps_everything_and_says_why() {
    let (a, b, _) = three();
    let rig = rig(vec![a.options(), b.options().with_quota(Some(300_000))], policy(1, ALL, Placement::Pack));
    let (store, bucket) = rig.open();
    runtime().block_on(async {
        fill(&store, bucket).await;
        assert_eq!(store.room_besides("a"), Some(300_000));
        drain(&store, "a").await;
        let left = holding(&store, "a").await;
        assert_eq!((left.bytes, left.objects), (1_500_000, 1));
        assert!(store.copies_trouble().is_some_and(|why| why.contains("no space")));
        assert!(store.copies_waiting().await.unwrap() > 0);
        check(&store, bucket).await;
        assert!(store.end_drain("a").await.unwrap());
        put(&store, bucket, "new", content(9, 1000)).await.unwrap();
        assert_eq!(names(&store, bucket, "new").await, set(&["a"]));
    });
    drop(store);
    assert_eq!(rig.fsck().1, []);
}

#[test]
fn a_drain_that_is_held_moves_nothing() {
    let (a, b, _) = three();
    let rig = rig(vec![a.options(), b.options()], policy(1, ALL, Placement::Pack));
    let (store, bucket) = rig.open();
    runtime().block_on(async {
        fill(&store, bucket).await;
        store.begin_drain("a").await.unwrap();
        store.hold_drain("a", true);
        audit(&store).await;
        settle(&store).await;
        assert_eq!(holding(&store, "a").await.objects, 4);
        put(&store, bucket, "new", content(9, 1000)).await.unwrap();
        assert_eq!(names(&store, bucket, "new").await, set(&["b"]), "nothing new goes there all the same");
        store.hold_drain("a", false);
        audit(&store).await;
        settle(&store).await;
        assert_eq!(holding(&store, "a").await, Holding::default());
    });
}

#[test]
fn a_lost_backend_is_forgotten_where_there_is_another_copy_and_what_is_lost_is_listed() {
    let (a, b, c) = three();
    let mut rig = rig(vec![a.options(), b.options(), c.options()], policy(1, ALL, Placement::Pack));
    let (store, bucket) = rig.open();
    runtime().block_on(async {
        put(&store, bucket, "only", content(1, 50_000)).await.unwrap();
        put(&store, bucket, "gone", content(1, 50_000)).await.unwrap();
        refused(store.forget_backend("a").await, "is not lost, it answers");
    });
    drop(store);
    rig.options.buckets[0].policy = policy(2, ALL, Placement::Pack);
    rig.options.backends = vec![a.options(), b.options(), c.options()];
    let (store, bucket) = rig.open();
    runtime().block_on(async { put(&store, bucket, "twice", content(2, 50_000)).await.unwrap() });
    drop(store);
    // The disk is thrown away, and its section with it.
    rig.options.backends = vec![b.options(), c.options()];
    let (store, bucket) = rig.open();
    runtime().block_on(async {
        store.delete(bucket, DeleteRequest { key: key("gone"), if_match: None }).await.unwrap();
        refused(store.remove_backend("a").await, "still holds");
        let forgotten = store.forget_backend("a").await.unwrap();
        assert_eq!((forgotten.replicas, forgotten.only_copies), (1, 1));
        let lost: Vec<_> = forgotten.lost.iter().map(|lost| (&*lost.bucket, &*lost.key, lost.size)).collect();
        assert_eq!(lost, [("bucket", "only", 50_000)]);
        assert_eq!(holding(&store, "a").await.objects, 1, "what would be lost is still on record");
        audit(&store).await;
        settle(&store).await;
        assert_eq!(names(&store, bucket, "twice").await, set(&["b", "c"]), "the copy is made anew");
        store.delete(bucket, DeleteRequest { key: key("only"), if_match: None }).await.unwrap();
        assert_eq!(store.forget_backend("a").await.unwrap().only_copies, 0);
        settle(&store).await;
        assert_eq!(holding(&store, "a").await, Holding::default());
        assert_eq!(get(&store, bucket, "twice").await.unwrap(), content(2, 50_000));
    });
    drop(store);
    assert_eq!(rig.fsck().1, []);
}

#[test]
fn a_job_is_on_record_once_and_over_a_restart() {
    let (a, ..) = three();
    let rig = rig(vec![a.options()], policy(1, ALL, Placement::Pack));
    let (store, _) = rig.open();
    runtime().block_on(async {
        let begun = store.begin_job("scrub", "", "").await.unwrap().expect("a job");
        assert_eq!((begun.name(), begun.state), ("scrub".to_owned(), JobState::Running));
        assert_eq!(store.begin_job("scrub", "", "").await.unwrap(), None, "it runs already");
        store.begin_job("import", "b2", "p/").await.unwrap().expect("another job");
        let changed = store.change_job("scrub", |record| {
            record.state = JobState::Paused;
            record.progress = JobProgress { items: 3, ..record.progress };
            record.cursor = b"here".to_vec();
        });
        assert_eq!(changed.await.unwrap().expect("the record").progress.items, 3);
        assert_eq!(store.change_job("polish", |_| {}).await.unwrap(), None);
    });
    drop(store);
    let (store, _) = rig.open();
    runtime().block_on(async {
        let jobs = store.jobs().await.unwrap();
        let names: Vec<_> = jobs.iter().map(|record| (record.name(), record.state)).collect();
        let expected = [("import/b2".to_owned(), JobState::Running), ("scrub".to_owned(), JobState::Paused)];
        assert_eq!(names, expected);
        assert_eq!((&*jobs[0].order, &*jobs[1].cursor), ("p/", &b"here"[..]));
        assert_eq!(store.begin_job("scrub", "", "").await.unwrap(), None, "a held one has not ended");
        store.change_job("scrub", |record| record.state = JobState::Cancelled).await.unwrap();
        let again = store.begin_job("scrub", "", "").await.unwrap().expect("one that has ended makes room");
        assert_eq!((again.progress.items, again.cursor.len()), (0, 0));
    });
    drop(store);
    assert_eq!(rig.fsck().1, []);
}
