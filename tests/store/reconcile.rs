//! A backend held against the records while the store is open: what is missing, different, nobody's, somebody
//! else's; and what becomes of it.

use backend::Backend;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::time::Duration;
use store::{
    Acknowledge, DeleteRequest, Oddity, Pace, Placement, ReconcileOrder, ScrubOrder, Store, StoreError,
};
use types::{BucketId, ETag};

use crate::fleet::{Troubled, get, names, policy, put, rig, settle};
use crate::rig::{advance, content, key, now, runtime};

const LARGE: u64 = 300_000;

fn order(backend: &str) -> ReconcileOrder {
    ReconcileOrder {
        backend: backend.to_owned(),
        prefix: String::new(),
        adopt: None,
        clean: false,
        dry_run: false,
    }
}

/// Every location that something is said of.
async fn reconcile(store: &Store, order: ReconcileOrder) -> BTreeMap<String, Oddity> {
    let mut walk = store.reconcile(order, None).await.unwrap().expect("the backend is there");
    let mut all = BTreeMap::new();
    while let Some(step) = walk.step().await.unwrap() {
        all.extend(step.odd.into_iter().map(|odd| (odd.location, odd.what)));
    }
    all
}

fn put_foreign(on: &Troubled, location: &str, bytes: Bytes) {
    on.backend.inner().put_foreign(location, bytes);
}

async fn remove(on: &Troubled, location: &str) {
    let location = [backend::Location::new(location)];
    on.backend.inner().remove(&location).await.unwrap();
}

fn two() -> (Troubled, Troubled, crate::rig::Rig) {
    let (a, b) = (Troubled::new("a"), Troubled::new("b"));
    let rig = rig(vec![a.options(), b.options()], policy(2, Acknowledge::All, Placement::Pack));
    (a, b, rig)
}

#[test]
fn what_is_missing_or_different_is_told_and_made_good() {
    let (a, _, rig) = two();
    let (store, bucket) = rig.open();
    runtime().block_on(async {
        for n in 0..4 {
            put(&store, bucket, &format!("k{n}"), content(n, LARGE)).await.unwrap();
        }
        assert_eq!(reconcile(&store, order("a")).await, BTreeMap::new());
        let all: Vec<String> = a.locations().await.into_iter().collect();
        remove(&a, &all[0]).await;
        put_foreign(&a, &all[1], content(9, 100));
        let expected = [(all[0].clone(), Oddity::Missing), (all[1].clone(), Oddity::Different)];
        let dry = ReconcileOrder { dry_run: true, ..order("a") };
        assert_eq!(reconcile(&store, dry).await, BTreeMap::from(expected.clone()));
        settle(&store).await;
        assert_eq!(a.locations().await.len(), 3, "looking changes nothing");
        assert_eq!(reconcile(&store, order("a")).await, BTreeMap::from(expected));
        settle(&store).await;
        assert_eq!(reconcile(&store, order("a")).await, BTreeMap::new());
        for n in 0..4 {
            assert_eq!(names(&store, bucket, &format!("k{n}")).await.len(), 2);
            assert_eq!(get(&store, bucket, &format!("k{n}")).await.unwrap(), content(n, LARGE));
        }
        assert!(store.reconcile(order("c"), None).await.unwrap().is_none());
        store.close().await;
    });
    drop(store);
    assert_eq!(rig.fsck().1, []);
}

