//! The data directory is lost: what a snapshot and the backends bring back.

use backend::{Backend, Call, Fault, Trouble};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::time::Duration;
use store::{
    Acknowledge, DeleteRequest, Oddity, OrderError, Pace, Placement, ReconcileOrder, RestoreOptions,
    Restored, ScrubOrder, SnapshotOrder, SnapshotSent, Store,
};
use types::BucketId;

use crate::fleet::{Troubled, get, policy, put, rig, settle};
use crate::rig::{Rig, advance, content, key, runtime};

const LARGE: u64 = 300_000;

fn two(copies: u32) -> (Troubled, Troubled, Rig) {
    let (a, b) = (Troubled::new("a"), Troubled::new("b"));
    let rig = rig(vec![a.options(), b.options()], policy(copies, Acknowledge::All, Placement::Pack));
    (a, b, rig)
}

pub async fn snapshot(store: &Store, keep: usize) -> Vec<SnapshotSent> {
    let order = SnapshotOrder { backends: Vec::new(), keep };
    let mut running = store.snapshot(&order).await.unwrap();
    let mut sent = Vec::new();
    while let Some(step) = running.step().await.unwrap() {
        sent.extend(step.ended);
    }
    sent
}

/// Everything that the data directory had is gone, but for the reserves, which take long to lay.
pub fn wipe(rig: &Rig) {
    let dir = &rig.options.data_dir;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.ends_with("ballast") || path.ends_with("start-reserve") {
            continue;
        }
        match path.is_dir() {
            true => std::fs::remove_dir_all(path).unwrap(),
            false => std::fs::remove_file(path).unwrap(),
        }
    }
}

pub fn restore(rig: &Rig, what: &RestoreOptions) -> Result<Restored, OrderError> {
    runtime().block_on(store::restore(rig.options.clone(), what))
}

type Expected = BTreeMap<String, Bytes>;

async fn write(store: &Store, bucket: BucketId, all: &mut Expected, name: &str, seed: u64, len: u64) {
    put(store, bucket, name, content(seed, len)).await.unwrap();
    all.insert(name.to_owned(), content(seed, len));
}

async fn delete(store: &Store, bucket: BucketId, all: &mut Expected, name: &str) {
    store.delete(bucket, DeleteRequest { key: key(name), if_match: None }).await.unwrap();
    all.remove(name);
}

/// The bucket has these objects with these bytes, and no others.
async fn compare(store: &Store, bucket: BucketId, expected: &Expected) {
    let request = store::ListRequest { max: 1000, ..store::ListRequest::default() };
    let listed = store.list(bucket, request).await.unwrap();
    let names: Vec<String> = listed
        .entries
        .iter()
        .map(|entry| match entry {
            store::ListEntry::Object(key, _) => key.as_str().to_owned(),
            store::ListEntry::CommonPrefix(prefix) => panic!("{prefix}"),
        })
        .collect();
    assert_eq!(names, expected.keys().cloned().collect::<Vec<_>>());
    for (name, bytes) in expected {
        assert!(get(store, bucket, name).await.unwrap() == *bytes, "{name}");
    }
}

/// Everything that works by itself, and what an operator may order, long after.
async fn run_all_queues(store: &Store) {
    settle(store).await;
    advance(Duration::from_secs(3 * 24 * 3600));
    settle(store).await;
    let order = ScrubOrder { backend: None, before: types::Timestamp(u64::MAX), remote: true };
    let mut due = store.scrub_due(&order).await.unwrap();
    while !due.is_done() {
        let step = store.scrub_step(&mut due, &Pace::new(None)).await.unwrap();
        assert_eq!(step.bad.len(), 0, "{:?}", step.bad);
    }
    for backend in ["a", "b"] {
        let order = ReconcileOrder {
            backend: backend.to_owned(),
            prefix: String::new(),
            adopt: None,
            clean: true,
            dry_run: false,
        };
        let mut walk = store.reconcile(order, None).await.unwrap().unwrap();
        while let Some(step) = walk.step().await.unwrap() {
            let wrong = step.odd.iter().any(|odd| matches!(odd.what, Oddity::Missing | Oddity::Different));
            assert!(!wrong, "{:?}", step.odd);
        }
    }
    settle(store).await;
}

