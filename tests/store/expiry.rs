//! Uploads end when nothing was added to them for the configured time.

use std::time::Duration;
use store::{
    CompleteUpload, CreateUpload, Durability, NamedPart, Promised, Store, StoreError, StoredPart, UploadRef,
};
use types::{BucketId, ObjectHeaders, WriteConditions};

use crate::rig::{Body, EXPIRY, Rig, advance, content, key, runtime};

/// More than one call looks at.
const MANY: usize = 1100;

async fn create(store: &Store, bucket: BucketId, at: &str) -> UploadRef {
    let (headers, checksum) = (ObjectHeaders::default(), None);
    let request = CreateUpload { bucket, key: key(at), headers, checksum };
    let id = store.create_upload(request).await.unwrap();
    UploadRef { bucket, key: key(at), id }
}

async fn add_part(store: &Store, upload: &UploadRef, number: u16) -> Result<StoredPart, StoreError> {
    store.put_part(upload, number, Promised::default(), Body::whole(content(1, 100_000))).await
}

fn complete(upload: &UploadRef, part: &StoredPart) -> CompleteUpload {
    CompleteUpload {
        upload: upload.clone(),
        parts: vec![NamedPart { number: part.number, etag: Some(part.etag), checksum: None }],
        conditions: WriteConditions::default(),
        checksum: None,
        kind: None,
        object_size: None,
    }
}

async fn is_there(store: &Store, upload: &UploadRef) -> bool {
    store.upload(upload).await.is_ok()
}

#[test]
fn activity_keeps_an_upload_alive() {
    let rig = Rig::new(Durability::ProcessCrash);
    runtime().block_on(async {
        let (store, bucket) = rig.open();
        let (idle, busy) = (create(&store, bucket, "idle").await, create(&store, bucket, "busy").await);
        add_part(&store, &idle, 1).await.unwrap();
        advance(EXPIRY - Duration::from_millis(1));
        assert_eq!(store.expire_uploads().await.unwrap(), 0);
        add_part(&store, &busy, 1).await.unwrap();
        advance(Duration::from_millis(1));
        assert_eq!(store.expire_uploads().await.unwrap(), 1);
        assert!(!is_there(&store, &idle).await && is_there(&store, &busy).await);
        assert!(matches!(add_part(&store, &idle, 2).await, Err(StoreError::NoSuchUpload)));
        assert!(matches!(store.abort_upload(&idle).await, Err(StoreError::NoSuchUpload)));

        advance(EXPIRY - Duration::from_millis(2));
        assert_eq!(store.expire_uploads().await.unwrap(), 0);
        advance(Duration::from_millis(1));
        assert_eq!(store.expire_uploads().await.unwrap(), 1);
        assert!(!is_there(&store, &busy).await);
        assert_eq!(store.bucket_usage(bucket).bytes, 0);
        while store.cleanup_pass().await.unwrap().done > 0 {}
        assert_eq!(rig.blob_files().len(), 0);
        store.close().await;
    });
    let (summary, differences) = rig.fsck();
    assert_eq!((differences, summary.uploads, summary.tasks), (Vec::new(), 0, 0));
}

/// What was finished stays, and its note goes: a client that asks again later hears that there is none.
#[test]
fn a_finished_upload_is_forgotten_and_its_object_is_not() {
    let rig = Rig::new(Durability::ProcessCrash);
    runtime().block_on(async {
        let (store, bucket) = rig.open();
        let upload = create(&store, bucket, "a").await;
        let part = add_part(&store, &upload, 1).await.unwrap();
        advance(EXPIRY / 2);
        let written = store.complete_upload(complete(&upload, &part)).await.unwrap();
        // The task from its beginning comes due first, and must not end the note early.
        advance(EXPIRY / 2 + Duration::from_millis(1));
        assert_eq!(store.expire_uploads().await.unwrap(), 0);
        let again = store.complete_upload(complete(&upload, &part)).await.unwrap();
        assert_eq!((again.etag, again.version), (written.etag, written.version));
        advance(EXPIRY);
        assert_eq!(store.expire_uploads().await.unwrap(), 0);
        let late = store.complete_upload(complete(&upload, &part)).await;
        assert!(matches!(late, Err(StoreError::NoSuchUpload)));
        assert_eq!(store.head(bucket, &key("a")).await.unwrap().etag, written.etag);
    });
    assert_eq!(rig.fsck().1, []);
}

#[test]
fn many_at_a_time_over_a_restart() {
    let rig = Rig::new(Durability::ProcessCrash);
    runtime().block_on(async {
        let (store, bucket) = rig.open();
        for n in 0..MANY {
            create(&store, bucket, &format!("{n}")).await;
        }
        store.close().await;
    });
    runtime().block_on(async {
        let (store, bucket) = rig.open();
        advance(EXPIRY);
        let young = create(&store, bucket, "young").await;
        let mut expired = 0;
        for _ in 0..10 {
            expired += store.expire_uploads().await.unwrap();
        }
        assert_eq!(expired, MANY as u64);
        assert!(is_there(&store, &young).await);
    });
    assert_eq!(rig.fsck().0.uploads, 1);
}
