//! Many small objects, laid in a data directory whose node does not run.

use anyhow::Result;
use bytes::Bytes;
use meta::{Draft, EMBEDDED, Meta, NewBlob, Order, Place, Target};
use std::path::Path;
use testkit::client::md5;
use types::checksum::chunk_sum;
use types::{BlobId, BucketName, ETag, Key, ObjectHeaders, Timestamp, WriteConditions};

const KEYS_PER_COMMIT: u64 = 1_000;
const NOW: Timestamp = Timestamp(1_700_000_000_000);

/// Through the metadata engine, as the store does it, but many objects to a commit and without syncs.
pub fn fill(data_dir: &Path, buckets: &[(&str, u64)], key: fn(u64, u64) -> String) -> Result<()> {
    let options = meta::Options { path: data_dir.join("meta"), sync: false, block_cache_bytes: 64 << 20 };
    let meta = Meta::open(&options)?;
    for (name, of) in buckets.iter().copied() {
        let bucket = meta.bucket(&BucketName::new(name).map_err(|e| anyhow::anyhow!("{e}"))?, NOW)?;
        for from in (0..of).step_by(usize::try_from(KEYS_PER_COMMIT)?) {
            meta.commit_and_wait(Order::Shared, move |txn| -> Result<(), meta::MetaError> {
                (from..of.min(from + KEYS_PER_COMMIT))
                    .try_for_each(|number| lay(txn, bucket.id, number, key(number, of)))
            })?;
        }
    }
    Ok(meta.close()?)
}

fn lay(
    txn: &mut meta::Txn<'_>,
    bucket: types::BucketId,
    number: u64,
    key: String,
) -> Result<(), meta::MetaError> {
    let bytes = Bytes::copy_from_slice(&number.to_le_bytes());
    let size = bytes.len() as u64;
    let blob = BlobId(txn.next_id()?);
    let (sums, etag) = (vec![chunk_sum(&bytes)], ETag::single(md5(&bytes)));
    txn.add_blob(NewBlob {
        id: blob,
        bucket,
        size,
        sums,
        written: NOW,
        targets: vec![Target::new(EMBEDDED, Place::Inline)],
        inline: Some(bytes),
        unfinished: None,
        wants_more: false,
        named: None,
    });
    let draft = Draft {
        blob,
        inline: true,
        size,
        // rclone holds what it reads against it.
        etag,
        modified: NOW,
        checksum: None,
        headers: ObjectHeaders {
            content_type: Some("application/octet-stream".to_owned()),
            ..ObjectHeaders::default()
        },
    };
    let key = Key::new(key).map_err(|e| meta::MetaError::Damaged(e.to_string()))?;
    txn.write_object(bucket, &key, draft, &WriteConditions::default())?;
    Ok(())
}
