//! Bytes that are not what was written are never served, are named by fsck, and harm nothing else.

use bytes::Bytes;
use std::fs;
use std::path::PathBuf;
use store::{
    CompleteUpload, CopyRequest, CreateUpload, DeleteRequest, Difference, Durability, FsckOptions, NamedPart,
    Promised, PutRequest, Store, StoreError, UploadRef,
};
use testkit::{Rng, Seed};
use types::{Algorithm, BucketId, ByteRange, ObjectHeaders, WriteConditions};

use crate::rig::{Body, Rig, content, key, runtime};

const CHUNK: u64 = meta::CHUNK_BYTES;
const LARGE: u64 = 4 * CHUNK + 1000;
const PART: u64 = 5 << 20;
const ROUNDS: usize = 60;

/// Objects of each kind, and what they hold.
const OBJECTS: &[(&str, u64)] = &[("large", LARGE), ("other", LARGE), ("small", 1000), ("tiny", 1)];

async fn put(store: &Store, bucket: BucketId, at: &str, bytes: Bytes) {
    let request = PutRequest {
        bucket,
        key: key(at),
        headers: ObjectHeaders::default(),
        conditions: WriteConditions::default(),
        promised: Promised::default(),
    };
    store.put(request, Body::whole(bytes)).await.unwrap();
}

fn body_of(at: &str) -> Bytes {
    let (seed, (_, size)) =
        OBJECTS.iter().enumerate().find(|(_, (name, _))| *name == at).expect("an object of this test");
    content(seed as u64, *size)
}

async fn fill(rig: &Rig) {
    let (store, bucket) = rig.open();
    for (at, _) in OBJECTS {
        put(&store, bucket, at, body_of(at)).await;
    }
    store.close().await;
}

/// The file of the blob of an object.
async fn file_of(rig: &Rig, at: &str) -> PathBuf {
    let (store, bucket) = rig.open();
    let blob = store.head(bucket, &key(at)).await.unwrap().blob;
    store.close().await;
    let name = blob.to_string();
    let files = rig.blob_files();
    files.into_iter().find(|file| file.file_name().is_some_and(|n| *n == *name)).expect("a file")
}

/// What comes before the error is right; whether there was one.
async fn read_honestly(store: &Store, bucket: BucketId, at: &str, range: ByteRange, whole: &Bytes) -> bool {
    let open = match store.open(bucket, &key(at)).await {
        Ok(open) => open,
        Err(error) => return is_honest(at, &error),
    };
    let (mut reader, mut next) = (open.read(range), range.start);
    while let Some(piece) = reader.next().await {
        let piece = match piece {
            Ok(piece) => piece,
            Err(error) => return is_honest(at, &error),
        };
        let end = next + piece.len() as u64;
        assert_eq!(piece, whole.slice(next as usize..end as usize), "{at} from {next}");
        next = end;
    }
    assert_eq!(next, range.end, "{at} ends early without an error");
    false
}

fn is_honest(at: &str, error: &StoreError) -> bool {
    let honest = matches!(error, StoreError::Corrupt(_) | StoreError::Storage(_));
    assert!(honest, "{at}: {error:?}");
    true
}

async fn all_others_are_whole(store: &Store, bucket: BucketId, damaged: &str) {
    for (at, size) in OBJECTS.iter().filter(|(at, _)| *at != damaged) {
        let failed = read_honestly(store, bucket, at, ByteRange::whole(*size), &body_of(at)).await;
        assert!(!failed, "{at} suffers from the damage of {damaged}");
    }
}

fn damaged(found: &[Difference]) -> Vec<String> {
    found
        .iter()
        .map(|difference| match difference {
            Difference::Damaged { names, .. }
            | Difference::MissingBytes { names, .. }
            | Difference::WrongSize { names, .. } => names.first.join(","),
            other => panic!("{other}"),
        })
        .collect()
}

#[test]
fn a_flipped_bit_anywhere_in_a_file_is_never_served() {
    let seed = Seed::new();
    let mut rng = seed.rng();
    let rig = Rig::new(Durability::ProcessCrash);
    runtime().block_on(async {
        fill(&rig).await;
        let file = file_of(&rig, "large").await;
        let whole = body_of("large");
        let (store, bucket) = rig.open();
        for _ in 0..ROUNDS {
            let at = rng.below(LARGE);
            let mut bytes = whole.to_vec();
            bytes[at as usize] ^= 1 << rng.below(8);
            fs::write(&file, &bytes).unwrap();
            assert!(read_honestly(&store, bucket, "large", ByteRange::whole(LARGE), &whole).await);
            ranges_fail_only_where_it_is_damaged(&store, bucket, at, &whole, &mut rng).await;
        }
        all_others_are_whole(&store, bucket, "large").await;
        fs::write(&file, &whole).unwrap();
        assert!(!read_honestly(&store, bucket, "large", ByteRange::whole(LARGE), &whole).await);
        store.close().await;
    });
    assert_eq!(rig.fsck().1, []);
}