#[test]
fn only_old_bytes_of_ours_that_nobody_names_are_deleted() {
    let (a, _, rig) = two();
    let (store, bucket) = rig.open();
    runtime().block_on(async {
        put(&store, bucket, "k", content(1, LARGE)).await.unwrap();
        let kept = a.locations().await;
        // A number that was given, one that was not, and somebody else's that only looks like ours.
        put_foreign(&a, "x.0000000000000003", content(2, 50));
        put_foreign(&a, "x.00ffffffffffffff", content(2, 50));
        put_foreign(&a, "d41d8cd98f00b204e9800998ecf8427e", content(2, 50));
        let seen = reconcile(&store, order("a")).await;
        assert_eq!(seen.len(), 3, "{seen:?}");
        assert_eq!(seen["d41d8cd98f00b204e9800998ecf8427e"], Oddity::Foreign);
        assert_eq!(seen["x.0000000000000003"], Oddity::Unnamed);
        let clean = ReconcileOrder { clean: true, ..order("a") };
        let dry = ReconcileOrder { dry_run: true, ..clean.clone() };
        assert_eq!(reconcile(&store, dry).await["x.0000000000000003"], Oddity::Cleaned);
        settle(&store).await;
        assert_eq!(a.locations().await.len(), 4, "looking changes nothing");
        let seen = reconcile(&store, clean.clone()).await;
        assert_eq!(seen["x.0000000000000003"], Oddity::Cleaned);
        assert_eq!(seen["x.00ffffffffffffff"], Oddity::Unnamed);
        settle(&store).await;
        let left = a.locations().await;
        assert!(left.len() == 3 && left.is_superset(&kept), "{left:?}");
        // What waits for cleanup is named by it.
        a.script.always(backend::Call::Remove, backend::Trouble::Fail(backend::Fault::Throttled));
        store.delete(bucket, DeleteRequest { key: key("k"), if_match: None }).await.unwrap();
        store.cleanup_pass().await.unwrap();
        let seen = reconcile(&store, clean).await;
        assert!(kept.iter().all(|location| !seen.contains_key(location)), "{seen:?}");
        a.script.clear();
        store.trust_backend("a");
        advance(Duration::from_secs(3600));
        settle(&store).await;
        assert!(a.locations().await.is_disjoint(&kept));
        store.close().await;
    });
    drop(store);
}

fn adopt(bucket: BucketId) -> ReconcileOrder {
    ReconcileOrder { adopt: Some(bucket), ..order("a") }
}

#[test]
fn foreign_bytes_become_objects_where_they_lie_and_once_only() {
    let (a, b, rig) = two();
    let (store, bucket) = rig.open();
    runtime().block_on(async {
        put(&store, bucket, "dir/taken", content(1, 100)).await.unwrap();
        let foreign: Vec<(String, Bytes)> = [("dir/a", 10), ("dir/b", LARGE), ("dir/empty", 0), ("other", 5)]
            .map(|(name, len)| (name.to_owned(), content(len, len)))
            .into();
        for (name, bytes) in &foreign {
            put_foreign(&a, name, bytes.clone());
        }
        put_foreign(&a, "dir/taken", content(2, 50));
        let order = ReconcileOrder { prefix: "dir/".to_owned(), ..adopt(bucket) };
        let dry = ReconcileOrder { dry_run: true, ..order.clone() };
        let expected: BTreeMap<String, Oddity> = [
            ("dir/a", Oddity::Adopted),
            ("dir/b", Oddity::Adopted),
            ("dir/empty", Oddity::Adopted),
            ("dir/taken", Oddity::Passed),
        ]
        .map(|(name, what)| (name.to_owned(), what))
        .into();
        assert_eq!(reconcile(&store, dry).await, expected);
        assert!(matches!(get(&store, bucket, "dir/a").await, Err(StoreError::NoSuchKey)));
        assert_eq!(reconcile(&store, order.clone()).await, expected);
        assert!(matches!(get(&store, bucket, "other").await, Err(StoreError::NoSuchKey)));
        for (name, bytes) in &foreign[..3] {
            let object = store.head(bucket, &key(name)).await.unwrap();
            assert_eq!(
                (object.size, object.etag.parts, object.checksum),
                (bytes.len() as u64, Some(1), None)
            );
            assert_eq!(get(&store, bucket, name).await.unwrap(), *bytes, "{name}");
        }
        let etag = store.head(bucket, &key("dir/a")).await.unwrap().etag;
        assert_ne!(etag, ETag::single(etag.md5));
        // Nothing moved; and a second time there is nothing to do, whatever happened to the names.
        assert!(a.locations().await.contains("dir/b"));
        let again = BTreeMap::from([("dir/taken".to_owned(), Oddity::Passed)]);
        assert_eq!(reconcile(&store, order.clone()).await, again);
        let copy = store::CopyRequest {
            bucket,
            destination: key("copy"),
            headers: None,
            tags: None,
            conditions: types::WriteConditions::default(),
            algorithm: None,
        };
        let source = store.open(bucket, &key("dir/a")).await.unwrap();
        store.copy(&source, copy).await.unwrap();
        drop(source);
        store.delete(bucket, DeleteRequest { key: key("dir/a"), if_match: None }).await.unwrap();
        assert_eq!(reconcile(&store, order.clone()).await, again);
        // A second copy is made of what was read once and has checksums then.
        settle(&store).await;
        for name in ["dir/b", "dir/empty", "copy"] {
            assert_eq!(names(&store, bucket, name).await.len(), 2, "{name}");
            let chunks = store.explain(bucket, &key(name)).await.unwrap().blobs[0].chunks;
            assert_eq!(chunks as u64, store.head(bucket, &key(name)).await.unwrap().size.div_ceil(128 << 10));
        }
        assert_eq!(get(&store, bucket, "copy").await.unwrap(), foreign[0].1);
        // What was adopted is ours: it goes with its last name, and does not come back.
        for name in ["copy", "dir/b", "dir/empty"] {
            store.delete(bucket, DeleteRequest { key: key(name), if_match: None }).await.unwrap();
        }
        a.script.always(backend::Call::Remove, backend::Trouble::Fail(backend::Fault::Throttled));
        store.cleanup_pass().await.unwrap();
        assert_eq!(reconcile(&store, order.clone()).await, again, "it waits for cleanup");
        a.script.clear();
        store.trust_backend("a");
        advance(Duration::from_secs(3600));
        settle(&store).await;
        assert_eq!(reconcile(&store, order).await, again);
        assert!(!a.locations().await.contains("dir/a"));
        assert_eq!(b.locations().await.len(), 1);
        store.close().await;
    });
    drop(store);
    assert_eq!(rig.fsck().1, []);
}

