//! Every verb's future, dropped at every await: nothing leaks, and what it was for happened wholly or not at all.

use bytes::Bytes;
use std::time::{Duration, Instant};
use store::{
    CompleteUpload, CopyRequest, CreateUpload, DeleteRequest, Durability, ListRequest, ListUploadsRequest,
    NamedPart, Promised, PutRequest, Store, StoreError, UploadRef,
};
use testkit::Rng;
use testkit::cancel::drop_after;
use types::{Algorithm, BucketId, ByteRange, ETag, Key, ObjectHeaders, Tags, UploadId, WriteConditions};

use crate::rig::{Body, EXPIRY, Rig, advance, content, key, md5_of, read_all, runtime};

/// A future that is never ready after this many polls is a fault of the test.
const MAX_POLLS: usize = 500;
const SMALL: u64 = 1000;
/// Two windows and a half: a pipeline in every state.
const LARGE: u64 = (1 << 20) + 300_000;
const PART: u64 = 5 << 20;

/// A store with something of every kind in it.
struct Stage {
    rig: Rig,
    store: Option<Store>,
    bucket: BucketId,
    upload: UploadRef,
}

fn put(bucket: BucketId, at: &str, size: Option<u64>) -> PutRequest {
    PutRequest {
        bucket,
        key: key(at),
        headers: ObjectHeaders::default(),
        conditions: WriteConditions::default(),
        promised: Promised { size, ..Promised::default() },
    }
}

fn body(seed: u64, size: u64) -> Body {
    Body::in_pieces(content(seed, size), &mut Rng::new(seed)).lazy()
}

fn named(seed: u64) -> NamedPart {
    let etag = Some(ETag::single(md5_of(&content(seed, PART))));
    NamedPart { number: seed as u16, etag, checksum: None }
}

impl Stage {
    async fn new() -> Self {
        let rig = Rig::new(Durability::ProcessCrash);
        let (store, bucket) = rig.open();
        for (name, size) in [("small", SMALL), ("large", LARGE)] {
            store.put(put(bucket, name, Some(size)), Body::whole(content(7, size))).await.unwrap();
        }
        let upload = UploadRef { bucket, key: key("upload"), id: UploadId { sequence: 0, secret: 0 } };
        let mut stage = Self { rig, store: Some(store), bucket, upload };
        stage.begin_upload().await;
        stage
    }

    fn store(&self) -> &Store {
        self.store.as_ref().expect("open between two audits")
    }

    /// An upload with two parts; a new one if the last is gone.
    async fn begin_upload(&mut self) {
        if self.store().upload(&self.upload).await.is_ok() {
            return;
        }
        let request = CreateUpload {
            bucket: self.bucket,
            key: self.upload.key.clone(),
            headers: ObjectHeaders::default(),
            checksum: None,
        };
        self.upload.id = self.store().create_upload(request).await.unwrap();
        for number in 1..=2 {
            let body = Body::whole(content(u64::from(number), PART));
            self.store().put_part(&self.upload, number, Promised::default(), body).await.unwrap();
        }
    }

