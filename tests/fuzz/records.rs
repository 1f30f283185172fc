//! Every stored record, and every key of a table.
//!
//! Input: a byte that names the record (see [`run`]), then its bytes. What is read must be read
//! again, the same, from what is written.

use meta::codec::Decoded;
use meta::{
    Account, BackendRecord, BlobRecord, BucketRecord, CleanupTask, CopyTask, Counters, FinishedUpload, Intent,
    ObjectRecord, PartRecord, SweepTask, Traffic, UploadRecord, decode_inline, keyspace, task,
};
use std::fmt::Debug;
use types::checksum::chunk_sum;

pub fn run(data: &[u8]) {
    let Some((kind, value)) = data.split_first() else { return };
    match kind {
        b'o' => again(value, ObjectRecord::decode, ObjectRecord::encode),
        b'b' => again(value, BlobRecord::decode, BlobRecord::encode),
        b'u' => again(value, UploadRecord::decode, UploadRecord::encode),
        b'p' => again(value, PartRecord::decode, PartRecord::encode),
        b'f' => again(value, FinishedUpload::decode, FinishedUpload::encode),
        b'c' => again(value, |value| CleanupTask::decode(7, value), CleanupTask::encode),
        b'r' => again(value, BackendRecord::decode, BackendRecord::encode),
        b't' => again(value, CopyTask::decode, CopyTask::encode),
        b'w' => again(value, SweepTask::decode, SweepTask::encode),
        b'm' => again(value, Traffic::decode, Traffic::encode),
        b'i' => again(value, Intent::decode, Intent::encode),
        b'l' => again(value, Counters::decode, Counters::encode),
        b's' => again(value, BucketRecord::decode, BucketRecord::encode),
        b'e' => again(value, task::decode_expiry, |(bucket, key, id)| task::encode_expiry(*bucket, key, *id)),
        b'n' => inline(value),
        _ => keys(value),
    }
}

fn again<T: Debug + PartialEq>(
    value: &[u8],
    decode: impl Fn(&[u8]) -> Decoded<T>,
    encode: impl Fn(&T) -> Vec<u8>,
) {
    if let Ok(record) = decode(value) {
        let written = encode(&record);
        let older = value.first() < written.first();
        assert!(older || written.len() <= value.len(), "the shortest form is written");
        assert_eq!(decode(&written).as_ref(), Ok(&record));
    }
}

/// Bytes of an object: whole, or with one changed.
fn inline(value: &[u8]) {
    let _ = decode_inline(value.to_vec());
    let mut stored = [&[1][..], &chunk_sum(value).to_le_bytes(), value].concat();
    assert_eq!(decode_inline(stored.clone()).as_deref(), Ok(value));
    if let Some(last) = stored.last_mut() {
        *last ^= 1;
    }
    assert!(decode_inline(stored).is_err());
}

fn keys(key: &[u8]) {
    if let Ok((bucket, rest)) = keyspace::split_bucket(key) {
        assert_eq!(keyspace::object(bucket, rest), key);
    }
    if let Ok(id) = keyspace::split_blob(key) {
        assert_eq!(keyspace::blob(id), key);
    }
    if let Ok((sequence, number)) = keyspace::split_part(key) {
        assert_eq!(keyspace::part(sequence, number), key);
    }
    if let Ok((bucket, name, id)) = keyspace::split_upload(key) {
        assert_eq!(keyspace::upload(bucket, &name, id), key);
    }
    if let Ok(account) = Account::from_key(key) {
        assert_eq!(account.key(), key);
    }
}