async fn ranges_fail_only_where_it_is_damaged(
    store: &Store,
    bucket: BucketId,
    at: u64,
    whole: &Bytes,
    rng: &mut Rng,
) {
    for _ in 0..4 {
        let start = rng.below(LARGE);
        let range = ByteRange { start, end: rng.between(start + 1, LARGE) };
        let touches = (range.start / CHUNK..=(range.end - 1) / CHUNK).contains(&(at / CHUNK));
        let failed = read_honestly(store, bucket, "large", range, whole).await;
        assert_eq!(failed, touches, "{range:?} with damage at {at}");
    }
}

#[test]
fn whatever_happens_to_a_file_fsck_says_whose_it_was() {
    let rig = Rig::new(Durability::ProcessCrash);
    runtime().block_on(async {
        fill(&rig).await;
        let (file, other) = (file_of(&rig, "large").await, file_of(&rig, "other").await);
        let (whole, others) = (body_of("large"), body_of("other"));
        let mut zeroed = whole.to_vec();
        zeroed[4096..8192].fill(0);
        let longer = [&whole[..], b"x"].concat();
        for (what, bytes, seen_by_size) in [
            ("zeroed", zeroed, false),
            ("of another", others.to_vec(), false),
            ("cut", whole[..whole.len() - 1].to_vec(), true),
            ("empty", Vec::new(), true),
            ("longer", longer, true),
        ] {
            fs::write(&file, &bytes).unwrap();
            let quick = rig.fsck_and(FsckOptions::default()).1;
            assert_eq!(!quick.is_empty(), seen_by_size, "{what}: {quick:?}");
            assert_eq!(damaged(&rig.fsck().1), ["bucket/large"], "{what}");
            let (store, bucket) = rig.open();
            let failed = read_honestly(&store, bucket, "large", ByteRange::whole(LARGE), &whole).await;
            // Bytes behind the end belong to nobody and are not read.
            assert_eq!(failed, what != "longer", "{what}");
            all_others_are_whole(&store, bucket, "large").await;
            store.close().await;
        }
        fs::remove_file(&file).unwrap();
        assert_eq!(damaged(&rig.fsck().1), ["bucket/large"]);
        fs::remove_file(&other).unwrap();
        assert_eq!(damaged(&rig.fsck().1), ["bucket/large", "bucket/other"]);

        // It can be listed, replaced and deleted, and is gone with all that was wrong.
        let (store, bucket) = rig.open();
        let list = store.list(bucket, store::ListRequest { max: 10, ..Default::default() }).await.unwrap();
        assert_eq!(list.entries.len(), OBJECTS.len());
        put(&store, bucket, "large", whole.clone()).await;
        assert!(!read_honestly(&store, bucket, "large", ByteRange::whole(LARGE), &whole).await);
        assert!(store.delete(bucket, DeleteRequest { key: key("other"), if_match: None }).await.unwrap());
        while store.cleanup_pass().await.unwrap().done > 0 {}
        store.close().await;
    });
    assert_eq!(rig.fsck().1, []);
}

#[test]
fn a_damaged_inline_value_is_never_served() {
    let seed = Seed::new();
    let mut rng = seed.rng();
    let rig = Rig::new(Durability::ProcessCrash);
    runtime().block_on(async {
        fill(&rig).await;
        let mut value = Vec::new();
        let blob = blob_of(&rig, "small").await;
        let row = meta::keyspace::blob(blob).to_vec();
        rig.meta()
            .walk(meta::Table::Inline, |found, bytes| {
                if found == row {
                    value = bytes.to_vec();
                }
                Ok(())
            })
            .unwrap();
        for _ in 0..20 {
            let mut bad = value.clone();
            bad[rng.below(value.len() as u64) as usize] ^= 1 << rng.below(8);
            rewrite(&rig, &row, bad);
            assert_eq!(damaged(&rig.fsck().1), ["bucket/small"]);
            let (store, bucket) = rig.open();
            assert!(read_honestly(&store, bucket, "small", ByteRange::whole(1000), &body_of("small")).await);
            assert_eq!(store.head(bucket, &key("small")).await.unwrap().size, 1000);
            all_others_are_whole(&store, bucket, "small").await;
            store.close().await;
        }
        rewrite(&rig, &row, value);
    });
    assert_eq!(rig.fsck().1, []);
}

async fn blob_of(rig: &Rig, at: &str) -> types::BlobId {
    let (store, bucket) = rig.open();
    let blob = store.head(bucket, &key(at)).await.unwrap().blob;
    store.close().await;
    blob
}

fn rewrite(rig: &Rig, row: &[u8], value: Vec<u8>) {
    let meta = rig.meta();
    meta.rewrite(vec![(meta::Table::Inline, row.to_vec(), Some(value))]).unwrap();
    meta.close().unwrap();
}