    /// What a dropped future had begun has ended, and left nothing but what records name.
    async fn settle(&self) {
        let begun = Instant::now();
        loop {
            let progress = self.store().cleanup_pass().await.unwrap();
            let (bucket, backend) = (self.store().bucket_usage(self.bucket), self.store().backend_usage());
            let left = (bucket.reserved_bytes, backend.reserved_bytes, backend.awaiting_bytes, progress.done);
            if left == (0, 0, 0, 0) {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(10), "it leaks: {left:?}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Everything adds up on the disk, at once and when cleanup has done what was left to it.
    async fn audit(&mut self, what: &str) {
        self.check_disk(what).await;
        self.settle().await;
        let tasks = self.check_disk(what).await;
        assert_eq!(tasks, 0, "{what}: the queue is empty");
    }

    /// How many tasks were left.
    async fn check_disk(&mut self, what: &str) -> u64 {
        if let Some(store) = self.store.take() {
            store.close().await;
        }
        let (summary, differences) = self.rig.fsck();
        assert_eq!(differences, [], "{what}");
        let (store, bucket) = self.rig.open();
        (self.store, self.bucket) = (Some(store), bucket);
        summary.tasks
    }

    async fn bytes_of(&self, at: &str) -> Option<Bytes> {
        let open = self.store().open(self.bucket, &key(at)).await.ok()?;
        let whole = ByteRange::whole(open.object().size);
        Some(Bytes::from(read_all(&open, whole).await.unwrap()))
    }
}

/// Drops the work at its 0th, 1st, 2nd ... await until it comes to its end.
fn at_every_await(
    name: &str,
    work: impl AsyncFn(Store, BucketId, UploadRef),
    check: impl AsyncFn(&Stage, usize),
) {
    runtime().block_on(async {
        let mut stage = Stage::new().await;
        for polls in 0..MAX_POLLS {
            stage.begin_upload().await;
            let done =
                drop_after(polls, work(stage.store().clone(), stage.bucket, stage.upload.clone())).await;
            stage.settle().await;
            check(&stage, polls).await;
            if polls % 8 == 0 || done.is_some() {
                stage.audit(&format!("{name}, dropped after {polls} polls")).await;
            }
            if done.is_some() {
                return assert!(polls > 0, "{name} waits for nothing");
            }
        }
        panic!("{name} does not end within {MAX_POLLS} polls");
    });
}

async fn nothing(_: &Stage, _: usize) {}

/// A key holds the whole of one of these, or nothing where that is allowed.
async fn holds_one_of(stage: &Stage, at: &str, allowed: &[Option<Bytes>]) {
    let found = stage.bytes_of(at).await;
    assert!(allowed.contains(&found), "{at} holds {:?} bytes of neither", found.map(|bytes| bytes.len()));
}

fn a_put(name: &str, at: &'static str, size: u64, promised: bool, before: Option<(u64, u64)>) {
    let work = async move |store: Store, bucket: BucketId, _: UploadRef| {
        let request = put(bucket, at, promised.then_some(size));
        store.put(request, body(3, size)).await.unwrap();
    };
    let before = before.map(|(seed, size)| content(seed, size));
    let check = async move |stage: &Stage, _| {
        holds_one_of(stage, at, &[before.clone(), Some(content(3, size))]).await;
    };
    at_every_await(name, work, check);
}

#[test]
fn put_small() {
    a_put("a small put", "new", SMALL, true, None);
}

#[test]
fn put_large() {
    a_put("a large put", "new", LARGE, true, None);
}

#[test]
fn put_of_unknown_length() {
    a_put("a put of unknown length", "new", LARGE, false, None);
}

#[test]
fn overwrite() {
    a_put("an overwrite", "large", LARGE + 1, true, Some((7, LARGE)));
    a_put("an overwrite of a small one", "small", LARGE, true, Some((7, SMALL)));
}

#[test]
fn copy() {
    for algorithm in [None, Some(Algorithm::Sha256)] {
        let work = async move |store: Store, bucket: BucketId, _: UploadRef| {
            let source = store.open(bucket, &key("large")).await.unwrap();
            let request = CopyRequest {
                bucket,
                destination: key("copy"),
                headers: None,
                tags: None,
                conditions: WriteConditions::default(),
                algorithm,
            };
            store.copy(&source, request).await.unwrap();
        };
        let check = async |stage: &Stage, _| {
            holds_one_of(stage, "copy", &[None, Some(content(7, LARGE))]).await;
        };
        at_every_await("a copy", work, check);
    }
}

#[test]
fn delete_and_tags() {
    let remove = async |store: Store, bucket: BucketId, _: UploadRef| {
        let request = |name| DeleteRequest { key: key(name), if_match: None };
        store.delete(bucket, request("large")).await.unwrap();
        store.delete_many(bucket, vec![request("small"), request("none")]).await;
    };
    at_every_await("deletes", remove, nothing);
    let tag = async |store: Store, bucket: BucketId, _: UploadRef| {
        let tags = Tags::new(vec![("a".to_owned(), "b".to_owned())]).unwrap();
        store.set_tags(bucket, &key("small"), tags).await.unwrap();
    };
    at_every_await("tags", tag, nothing);
}

#[test]
fn create_and_put_part() {
    let work = async |store: Store, bucket: BucketId, _: UploadRef| {
        let key = key("another");
        let (headers, checksum) = (ObjectHeaders::default(), None);
        let id =
            store.create_upload(CreateUpload { bucket, key: key.clone(), headers, checksum }).await.unwrap();
        let upload = UploadRef { bucket, key, id };
        store.put_part(&upload, 1, Promised::default(), body(3, LARGE)).await.unwrap();
    };
    at_every_await("create and a part", work, nothing);
}

#[test]
fn replaced_and_copied_parts() {
    let replace = async |store: Store, _: BucketId, upload: UploadRef| {
        store.put_part(&upload, 2, Promised::default(), body(3, LARGE)).await.unwrap();
    };
    at_every_await("a replaced part", replace, nothing);
    let copy = async |store: Store, bucket: BucketId, upload: UploadRef| {
        let source = store.open(bucket, &key("large")).await.unwrap();
        store.copy_part(&upload, 3, &source, ByteRange { start: 10, end: LARGE - 10 }).await.unwrap();
    };
    at_every_await("a copied part", copy, nothing);
}

#[test]
fn complete() {
    let work = async |store: Store, _: BucketId, upload: UploadRef| {
        let request = CompleteUpload {
            upload,
            parts: vec![named(1), named(2)],
            conditions: WriteConditions::default(),
            checksum: None,
            kind: None,
            object_size: None,
        };
        store.complete_upload(request).await.unwrap();
    };
    let whole = Bytes::from([content(1, PART), content(2, PART)].concat());
    let check = async move |stage: &Stage, _| {
        holds_one_of(stage, "upload", &[None, Some(whole.clone())]).await;
    };
    at_every_await("complete", work, check);
}

#[test]
fn abort_and_expiry() {
    let abort = async |store: Store, _: BucketId, upload: UploadRef| match store.abort_upload(&upload).await {
        // The abort that was dropped before this one may have come to its end in between.
        Ok(()) | Err(StoreError::NoSuchUpload) => {}
        Err(error) => panic!("an abort: {error}"),
    };
    at_every_await("abort", abort, nothing);
    let expire = async |store: Store, _: BucketId, _: UploadRef| {
        advance(EXPIRY * 2);
        store.expire_uploads().await.unwrap();
    };
    at_every_await("expiry", expire, nothing);
}

#[test]
fn cleanup() {
    let work = async |store: Store, bucket: BucketId, _: UploadRef| {
        store.put(put(bucket, "doomed", Some(LARGE)), Body::whole(content(9, LARGE))).await.unwrap();
        store.delete(bucket, DeleteRequest { key: key("doomed"), if_match: None }).await.unwrap();
        store.cleanup_pass().await.unwrap();
    };
    at_every_await("cleanup", work, nothing);
}

#[test]
fn reads() {
    let work = async |store: Store, bucket: BucketId, upload: UploadRef| {
        for name in ["small", "large"] {
            let size = store.head(bucket, &key(name)).await.unwrap().size;
            let open = store.open(bucket, &key(name)).await.unwrap();
            read_all(&open, ByteRange::whole(size)).await.unwrap();
        }
        store.list(bucket, ListRequest { max: 10, ..ListRequest::default() }).await.unwrap();
        let uploads = ListUploadsRequest { max: 10, ..ListUploadsRequest::default() };
        store.list_uploads(bucket, uploads).await.unwrap();
        store.list_parts(&upload, 0, 10).await.unwrap();
    };
    at_every_await("reads", work, nothing);
}

/// A reader that is dropped half-way lets its blob go.
#[test]
fn a_dropped_reader_holds_up_nothing() {
    runtime().block_on(async {
        let stage = Stage::new().await;
        let large: Key = key("large");
        for polls in 0..12 {
            stage.store().put(put(stage.bucket, "large", Some(LARGE)), body(7, LARGE)).await.unwrap();
            let open = stage.store().open(stage.bucket, &large).await.unwrap();
            stage
                .store()
                .delete(stage.bucket, DeleteRequest { key: large.clone(), if_match: None })
                .await
                .unwrap();
            drop_after(polls, async {
                let mut reader = open.read(ByteRange::whole(LARGE));
                while reader.next().await.is_some() {}
            })
            .await;
            drop(open);
            stage.settle().await;
        }
    });
}
