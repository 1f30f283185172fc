//! Quotas: never above, by not one byte; what is reserved comes back; an overwrite needs the difference only.

use bytes::Bytes;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use store::{
    Change, CopyRequest, CreateUpload, DeleteRequest, Durability, Listener, Promised, PutRequest, Store,
    StoreError, UploadRef, Written,
};
use testkit::Rng;
use types::{BucketId, ByteRange, ObjectHeaders, WriteConditions};

use crate::rig::{Body, Rig, content, key, runtime};

const MIB: u64 = 1 << 20;
const QUOTA: u64 = 6 * MIB;
/// Small enough to be full most of the time.
const FILL: u64 = MIB;

fn request(bucket: BucketId, at: &str, size: Option<u64>) -> PutRequest {
    PutRequest {
        bucket,
        key: key(at),
        headers: ObjectHeaders::default(),
        conditions: WriteConditions::default(),
        promised: Promised { size, ..Promised::default() },
    }
}

async fn put(store: &Store, bucket: BucketId, at: &str, size: u64) -> Result<Written, StoreError> {
    store.put(request(bucket, at, Some(size)), Body::whole(Bytes::from(vec![1; size as usize]))).await
}

fn assert_nothing_reserved(store: &Store, bucket: BucketId) {
    assert_eq!(store.bucket_usage(bucket).reserved_bytes, 0);
    assert_eq!(store.backend_usage().reserved_bytes, 0);
}

/// Looks at the ledger at every commit.
struct Watch {
    /// Taken out at the end: a store that hears itself would live for ever.
    store: Mutex<Option<Store>>,
    bucket: BucketId,
    highest: AtomicU64,
}

impl Listener for Watch {
    fn committed(&self, _: &[Change]) {
        if let Some(store) = &*self.store.lock().unwrap() {
            self.highest.fetch_max(store.bucket_usage(self.bucket).bytes, Ordering::Relaxed);
        }
    }
}

/// Bodies of known and unknown length, overwrites and deletions, all at a time.
#[test]
fn a_parallel_fill_ends_at_the_limit_and_was_never_above() {
    let rig = Rig::new(Durability::ProcessCrash).with_quota(Some(FILL));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    let full = Arc::new(AtomicU64::new(0));
    let highest = runtime.block_on(async {
        let (store, bucket) = rig.open();
        let (watched, highest) = (Mutex::new(Some(store.clone())), AtomicU64::new(0));
        let watch = Arc::new(Watch { store: watched, bucket, highest });
        store.listen(Arc::clone(&watch) as Arc<dyn Listener>);
        let writers: Vec<_> = (0..12).map(|n| writer(store.clone(), bucket, n, Arc::clone(&full))).collect();
        let writers: Vec<_> = writers.into_iter().map(tokio::spawn).collect();
        for writer in writers {
            writer.await.unwrap();
        }
        assert_nothing_reserved(&store, bucket);
        let used = store.bucket_usage(bucket).bytes;
        // To the last byte, and not one more.
        put(&store, bucket, "the rest", FILL - used).await.unwrap();
        assert!(matches!(put(&store, bucket, "one more", 1).await, Err(StoreError::QuotaExceeded)));
        assert_eq!(store.bucket_usage(bucket).bytes, FILL);
        *watch.store.lock().unwrap() = None;
        watch.highest.load(Ordering::Relaxed)
    });
    drop(runtime);
    assert!(highest > 0 && highest <= FILL, "{highest} bytes at a time");
    assert!(full.load(Ordering::Relaxed) > 10, "the limit was hardly reached");
    assert_eq!(rig.fsck().1, []);
}

