//! How keys are laid down in bytes, so that byte order is listing order. See `FORMAT.md`.

use types::{BlobId, BucketId, Key, UploadId};

use crate::codec::{DecodeError, Decoded};
use crate::event::HookId;
use crate::task::TaskKind;

pub fn object(bucket: BucketId, key: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(4 + key.len());
    bytes.extend_from_slice(&bucket.0.to_be_bytes());
    bytes.extend_from_slice(key);
    bytes
}

/// The first key behind all of a bucket's.
pub fn bucket_end(bucket: BucketId) -> Option<Vec<u8>> {
    bucket.0.checked_add(1).map(|next| next.to_be_bytes().to_vec())
}

/// The object key inside a table key.
pub fn split_bucket(key: &[u8]) -> Decoded<(BucketId, &[u8])> {
    let (bucket, rest) = key.split_first_chunk::<4>().ok_or(DecodeError("short key"))?;
    Ok((BucketId(u32::from_be_bytes(*bucket)), rest))
}

/// The first text behind all that begin with `prefix`: UTF-8 has no byte 0xff.
pub fn behind_prefix(mut prefix: Vec<u8>) -> Vec<u8> {
    prefix.push(0xff);
    prefix
}

pub fn blob(id: BlobId) -> [u8; 8] {
    id.0.to_be_bytes()
}

pub fn split_blob(key: &[u8]) -> Decoded<BlobId> {
    key.try_into().map(|bytes| BlobId(u64::from_be_bytes(bytes))).map_err(|_| DecodeError("bad blob key"))
}

/// Bucket, key with NUL doubled as `00 ff` and closed by `00 00` (so that a key sorts before its
/// extensions), upload id.
pub fn upload(bucket: BucketId, key: &Key, id: UploadId) -> Vec<u8> {
    let mut bytes = upload_prefix(bucket, key.as_bytes());
    bytes.extend_from_slice(&[0, 0]);
    bytes.extend_from_slice(&id.sequence.to_be_bytes());
    bytes.extend_from_slice(&id.secret.to_be_bytes());
    bytes
}

/// Where uploads of keys that begin with `text` lie.
pub fn upload_prefix(bucket: BucketId, text: &[u8]) -> Vec<u8> {
    let mut bytes = bucket.0.to_be_bytes().to_vec();
    for byte in text {
        bytes.push(*byte);
        if *byte == 0 {
            bytes.push(0xff);
        }
    }
    bytes
}

pub fn split_upload(key: &[u8]) -> Decoded<(BucketId, Key, UploadId)> {
    let bad = DecodeError("bad upload key");
    let (bucket, rest) = split_bucket(key)?;
    let (escaped, id) = rest.split_last_chunk::<16>().ok_or(bad)?;
    let escaped = escaped.strip_suffix(&[0, 0]).ok_or(bad)?;
    let mut text = Vec::with_capacity(escaped.len());
    let mut bytes = escaped.iter();
    while let Some(byte) = bytes.next() {
        text.push(*byte);
        if *byte == 0 && bytes.next() != Some(&0xff) {
            return Err(bad);
        }
    }
    let (sequence, secret) = id.split_at(8);
    let number = |b: &[u8]| b.try_into().map(u64::from_be_bytes).map_err(|_| bad);
    let id = UploadId { sequence: number(sequence)?, secret: number(secret)? };
    Ok((bucket, Key::from_utf8(text).map_err(|_| bad)?, id))
}

/// Number 0 is the note that a finished upload leaves behind.
pub fn part(upload_sequence: u64, number: u16) -> [u8; 10] {
    let mut bytes = [0; 10];
    let (sequence, last) = bytes.split_at_mut(8);
    sequence.copy_from_slice(&upload_sequence.to_be_bytes());
    last.copy_from_slice(&number.to_be_bytes());
    bytes
}

pub fn split_part(key: &[u8]) -> Decoded<(u64, u16)> {
    let bytes: [u8; 10] = key.try_into().map_err(|_| DecodeError("bad part key"))?;
    let [a, b, c, d, e, f, g, h, i, j] = bytes;
    Ok((u64::from_be_bytes([a, b, c, d, e, f, g, h]), u16::from_be_bytes([i, j])))
}

/// Receiver, then the order of the commits.
pub fn event(hook: HookId, sequence: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    let (first, last) = bytes.split_at_mut(8);
    first.copy_from_slice(&hook.0.to_be_bytes());
    last.copy_from_slice(&sequence.to_be_bytes());
    bytes
}

pub fn split_event(key: &[u8]) -> Decoded<(HookId, u64)> {
    let bytes: [u8; 16] = key.try_into().map_err(|_| DecodeError("bad event key"))?;
    let both = u128::from_be_bytes(bytes);
    Ok((HookId((both >> 64) as u64), both as u64))
}

pub fn task(kind: TaskKind, due_ms: u64, sequence: u64) -> [u8; 17] {
    let mut bytes = [kind as u8; 17];
    let (_, rest) = bytes.split_at_mut(1);
    let (due, last) = rest.split_at_mut(8);
    due.copy_from_slice(&due_ms.to_be_bytes());
    last.copy_from_slice(&sequence.to_be_bytes());
    bytes
}

/// The due time and the sequence in a task's key.
pub fn split_task(key: &[u8]) -> Decoded<(u64, u64)> {
    let bad = DecodeError("bad task key");
    let bytes: &[u8; 17] = key.try_into().map_err(|_| bad)?;
    let (due, sequence) = bytes.split_at(9);
    let number = |b: &[u8]| b.try_into().map(u64::from_be_bytes).map_err(|_| bad);
    Ok((number(due.get(1..).ok_or(bad)?)?, number(sequence)?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn upload_keys_sort_by_key_then_age_and_read_back() {
        let bucket = BucketId(7);
        let id = |sequence| UploadId { sequence, secret: u64::MAX - sequence };
        let names = ["a", "a\0", "a\0b", "a/b", "ab", "b"];
        let mut keys = Vec::new();
        for name in names {
            for sequence in [1, 2] {
                let key = Key::new(name).unwrap();
                keys.push(upload(bucket, &key, id(sequence)));
                assert_eq!(split_upload(keys.last().unwrap()), Ok((bucket, key, id(sequence))));
            }
        }
        assert!(keys.is_sorted());
    }

    #[test]
    fn damaged_keys_are_errors() {
        for bad in [&b""[..], b"abc", &[0; 21], &[0, 0, 0, 1, b'a', 0, 1]] {
            assert!(split_upload(bad).is_err());
            assert!(split_part(bad).is_err());
        }
    }
}
