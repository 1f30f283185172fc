//! Objects that get another key: one file, or all that lie below a prefix. Version, time and blob stay.

use types::{BucketId, Key};

use crate::commit::Txn;
use crate::engine::Table;
use crate::error::MetaError;
use crate::event::Cause;
use crate::keyspace;
use crate::list::{self, Start, Step};
use crate::object::ObjectRecord;

/// Why a tree was not moved; nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotMoved {
    TooMany,
    /// A key would get longer than keys may be.
    TooLong,
}

impl Txn<'_> {
    /// The first key below `prefix`, at `start`. Scans, so it needs a commit of order `Alone`.
    pub fn first_below(
        &self,
        bucket: BucketId,
        prefix: &str,
        start: &Start,
    ) -> Result<Option<Key>, MetaError> {
        list::first_below(self.engine(), bucket, prefix, start)
    }

    /// `false`: there is nothing at `from`. What is at `to` is given up.
    pub fn move_object(&mut self, bucket: BucketId, from: &Key, to: &Key) -> Result<bool, MetaError> {
        let Some(record) = self.object(bucket, from)? else { return Ok(false) };
        if let Some(there) = self.object(bucket, to)? {
            self.displace(bucket, &there)?;
        }
        self.delete(Table::Objects, keyspace::object(bucket, from.as_bytes()));
        self.put(Table::Objects, keyspace::object(bucket, to.as_bytes()), record.encode());
        self.tell_moved(bucket, from, to, &record)?;
        self.publish(bucket, from, None);
        self.publish(bucket, to, Some(record.version));
        Ok(true)
    }

    /// `false`: one of the two is not there.
    pub fn exchange_objects(&mut self, bucket: BucketId, one: &Key, other: &Key) -> Result<bool, MetaError> {
        let (Some(a), Some(b)) = (self.object(bucket, one)?, self.object(bucket, other)?) else {
            return Ok(false);
        };
        for (key, record) in [(one, b), (other, a)] {
            self.put(Table::Objects, keyspace::object(bucket, key.as_bytes()), record.encode());
            self.written_by(Cause::Copy);
            self.tell_created(bucket, key, record.size, &record.etag)?;
            self.publish(bucket, key, Some(record.version));
        }
        Ok(true)
    }

    /// Moves every key that begins with `from` to where it begins with `to`, below which nothing lies. Needs a
    /// commit of order `Alone`.
    pub fn move_tree(
        &mut self,
        bucket: BucketId,
        from: &str,
        to: &str,
        max: usize,
    ) -> Result<Result<usize, NotMoved>, MetaError> {
        let mut found: Vec<(Key, Vec<u8>)> = Vec::new();
        list::grouped(self.engine(), bucket, from, None, &Start::Beginning, |step| {
            if let Step::Entry(text, value) = step {
                found.push((list::known_key(text)?, value.to_vec()));
            }
            Ok(found.len() <= max)
        })?;
        if found.len() > max {
            return Ok(Err(NotMoved::TooMany));
        }
        let behind = |key: &Key| key.as_str().get(from.len()..).unwrap_or_default().to_owned();
        let Ok(moved) = found
            .iter()
            .map(|(key, _)| Key::new(format!("{to}{}", behind(key))))
            .collect::<Result<Vec<Key>, _>>()
        else {
            return Ok(Err(NotMoved::TooLong));
        };
        let start = keyspace::object(bucket, from.as_bytes());
        // One mark for the range: many single deletions make it slow to scan.
        self.delete_range(Table::Objects, start.clone(), keyspace::behind_prefix(start));
        for ((old, value), new) in found.into_iter().zip(&moved) {
            let record = ObjectRecord::decode(&value).map_err(MetaError::damaged(Table::Objects))?;
            self.put(Table::Objects, keyspace::object(bucket, new.as_bytes()), value);
            self.tell_moved(bucket, &old, new, &record)?;
            self.publish(bucket, &old, None);
            self.publish(bucket, new, Some(record.version));
        }
        Ok(Ok(moved.len()))
    }
}