#[test]
fn a_scrub_learns_the_checksums_of_what_was_adopted() {
    let a = Troubled::new("a");
    let mut rig = rig(vec![a.options()], policy(1, Acknowledge::All, Placement::Pack));
    rig.options.buckets.iter_mut().for_each(|bucket| bucket.quota = Some(2 * LARGE));
    let (store, bucket) = rig.open();
    runtime().block_on(async {
        put_foreign(&a, "k", content(1, LARGE));
        reconcile(&store, adopt(bucket)).await;
        let wrong = || async {
            put_foreign(&a, "k", content(2, LARGE));
            let read = get(&store, bucket, "k").await;
            put_foreign(&a, "k", content(1, LARGE));
            read
        };
        assert_eq!(wrong().await.unwrap(), content(2, LARGE), "nobody knows better yet");
        put_foreign(&a, "k", content(1, LARGE - 1));
        assert!(
            matches!(get(&store, bucket, "k").await, Err(StoreError::Corrupt(_))),
            "but its size is known"
        );
        put_foreign(&a, "k", content(1, LARGE));
        let scrub = ScrubOrder { backend: None, before: now(), remote: true };
        let mut due = store.scrub_due(&scrub).await.unwrap();
        let step = store.scrub_step(&mut due, &Pace::new(None)).await.unwrap();
        assert_eq!((step.verified, step.bad.len()), (1, 0));
        assert!(matches!(wrong().await, Err(StoreError::Corrupt(_))));
        assert_eq!(get(&store, bucket, "k").await.unwrap(), content(1, LARGE));
        // No room in the bucket: an error, and nothing is adopted.
        put_foreign(&a, "too much", content(3, LARGE + 1));
        let mut walk = store.reconcile(adopt(bucket), None).await.unwrap().unwrap();
        assert!(walk.step().await.is_ok());
        assert!(matches!(walk.step().await, Err(StoreError::QuotaExceeded)));
        assert_eq!(store.bucket_usage(bucket).bytes, LARGE);
        store.close().await;
    });
    drop(store);
    assert_eq!(rig.fsck().1, []);
}
