//! A database as the first format had it is opened, read, changed and cleaned up.

use bytes::Bytes;
use meta::{CHUNK_BYTES, Table, keyspace};
use std::collections::BTreeSet;
use store::{Acknowledge, BackendOptions, DeleteRequest, Durability, Placement};
use types::checksum::chunk_sum;
use types::{BlobId, BucketId};

use crate::fleet::{Troubled, audit, get, names, policy, put, settle};
use crate::rig::{Rig, advance, content, key, runtime};

const LARGE: u64 = 300_000;

fn varint(mut n: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while n >= 0x80 {
        bytes.push(n as u8 | 0x80);
        n >>= 7;
    }
    bytes.push(n as u8);
    bytes
}

/// Value of table `blobs`: size, references, bytes, one replica on backend 0, checksums.
fn blob_1(references: u64, place: u8, body: &[u8]) -> Vec<u8> {
    let mut value = vec![1];
    value.extend(varint(body.len() as u64));
    value.extend(varint(references));
    value.extend([0, 1, 0, place]);
    let sums: Vec<u32> = body.chunks(CHUNK_BYTES as usize).map(chunk_sum).collect();
    value.extend(varint(sums.len() as u64));
    sums.iter().for_each(|sum| value.extend(sum.to_le_bytes()));
    value
}

/// Writes three objects as this version does, and says of their blobs what the first format said.
fn old_database() -> (Rig, [Bytes; 2]) {
    let rig = Rig::new(Durability::ProcessCrash);
    let bodies = [content(1, 700), content(2, LARGE)];
    let (store, bucket) = rig.open();
    assert_eq!(bucket, BucketId(1));
    runtime().block_on(async {
        put(&store, bucket, "small", bodies[0].clone()).await.unwrap();
        put(&store, bucket, "large", bodies[1].clone()).await.unwrap();
        put(&store, bucket, "gone", content(3, LARGE)).await.unwrap();
        store.close().await;
    });
    drop(store);
    let meta = rig.meta();
    let mut writes = vec![(Table::System, b"format".to_vec(), Some(vec![1]))];
    let object = |name: &str| meta.object(BucketId(1), &key(name)).unwrap().unwrap();
    let mut say = |table, key: &[u8], value: Vec<u8>| writes.push((table, key.to_vec(), Some(value)));
    let blob = |id: BlobId| keyspace::blob(id);
    say(Table::Blobs, &blob(object("small").blob), blob_1(1, 0, &bodies[0]));
    say(Table::Blobs, &blob(object("large").blob), blob_1(1, 1, &bodies[1]));
    // An overwritten object whose blob waits on the queue, and an intent of a write that never ended.
    let gone = object("gone").blob;
    say(Table::Blobs, &blob(gone), blob_1(0, 1, &content(3, LARGE)));
    say(Table::Tasks, &keyspace::task(meta::TaskKind::Cleanup, 0, gone.0), vec![1, 0]);
    let unfinished = BlobId(gone.0 + 100);
    say(Table::Intents, &blob(unfinished), [vec![1, 0, 1], varint(5000), varint(1)].concat());
    let stray = BlobId(gone.0 + 101);
    let task = [vec![1, 1, 0, 1], varint(6000), varint(1)].concat();
    say(Table::Tasks, &keyspace::task(meta::TaskKind::Cleanup, 0, stray.0), task);
    writes.push((Table::Objects, keyspace::object(BucketId(1), b"gone"), None));
    let sizes = bodies.iter().map(|body| body.len() as u64).sum::<u64>();
    let ledger = |bytes: u64, awaiting: u64| [vec![1], varint(bytes), varint(2), varint(awaiting)].concat();
    let (bucket, backend) = ([b'b', 0, 0, 0, 1], [b'd', 0, 0, 0, 0]);
    writes.push((Table::Ledger, bucket.to_vec(), Some(ledger(sizes, 0))));
    writes.push((Table::Ledger, backend.to_vec(), Some(ledger(sizes, LARGE + 6000))));
    writes.push((Table::System, b"backend/embedded".to_vec(), None));
    meta.rewrite(writes).unwrap();
    drop(meta);
    (rig, bodies)
}

#[test]
fn a_database_of_the_first_format_is_read_cleaned_up_and_copied() {
    let (mut rig, bodies) = old_database();
    let (store, bucket) = rig.open();
    runtime().block_on(async {
        assert_eq!(get(&store, bucket, "small").await.unwrap(), bodies[0]);
        assert_eq!(get(&store, bucket, "large").await.unwrap(), bodies[1]);
        settle(&store).await;
        store.close().await;
    });
    drop(store);
    assert_eq!(rig.fsck().1, []);
    assert_eq!(rig.blob_files().len(), 1);

    // From here on with a second backend and two copies, which blobs learn from their objects.
    let second = Troubled::new("second");
    rig.options.backends = vec![BackendOptions::embedded("embedded"), second.options()];
    let two = policy(2, Acknowledge::All, Placement::Pack);
    rig.options.buckets.iter_mut().for_each(|bucket| bucket.policy = two);
    let (store, bucket) = rig.open();
    runtime().block_on(async {
        assert!(store.adopt_step(bucket, None).await.unwrap().is_some());
        audit(&store).await;
        settle(&store).await;
        let both: BTreeSet<String> = ["embedded", "second"].map(str::to_owned).into();
        for (name, body) in ["small", "large"].into_iter().zip(&bodies) {
            assert_eq!(names(&store, bucket, name).await, both, "{name}");
            assert_eq!(get(&store, bucket, name).await.unwrap(), *body);
            store.delete(bucket, DeleteRequest { key: key(name), if_match: None }).await.unwrap();
        }
        advance(std::time::Duration::from_secs(60));
        settle(&store).await;
        assert_eq!(second.locations().await, BTreeSet::new());
        store.close().await;
    });
    drop(store);
    assert_eq!(rig.fsck().1, []);
}