async fn writer(store: Store, bucket: BucketId, n: u64, full: Arc<AtomicU64>) {
    let mut rng = Rng::new(n);
    for round in 0..40 {
        let size = rng.size(FILL / 2);
        let at = format!("{}", rng.below(30));
        if rng.chance(15) {
            store.delete(bucket, DeleteRequest { key: key(&at), if_match: None }).await.unwrap();
            continue;
        }
        let promised = rng.chance(70).then_some(size);
        let body = Body::in_pieces(content(round, size), &mut rng);
        match store.put(request(bucket, &at, promised), body).await {
            Ok(_) => {}
            Err(StoreError::QuotaExceeded) => drop(full.fetch_add(1, Ordering::Relaxed)),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn an_overwrite_needs_the_difference_only() {
    let rig = Rig::new(Durability::ProcessCrash).with_quota(Some(QUOTA));
    runtime().block_on(async {
        let (store, bucket) = rig.open();
        put(&store, bucket, "a", 5 * MIB).await.unwrap();
        put(&store, bucket, "a", 5 * MIB).await.unwrap();
        put(&store, bucket, "a", 5 * MIB + 100).await.unwrap();
        put(&store, bucket, "b", MIB - 100).await.unwrap();
        put(&store, bucket, "a", 5 * MIB + 101).await.unwrap_err();
        put(&store, bucket, "a", 10).await.unwrap();
        assert_eq!(store.bucket_usage(bucket).bytes, MIB - 90);
        assert_nothing_reserved(&store, bucket);
    });
}

#[test]
fn what_fails_gives_its_room_back() {
    let rig = Rig::new(Durability::ProcessCrash).with_quota(Some(QUOTA));
    runtime().block_on(async {
        let (store, bucket) = rig.open();
        for size in [None, Some(4 * MIB)] {
            for _ in 0..10 {
                let body = Body::in_pieces(content(1, 4 * MIB), &mut Rng::new(1)).broken();
                store.put(request(bucket, "a", size), body).await.unwrap_err();
            }
            let mut short = request(bucket, "a", size);
            short.promised.content_md5 = Some([1; 16]);
            store.put(short, Body::whole(content(1, 4 * MIB))).await.unwrap_err();
            assert_nothing_reserved(&store, bucket);
        }
        put(&store, bucket, "a", 5 * MIB).await.unwrap();
    });
}

#[test]
fn parts_count_and_copies_count() {
    let rig = Rig::new(Durability::ProcessCrash).with_quota(Some(QUOTA));
    runtime().block_on(async {
        let (store, bucket) = rig.open();
        put(&store, bucket, "a", 2 * MIB).await.unwrap();
        let source = store.open(bucket, &key("a")).await.unwrap();
        for (at, fits) in [("b", true), ("c", true), ("d", false)] {
            let request = CopyRequest {
                bucket,
                destination: key(at),
                headers: None,
                tags: None,
                conditions: WriteConditions::default(),
                algorithm: None,
            };
            assert_eq!(store.copy(&source, request).await.is_ok(), fits, "{at}");
        }
        store.delete(bucket, DeleteRequest { key: key("c"), if_match: None }).await.unwrap();
        let (headers, checksum) = (ObjectHeaders::default(), None);
        let id =
            store.create_upload(CreateUpload { bucket, key: key("e"), headers, checksum }).await.unwrap();
        let upload = UploadRef { bucket, key: key("e"), id };
        let part = |size: u64| Body::whole(content(1, size));
        store.put_part(&upload, 1, Promised::default(), part(2 * MIB)).await.unwrap();
        store.put_part(&upload, 2, Promised::default(), part(1)).await.unwrap_err();
        store.copy_part(&upload, 2, &source, ByteRange { start: 0, end: 1 }).await.unwrap_err();
        assert_eq!(store.bucket_usage(bucket).bytes, QUOTA);
        store.abort_upload(&upload).await.unwrap();
        assert_eq!(store.bucket_usage(bucket).bytes, 4 * MIB);
        assert_nothing_reserved(&store, bucket);
    });
}

/// What waits for cleanup is still on the backend's disk.
#[test]
fn a_backend_counts_what_it_has_not_deleted_yet() {
    let mut rig = Rig::new(Durability::ProcessCrash);
    rig.options.backend_quota = Some(QUOTA);
    runtime().block_on(async {
        let (store, bucket) = rig.open();
        put(&store, bucket, "a", 4 * MIB).await.unwrap();
        assert!(matches!(put(&store, bucket, "a", 3 * MIB).await, Err(StoreError::Full)));
        put(&store, bucket, "a", 2 * MIB).await.unwrap();
        assert!(matches!(put(&store, bucket, "b", 1).await, Err(StoreError::Full)));
        store.cleanup_pass().await.unwrap();
        put(&store, bucket, "b", 4 * MIB).await.unwrap();
        assert_nothing_reserved(&store, bucket);
    });
}