#[test]
fn everything_is_back_and_nothing_that_was_deleted() {
    let (_a, _b, rig) = two(2);
    let mut expected = Expected::new();
    let (store, bucket) = rig.open();
    let (first, second) = runtime().block_on(async {
        for n in 0..20 {
            write(&store, bucket, &mut expected, &format!("k{n:02}"), n, 100 + n * 20_000).await;
        }
        write(&store, bucket, &mut expected, "odd/ü \u{1}%//x", 50, 10).await;
        write(&store, bucket, &mut expected, "empty", 0, 0).await;
        let first = snapshot(&store, 5).await;
        let second = snapshot(&store, 5).await;
        for n in 0..5 {
            write(&store, bucket, &mut expected, &format!("k{n:02}"), 100 + n, LARGE + n).await;
            delete(&store, bucket, &mut expected, &format!("k{:02}", n + 5)).await;
            write(&store, bucket, &mut expected, &format!("new{n}"), 200 + n, n * 100_000).await;
        }
        settle(&store).await;
        store.close().await;
        (first, second)
    });
    drop(store);
    assert!(first.iter().all(|sent| sent.error.is_none() && sent.sent_files == sent.files), "{first:?}");
    assert!(second.iter().all(|sent| sent.error.is_none() && sent.sent_files < sent.files), "{second:?}");
    assert!(
        matches!(restore(&rig, &RestoreOptions::default()), Err(OrderError::Refused(_))),
        "it has records"
    );
    for chosen in [&second, &first] {
        wipe(&rig);
        let id = chosen.first().unwrap().id.clone();
        let restored = restore(&rig, &RestoreOptions { snapshot: Some(id), ..RestoreOptions::default() });
        let restored = restored.unwrap();
        assert_eq!((restored.recovered, restored.deleted), (10, 5), "{restored:?}");
        assert_eq!((&restored.lost, &restored.left, &restored.set_beside), (&vec![], &vec![], &vec![]));
        assert_eq!(restored.objects, expected.len() as u64);
        let (store, bucket) = rig.open();
        runtime().block_on(async {
            compare(&store, bucket, &expected).await;
            settle(&store).await;
            store.close().await;
        });
        drop(store);
        assert_eq!(rig.fsck().1, []);
        let (store, bucket) = rig.open();
        runtime().block_on(async {
            run_all_queues(&store).await;
            compare(&store, bucket, &expected).await;
            store.close().await;
        });
        drop(store);
        assert_eq!(rig.fsck().1, []);
    }
}

#[test]
fn a_snapshot_that_is_not_whole_is_not_chosen_and_old_ones_are_deleted() {
    let (a, b, rig) = two(2);
    let mut expected = Expected::new();
    let (store, bucket) = rig.open();
    runtime().block_on(async {
        write(&store, bucket, &mut expected, "k", 1, LARGE).await;
        for _ in 0..4 {
            snapshot(&store, 2).await;
        }
        let (kept, silent) = store.snapshots().await;
        assert_eq!((kept.len(), silent.len()), (4, 0), "two on each");
        assert!(kept.iter().all(|at| at.whole));
        write(&store, bucket, &mut expected, "later", 2, LARGE).await;
        // Broken off after a few files.
        let order = SnapshotOrder { backends: Vec::new(), keep: 2 };
        let mut running = store.snapshot(&order).await.unwrap();
        running.step().await.unwrap();
        drop(running);
        let (newest, _) = store.snapshots().await;
        assert_eq!(newest.len(), 4);
        // A file of the newest one is lost on both.
        let sent = snapshot(&store, 3).await;
        assert!(sent.iter().all(|sent| sent.error.is_none()));
        store.close().await;
    });
    drop(store);
    for on in [&a, &b] {
        runtime().block_on(async {
            let backend = on.backend.inner();
            let page = backend.list(backend::KEPT_ASIDE, None, 1000).await.unwrap();
            let newest = page.found.iter().filter(|found| found.location.as_str().contains("/files/"));
            // The one that was sent last is the log, or the list of tables: no earlier snapshot names it.
            let newest: Vec<_> = newest.map(|found| found.location.clone()).collect();
            assert!(newest.len() > 3);
            let manifests = page.found.iter().filter(|found| found.location.as_str().ends_with(".snapshot"));
            let last = manifests.map(|found| found.location.clone()).max().unwrap();
            backend.remove(&[last]).await.unwrap();
        });
    }
    wipe(&rig);
    let restored = restore(&rig, &RestoreOptions::default()).unwrap();
    assert_eq!((restored.recovered, restored.objects), (1, 2));
    let (store, bucket) = rig.open();
    runtime().block_on(async {
        compare(&store, bucket, &expected).await;
        run_all_queues(&store).await;
        compare(&store, bucket, &expected).await;
        store.close().await;
    });
}

#[test]
fn a_restore_that_was_broken_off_is_begun_anew_and_no_node_starts_in_between() {
    let (a, _b, rig) = two(2);
    let mut expected = Expected::new();
    let (store, bucket) = rig.open();
    runtime().block_on(async {
        write(&store, bucket, &mut expected, "k", 1, LARGE).await;
        snapshot(&store, 2).await;
        store.close().await;
    });
    drop(store);
    wipe(&rig);
    // It fails while it lists what lies on a backend, and when it fetches.
    for call in [backend::Call::Read, backend::Call::Head] {
        a.script.always(call, backend::Trouble::Fail(backend::Fault::Unavailable));
        let refused = restore(&rig, &RestoreOptions { without: vec!["b".to_owned()], ..Default::default() });
        assert!(refused.is_err() || call == backend::Call::Head);
        a.script.clear();
        let _ = std::fs::remove_dir_all(rig.options.data_dir.join("meta"));
        std::fs::create_dir_all(rig.options.data_dir.join("restoring/meta")).unwrap();
        std::fs::write(rig.options.data_dir.join("restoring/meta/CURRENT"), "half").unwrap();
        assert!(Store::open_dir(rig.options.clone()).is_err(), "a half restored node does not start");
    }
    restore(&rig, &RestoreOptions::default()).unwrap();
    let (store, bucket) = rig.open();
    runtime().block_on(async {
        compare(&store, bucket, &expected).await;
        store.close().await;
    });
}

