//! Whether stored bytes are those that were written, and whose they are if not.

use meta::{CHUNK_BYTES, Content, MetaError, ObjectRecord, PartRecord, Table};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use types::checksum::chunk_sum;
use types::{BlobId, BucketId};

use super::{Census, Difference, Names, WholeFile};
use crate::compare::Wrong;
use crate::member::Member;
use crate::pace::Pace;
use crate::verify::Seen;
use crate::{Inner, Store, StoreError};

/// Names printed for one blob; a blob can have a copy under every key.
const MAX_NAMES: usize = 5;

impl Census {
    pub(super) fn damaged(&mut self, blob: BlobId, why: String) {
        self.found.push(Difference::Damaged { blob, why, names: Names::default() });
    }

    /// Reads every file that has the right size. Inline values were verified when they were walked.
    pub(super) fn verify(&mut self, inner: &Inner) {
        for WholeFile { blob, file } in std::mem::take(&mut self.whole_files) {
            let Some(Content::Bytes { sums, .. }) = self.blobs.get(&blob).map(|record| &record.content)
            else {
                continue;
            };
            if let Err(why) = check_file(inner, file, sums) {
                self.damaged(blob, why);
            }
        }
    }

    /// Reads every replica of another backend that has the right size.
    pub(super) async fn verify_backend(&mut self, store: &Store, member: &Member, wrong: &[Wrong]) {
        let backend = || member.name.clone();
        let wrong: BTreeSet<BlobId> = wrong.iter().map(|wrong| wrong.blob).collect();
        for (blob, record) in self.blobs.iter().filter(|(_, record)| record.references > 0) {
            for replica in record.replicas().iter().filter(|replica| replica.backend == member.id) {
                if wrong.contains(blob) {
                    continue;
                }
                let record = Arc::new(record.clone());
                let look = store.look_at(*blob, &record, &replica.target(), &Pace::new(None)).await;
                if let Seen::Bad(trouble) | Seen::Unread(trouble) = look.seen {
                    let why = trouble.into_error(*blob).to_string();
                    self.found.push(Difference::DamagedReplica { blob: *blob, backend: backend(), why });
                }
            }
        }
    }

    /// Finds the objects and parts that damage is in.
    pub(super) fn name_the_damaged(&mut self, inner: &Inner) -> Result<(), StoreError> {
        let mut names: BTreeMap<BlobId, Names> =
            self.found.iter_mut().filter_map(victim).map(|(blob, _)| (blob, Names::default())).collect();
        if names.is_empty() {
            return Ok(());
        }
        let configured = inner.settings.buckets.read();
        let buckets: BTreeMap<BucketId, &str> =
            configured.iter().map(|(name, record)| (record.id, name.as_str())).collect();
        inner.meta.walk(Table::Objects, |key, value| {
            if let (Ok((bucket, key)), Ok(record)) =
                (meta::keyspace::split_bucket(key), ObjectRecord::decode(value))
            {
                let bucket = buckets.get(&bucket).copied().unwrap_or("a bucket that is not configured");
                self.blame(&mut names, record.blob, || format!("{bucket}/{}", String::from_utf8_lossy(key)));
            }
            Ok::<(), MetaError>(())
        })?;
        inner.meta.walk(Table::Parts, |key, value| {
            if let (Ok((upload, number)), Ok(part)) =
                (meta::keyspace::split_part(key), PartRecord::decode(value))
            {
                self.blame(&mut names, part.blob, || format!("part {number} of upload {upload}"));
            }
            Ok::<(), MetaError>(())
        })?;
        for (blob, place) in self.found.iter_mut().filter_map(victim) {
            *place = names.remove(&blob).unwrap_or_default();
        }
        Ok(())
    }

    /// Notes `name` at every damaged blob that `blob` is, or is made of.
    fn blame(&self, damaged: &mut BTreeMap<BlobId, Names>, blob: BlobId, name: impl Fn() -> String) {
        let mut note = |blob: BlobId| {
            if let Some(names) = damaged.get_mut(&blob) {
                match names.first.len() < MAX_NAMES {
                    true => names.first.push(name()),
                    false => names.more += 1,
                }
            }
        };
        note(blob);
        if let Some(Content::Parts(parts)) = self.blobs.get(&blob).map(|record| &record.content) {
            parts.iter().for_each(|part| note(part.blob));
        }
    }
}

fn victim(difference: &mut Difference) -> Option<(BlobId, &mut Names)> {
    match difference {
        Difference::MissingBytes { blob, names }
        | Difference::WrongSize { blob, names, .. }
        | Difference::Damaged { blob, names, .. } => Some((*blob, names)),
        _ => None,
    }
}

fn check_file(inner: &Inner, file: BlobId, sums: &[u32]) -> Result<(), String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    let file = inner.local.get(file).map_err(unreadable)?;
    let size = file.size().map_err(unreadable)?;
    let mut buffer = vec![0; CHUNK_BYTES as usize];
    for (chunk, sum) in sums.iter().enumerate() {
        let offset = chunk as u64 * CHUNK_BYTES;
        let len = size.saturating_sub(offset).min(CHUNK_BYTES) as usize;
        let bytes = buffer.get_mut(..len).unwrap_or_default();
        file.read_exact_at(bytes, offset).map_err(unreadable)?;
        if chunk_sum(bytes) != *sum {
            return Err(format!("chunk {chunk} fails its checksum"));
        }
    }
    Ok(())
}
