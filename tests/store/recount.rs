//! The ledger of a store at rest, held against a recount: what the records of a copy of its data directory say, and what
//! lies there and on the backends.

use meta::{Account, Counters};
use std::time::{Duration, Instant};
use store::{Difference, FsckOptions, Store, Usage};
use types::BucketId;

use crate::rig::Rig;

const PATIENCE: Duration = Duration::from_secs(10);

/// What counts for ever of each account; room that is held is none of it.
#[derive(Debug, PartialEq, Eq)]
struct Counted(Vec<(String, Counters)>);

fn counters(usage: Usage) -> Counters {
    Counters { bytes: usage.bytes, objects: usage.objects, awaiting_bytes: usage.awaiting_bytes }
}

fn in_memory(store: &Store, bucket: BucketId) -> Counted {
    let backends = store.backends().into_iter().map(|status| (status.name, counters(status.usage)));
    let mut all: Vec<_> = backends.collect();
    all.push(("the bucket".to_owned(), counters(store.bucket_usage(bucket))));
    all.sort_by(|a, b| a.0.cmp(&b.0));
    Counted(all)
}

fn on_disk(rig: &Rig, bucket: BucketId) -> Counted {
    let meta = rig.meta();
    let mut all = vec![("the bucket".to_owned(), meta.ledger().counters(Account::Bucket(bucket)))];
    for (name, record) in meta.backends().expect("the backends") {
        all.push((name, meta.ledger().counters(Account::Backend(record.id))));
    }
    all.sort_by(|a, b| a.0.cmp(&b.0));
    Counted(all)
}

/// Nothing is being written any more, for a client or beside one.
async fn come_to_rest(store: &Store, bucket: BucketId) -> Result<(), String> {
    let begun = Instant::now();
    loop {
        let backends: u64 = store.backends().iter().map(|status| status.usage.reserved_bytes).sum();
        let reserved = backends + store.bucket_usage(bucket).reserved_bytes;
        match reserved {
            0 => return Ok(()),
            _ if begun.elapsed() > PATIENCE => return Err(format!("{reserved} bytes stay reserved")),
            _ => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
}

/// Says what differs.
pub async fn compare(rig: &Rig, store: &Store, bucket: BucketId) -> Result<(), String> {
    come_to_rest(store, bucket).await?;
    let begun = Instant::now();
    let (image, told) = loop {
        let before = in_memory(store, bucket);
        let image = rig.image();
        if before == in_memory(store, bucket) {
            break (image, before);
        }
        // What a write leaves when it is given up came in between.
        if begun.elapsed() > PATIENCE {
            return Err("the ledger does not come to rest".to_owned());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    let recorded = on_disk(&image, bucket);
    if recorded != told {
        return Err(format!("the ledger says {told:?}, its table {recorded:?}"));
    }
    let (_, found) = image.fsck_and(FsckOptions { verify: false, repair: false });
    // A backend that fails now is not looked at.
    let differs = |difference: &Difference| !matches!(difference, Difference::NotListed { .. });
    match found.into_iter().find(differs) {
        Some(difference) => Err(format!("the recount: {difference}")),
        None => Ok(()),
    }
}