#[test]
fn what_may_live_under_another_name_is_kept_and_numbers_are_never_given_twice() {
    let (_a, _b, rig) = two(2);
    let (store, bucket) = rig.open();
    let mut expected = Expected::new();
    runtime().block_on(async {
        write(&store, bucket, &mut expected, "log", 1, LARGE).await;
        snapshot(&store, 2).await;
        // As a log is rotated: the old bytes live on under a name that no backend knows.
        let found = store.open(bucket, &key("log")).await.unwrap();
        let request = store::CopyRequest {
            bucket,
            destination: key("log.1"),
            headers: None,
            tags: None,
            conditions: types::WriteConditions::default(),
            algorithm: None,
        };
        store.copy(&found, request).await.unwrap();
        write(&store, bucket, &mut expected, "log", 2, LARGE).await;
        settle(&store).await;
        store.close().await;
    });
    drop(store);
    wipe(&rig);
    let restored = restore(&rig, &RestoreOptions::default()).unwrap();
    assert_eq!((restored.recovered, restored.set_beside.len()), (1, 1), "{restored:?}");
    let name = restored.set_beside.first().unwrap().split_once('/').unwrap().1.to_owned();
    expected.insert(name, content(1, LARGE));
    let (store, bucket) = rig.open();
    runtime().block_on(async {
        compare(&store, bucket, &expected).await;
        run_all_queues(&store).await;
        write(&store, bucket, &mut expected, "after", 3, LARGE).await;
        compare(&store, bucket, &expected).await;
        store.close().await;
    });
    drop(store);
    assert_eq!(rig.fsck().1, []);
}

/// Without what belongs to snapshots.
async fn replicas(on: &Troubled) -> usize {
    on.locations().await.iter().filter(|location| !location.starts_with(backend::KEPT_ASIDE)).count()
}

/// The records are yesterday's: they have deletions that were refused then and are done since, a write that was under
/// way, a key that was written again. Whatever runs now: nothing that lives is gone, nothing deleted is back.
#[test]
fn yesterdays_records_take_nothing_that_lives_and_bring_nothing_back() {
    let (a, b, rig) = two(2);
    let mut expected = Expected::new();
    let (store, bucket) = rig.open();
    runtime().block_on(async {
        for (name, seed) in [("again", 1), ("gone", 2), ("gone later", 3), ("kept", 4)] {
            write(&store, bucket, &mut expected, name, seed, LARGE).await;
        }
        for on in [&a, &b] {
            on.script.always(Call::Remove, Trouble::Fail(Fault::Refused));
        }
        write(&store, bucket, &mut expected, "again", 5, LARGE).await;
        delete(&store, bucket, &mut expected, "gone").await;
        settle(&store).await;
        assert!(!store.cleanup_queue(10).await.unwrap().is_empty(), "deletions are refused");
        for on in [&a, &b] {
            on.script.once(Call::Finish, Trouble::Late(Duration::from_millis(1500)));
        }
        let under_way = tokio::spawn({
            let store = store.clone();
            async move { put(&store, bucket, "under way", content(6, LARGE)).await }
        });
        tokio::time::sleep(Duration::from_millis(100)).await;
        snapshot(&store, 2).await;
        assert!(!under_way.is_finished(), "the snapshot has its intent, and not its record");
        under_way.await.unwrap().unwrap();
        expected.insert("under way".to_owned(), content(6, LARGE));
        // Since then the backends are well, and the day goes on.
        for on in [&a, &b] {
            on.script.clear();
            store.trust_backend(on.name);
        }
        write(&store, bucket, &mut expected, "again", 7, LARGE).await;
        write(&store, bucket, &mut expected, "gone", 8, LARGE).await;
        delete(&store, bucket, &mut expected, "gone later").await;
        advance(Duration::from_secs(3600));
        settle(&store).await;
        assert_eq!((replicas(&a).await, replicas(&b).await), (4, 4));
        store.close().await;
    });
    drop(store);
    wipe(&rig);
    let restored = restore(&rig, &RestoreOptions::default()).unwrap();
    assert_eq!((&restored.lost, &restored.set_beside), (&vec![], &vec![]), "{restored:?}");
    let (store, bucket) = rig.open();
    runtime().block_on(async {
        compare(&store, bucket, &expected).await;
        run_all_queues(&store).await;
        compare(&store, bucket, &expected).await;
        assert_eq!((replicas(&a).await, replicas(&b).await), (4, 4));
        store.close().await;
    });
    drop(store);
    assert_eq!(rig.fsck().1, []);
}