/// An upload whose second part copies a damaged source, and copies that must read it.
#[test]
fn damage_does_not_travel() {
    let rig = Rig::new(Durability::ProcessCrash);
    runtime().block_on(async {
        fill(&rig).await;
        let file = file_of(&rig, "large").await;
        let mut bytes = body_of("large").to_vec();
        bytes[LARGE as usize - 1] ^= 1;
        fs::write(&file, &bytes).unwrap();
        let (store, bucket) = rig.open();
        let source = store.open(bucket, &key("large")).await.unwrap();
        let copy = |at: &str, algorithm| CopyRequest {
            bucket,
            destination: key(at),
            headers: None,
            tags: None,
            conditions: WriteConditions::default(),
            algorithm,
        };
        let summed = store.copy(&source, copy("summed", Some(Algorithm::Sha256))).await;
        assert!(matches!(summed, Err(StoreError::Corrupt(_))), "{summed:?}");
        // A copy without reading shares the blob, and its damage.
        store.copy(&source, copy("shared", None)).await.unwrap();
        assert!(read_honestly(&store, bucket, "shared", ByteRange::whole(LARGE), &body_of("large")).await);
        let upload = begin(&store, bucket).await;
        assert!(store.copy_part(&upload, 2, &source, ByteRange::whole(LARGE)).await.is_err());
        let good = ByteRange { start: 0, end: CHUNK };
        let part = store.copy_part(&upload, 2, &source, good).await.unwrap();
        assert_eq!(store.list_parts(&upload, 0, 10).await.unwrap().parts.len(), 2);
        complete(&store, &upload, part.etag).await;
        let whole = Bytes::from([content(1, PART), body_of("large").slice(..CHUNK as usize)].concat());
        let range = ByteRange::whole(PART + CHUNK);
        assert!(!read_honestly(&store, bucket, "multipart", range, &whole).await);
        assert!(store.open(bucket, &key("summed")).await.is_err());
        drop(source);
        while store.cleanup_pass().await.unwrap().done > 0 {}
        store.close().await;
    });
    assert_eq!(damaged(&rig.fsck().1), ["bucket/large,bucket/shared"]);
}

/// Damage in one part is seen by reads of this part, and by fsck under the object's name.
#[test]
fn a_damaged_part_fails_its_own_range() {
    let rig = Rig::new(Durability::ProcessCrash);
    runtime().block_on(async {
        let (store, bucket) = rig.open();
        let upload = begin(&store, bucket).await;
        let second = content(2, LARGE);
        let part =
            store.put_part(&upload, 2, Promised::default(), Body::whole(second.clone())).await.unwrap();
        complete(&store, &upload, part.etag).await;
        let whole = Bytes::from([content(1, PART), second].concat());
        let file = rig.blob_files().into_iter().find(|file| fs::metadata(file).unwrap().len() == LARGE);
        let file = file.expect("the second part");
        let mut bytes = fs::read(&file).unwrap();
        bytes[0] ^= 0x80;
        fs::write(&file, bytes).unwrap();
        let first = ByteRange { start: 0, end: PART };
        assert!(!read_honestly(&store, bucket, "multipart", first, &whole).await);
        let later = ByteRange { start: PART + CHUNK, end: PART + LARGE };
        assert!(!read_honestly(&store, bucket, "multipart", later, &whole).await);
        for range in [ByteRange::whole(PART + LARGE), ByteRange { start: PART, end: PART + 1 }] {
            assert!(read_honestly(&store, bucket, "multipart", range, &whole).await, "{range:?}");
        }
        store.close().await;
    });
    assert_eq!(damaged(&rig.fsck().1), ["bucket/multipart"]);
}

async fn begin(store: &Store, bucket: BucketId) -> UploadRef {
    let (headers, checksum) = (ObjectHeaders::default(), None);
    let request = CreateUpload { bucket, key: key("multipart"), headers, checksum };
    let id = store.create_upload(request).await.unwrap();
    let upload = UploadRef { bucket, key: key("multipart"), id };
    store.put_part(&upload, 1, Promised::default(), Body::whole(content(1, PART))).await.unwrap();
    upload
}

async fn complete(store: &Store, upload: &UploadRef, second: types::ETag) {
    let first = types::ETag::single(crate::rig::md5_of(&content(1, PART)));
    let named = |number, etag| NamedPart { number, etag: Some(etag), checksum: None };
    let request = CompleteUpload {
        upload: upload.clone(),
        parts: vec![named(1, first), named(2, second)],
        conditions: WriteConditions::default(),
        checksum: None,
        kind: None,
        object_size: None,
    };
    store.complete_upload(request).await.unwrap();
}

/// A repair sets aside what nobody knows, and corrects what can be counted.
#[test]
fn repair_deletes_nothing() {
    let rig = Rig::new(Durability::ProcessCrash);
    runtime().block_on(fill(&rig));
    let blobs = rig.options.data_dir.join("blobs");
    fs::write(blobs.join("07/0000000000ffff07"), b"stray").unwrap();
    fs::write(blobs.join("00/notes.txt"), b"foreign").unwrap();
    let repair = FsckOptions { repair: true, verify: true };
    let (summary, found) = rig.fsck_and(repair);
    assert_eq!((found.len(), summary.repaired), (2, 2), "{found:?}");
    let aside = rig.options.data_dir.join("set-aside");
    assert_eq!(fs::read(aside.join("0000000000ffff07")).unwrap(), b"stray");
    assert_eq!(fs::read(aside.join("notes.txt")).unwrap(), b"foreign");
    assert_eq!(rig.fsck().1, []);
}
