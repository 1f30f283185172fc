//! The data directory is lost: objects of several blobs that are younger than the snapshot.

use std::collections::BTreeMap;

use backend::Backend;
use bytes::Bytes;
use store::{
    Acknowledge, Append, Appended, Asker, CompleteUpload, CreateUpload, DeleteRequest, NamedPart, Placement,
    Promised, Purpose, RestoreOptions, Restored, Store, UploadRef,
};
use types::{BucketId, ETag, ObjectHeaders, WriteConditions};

use crate::fleet::{Troubled, get, policy, put, rig, settle};
use crate::restore;
use crate::rig::{Body, Rig, content, key, runtime};

const PART: u64 = types::MIN_PART_SIZE_BYTES;

async fn snapshot(store: &Store) {
    assert!(restore::snapshot(store, 2).await.iter().all(|sent| sent.error.is_none()));
}

fn headers(kind: &str) -> ObjectHeaders {
    ObjectHeaders { content_type: Some(kind.to_owned()), ..ObjectHeaders::default() }
}

async fn begin(store: &Store, bucket: BucketId, name: &str) -> UploadRef {
    let request = CreateUpload { bucket, key: key(name), headers: headers("text/x-joint"), checksum: None };
    let id = store.create_upload(request).await.unwrap();
    UploadRef { bucket, key: key(name), id }
}

async fn part(store: &Store, upload: &UploadRef, number: u16, seed: u64, len: u64) -> (NamedPart, Bytes) {
    let body = Body::whole(content(seed, len));
    let stored = store.put_part(upload, number, Promised::default(), body).await.unwrap();
    (NamedPart { number, etag: Some(stored.etag), checksum: None }, content(seed, len))
}

async fn complete(store: &Store, upload: &UploadRef, parts: &[(NamedPart, Bytes)]) -> (ETag, Bytes) {
    let request = CompleteUpload {
        upload: upload.clone(),
        parts: parts.iter().map(|(named, _)| named.clone()).collect(),
        conditions: WriteConditions::default(),
        checksum: None,
        kind: None,
        object_size: None,
    };
    let written = store.complete_upload(request).await.unwrap();
    (written.etag, parts.iter().flat_map(|(_, bytes)| bytes.clone()).collect())
}

async fn append(store: &Store, bucket: BucketId, name: &str, seed: u64) -> Bytes {
    let asker = Asker { bucket, origin: store::Origin::default(), waits: true };
    let (key, headers) = (key(name), headers("text/x-appended"));
    let base = store.open(bucket, &key).await.unwrap();
    let purpose = Purpose { bucket, key: &key, headers: &headers, part: Some(base.parts().len() as u16 + 2) };
    let more = content(seed, 40_000);
    let body = store.take_in(purpose, Some(40_000), 0, Body::whole(more.clone())).await.unwrap();
    let version = store.next_version().unwrap();
    let append = Append { asker, key, base, to_current: true, headers, version };
    assert!(matches!(store.append(append, body).await.unwrap(), Appended::Done(_)));
    more
}

fn wipe_and_restore(rig: &Rig) -> Restored {
    restore::wipe(rig);
    restore::restore(rig, &RestoreOptions::default()).unwrap()
}

type Expected = BTreeMap<String, (Option<ETag>, Option<&'static str>, Bytes)>;

async fn compare(store: &Store, bucket: BucketId, expected: &Expected) {
    let request = store::ListRequest { max: 1000, ..store::ListRequest::default() };
    let listed = store.list(bucket, request).await.unwrap();
    assert_eq!(listed.entries.len(), expected.len(), "{:?}", listed.entries);
    for (name, (etag, kind, bytes)) in expected {
        let found = store.open(bucket, &key(name)).await.unwrap();
        assert!(etag.is_none_or(|etag| etag == found.object().etag), "{name}");
        assert_eq!(found.object().headers.content_type.as_deref(), *kind, "{name}");
        assert!(get(store, bucket, name).await.unwrap() == *bytes, "{name}");
    }
}

#[test]
fn uploads_and_appends_after_the_snapshot_are_whole_again() {
    let (a, b) = (Troubled::new("a"), Troubled::new("b"));
    let rig = rig(vec![a.options(), b.options()], policy(2, Acknowledge::All, Placement::Pack));
    let mut expected = Expected::new();
    let (store, bucket) = rig.open();
    let known = Some("text/x-joint");
    runtime().block_on(async {
        put(&store, bucket, "log", content(1, 300_000)).await.unwrap();
        put(&store, bucket, "over", content(2, 300_000)).await.unwrap();
        let begun = begin(&store, bucket, "begun before").await;
        let (early, dropped) =
            (part(&store, &begun, 1, 10, PART).await, part(&store, &begun, 2, 11, 20_000).await);
        snapshot(&store).await;

        let late = part(&store, &begun, 3, 12, 30_000).await;
        let (etag, bytes) = complete(&store, &begun, &[early, late]).await;
        drop(dropped);
        expected.insert("begun before".to_owned(), (Some(etag), known, bytes));

        let over = begin(&store, bucket, "over").await;
        let parts = [part(&store, &over, 1, 20, PART).await, part(&store, &over, 7, 21, 20_000).await];
        let (etag, bytes) = complete(&store, &over, &parts).await;
        expected.insert("over".to_owned(), (Some(etag), known, bytes));

        let gone = begin(&store, bucket, "gone").await;
        let parts = [part(&store, &gone, 1, 30, 50_000).await];
        complete(&store, &gone, &parts).await;
        store.delete(bucket, DeleteRequest { key: key("gone"), if_match: None }).await.unwrap();

        let mut log = content(1, 300_000).to_vec();
        for seed in [40, 41] {
            log.extend_from_slice(&append(&store, bucket, "log", seed).await);
        }
        expected.insert("log".to_owned(), (None, Some("text/x-appended"), log.into()));
        settle(&store).await;
        store.close().await;
    });
    drop(store);

    let restored = wipe_and_restore(&rig);
    let nothing: [String; 0] = [];
    assert_eq!(
        (&restored.lost[..], &restored.left[..], &restored.set_beside[..]),
        (&nothing[..], &nothing[..], &nothing[..])
    );
    let (store, bucket) = rig.open();
    runtime().block_on(async {
        compare(&store, bucket, &expected).await;
        settle(&store).await;
        compare(&store, bucket, &expected).await;
        // Every kept snapshot has them: what was said of them goes.
        let noted =
            async |on: &Troubled| on.locations().await.iter().filter(|at| at.ends_with(".joint")).count();
        assert!(noted(&a).await > 0 && noted(&b).await > 0);
        for _ in 0..2 {
            snapshot(&store).await;
        }
        assert_eq!((noted(&a).await, noted(&b).await), (0, 0));
        store.close().await;
    });
    drop(store);
    assert_eq!(rig.fsck().1, []);
}

/// Nobody heard that it was complete, or its note was lost: its parts are kept, each under a name of its own.
#[test]
fn parts_that_no_object_is_known_of_are_set_beside() {
    let a = Troubled::new("a");
    let rig = rig(vec![a.options()], policy(1, Acknowledge::All, Placement::Pack));
    let (store, bucket) = rig.open();
    runtime().block_on(async {
        put(&store, bucket, "k", content(1, 300_000)).await.unwrap();
        snapshot(&store).await;
        let open = begin(&store, bucket, "open").await;
        part(&store, &open, 1, 10, 50_000).await;
        let noted = begin(&store, bucket, "noted").await;
        let parts = [part(&store, &noted, 1, 11, 60_000).await];
        complete(&store, &noted, &parts).await;
        settle(&store).await;
        store.close().await;
        let joints = a.locations().await.into_iter().filter(|at| at.ends_with(".joint"));
        let joints: Vec<_> = joints.map(backend::Location::new).collect();
        assert_eq!(joints.len(), 1);
        a.backend.inner().remove(&joints).await.unwrap();
    });
    drop(store);
    let restored = wipe_and_restore(&rig);
    assert_eq!((restored.recovered, restored.set_beside.len()), (0, 2), "{restored:?}");
    assert!(restored.set_beside.iter().all(|name| name.contains(".restored-part-00001-")), "{restored:?}");
}
