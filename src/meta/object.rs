//! The table `objects`: what LIST, HEAD and getattr need, in one small record.

use types::{BlobId, BucketId, Checksum, ETag, Key, ObjectHeaders, Timestamp, Version, WriteConditions};

use crate::codec::{DecodeError, Decoded, Reader, Writer};
use crate::commit::Txn;
use crate::engine::Table;
use crate::error::MetaError;
use crate::keyspace;
use crate::ledger::{Account, Delta};

const FORMAT: u8 = 1;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectRecord {
    pub version: Version,
    pub blob: BlobId,
    /// The blob's bytes lie in table `inline`: a read need not look at the blob's record.
    pub inline: bool,
    pub size: u64,
    pub etag: ETag,
    pub modified: Timestamp,
    pub checksum: Option<Checksum>,
    pub headers: ObjectHeaders,
}

/// An object as a verb composes it; the commit gives it its version.
#[derive(Debug, Clone)]
pub struct Draft {
    pub blob: BlobId,
    pub inline: bool,
    pub size: u64,
    pub etag: ETag,
    pub modified: Timestamp,
    pub checksum: Option<Checksum>,
    pub headers: ObjectHeaders,
}

impl ObjectRecord {
    fn of(draft: Draft, version: Version) -> Self {
        let Draft { blob, inline, size, etag, modified, checksum, headers } = draft;
        Self { version, blob, inline, size, etag, modified, checksum, headers }
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new(FORMAT);
        w.u8(u8::from(self.inline));
        w.varint(self.version.0);
        w.varint(self.blob.0);
        w.varint(self.size);
        w.varint(self.modified.0);
        w.etag(&self.etag);
        w.checksum(self.checksum.as_ref());
        w.headers(&self.headers);
        w.finish()
    }

    pub fn decode(value: &[u8]) -> Decoded<Self> {
        let mut r = Reader::new(value, FORMAT)?;
        let inline = match r.u8()? {
            0 => false,
            1 => true,
            _ => return Err(DecodeError("unknown object flags")),
        };
        let record = Self {
            inline,
            version: Version(r.varint()?),
            blob: BlobId(r.varint()?),
            size: r.varint()?,
            modified: r.timestamp()?,
            etag: r.etag()?,
            checksum: r.checksum()?,
            headers: r.headers()?,
        };
        r.end()?;
        Ok(record)
    }
}

impl Txn<'_> {
    pub fn object(&self, bucket: BucketId, key: &Key) -> Result<Option<ObjectRecord>, MetaError> {
        let value = self.get(Table::Objects, &keyspace::object(bucket, key.as_bytes()))?;
        value
            .map(|bytes| ObjectRecord::decode(&bytes))
            .transpose()
            .map_err(MetaError::damaged(Table::Objects))
    }

    /// Puts `draft` under `key` if the conditions hold against what is there now, and gives up the
    /// blob that it displaces. The draft's blob must be referenced already.
    pub fn write_object(
        &mut self,
        bucket: BucketId,
        key: &Key,
        draft: Draft,
        conditions: &WriteConditions,
    ) -> Result<ObjectRecord, MetaError> {
        let version = Version(self.next_id()?);
        self.write_version(bucket, key, draft, conditions, version)
    }

    /// As `write_object`, with a number that was taken before and not used: a mount shows it while
    /// the file is being written.
    pub fn write_version(
        &mut self,
        bucket: BucketId,
        key: &Key,
        draft: Draft,
        conditions: &WriteConditions,
        version: Version,
    ) -> Result<ObjectRecord, MetaError> {
        let current = self.object(bucket, key)?;
        conditions.check(current.as_ref().map(|c| &c.etag)).map_err(MetaError::Refused)?;
        if let Some(current) = &current {
            self.displace(bucket, current)?;
        }
        let record = ObjectRecord::of(draft, version);
        self.charge(Account::Bucket(bucket), Delta::object(record.size));
        self.put(Table::Objects, keyspace::object(bucket, key.as_bytes()), record.encode());
        self.tell_created(bucket, key, record.size, &record.etag)?;
        self.publish(bucket, key, Some(record.version));
        Ok(record)
    }

    /// `None`: there was nothing.
    pub fn delete_object(
        &mut self,
        bucket: BucketId,
        key: &Key,
        conditions: &WriteConditions,
    ) -> Result<Option<ObjectRecord>, MetaError> {
        let current = self.object(bucket, key)?;
        conditions.check(current.as_ref().map(|c| &c.etag)).map_err(MetaError::Refused)?;
        if let Some(current) = &current {
            self.displace(bucket, current)?;
            self.delete(Table::Objects, keyspace::object(bucket, key.as_bytes()));
            self.tell_removed(bucket, key)?;
            self.publish(bucket, key, None);
        }
        Ok(current)
    }

    /// Changes what is said of an object, not its content: version, ETag and time stay.
    pub fn restate_object(&mut self, bucket: BucketId, key: &Key, record: &ObjectRecord) {
        self.put(Table::Objects, keyspace::object(bucket, key.as_bytes()), record.encode());
        self.publish(bucket, key, Some(record.version));
    }

    pub(crate) fn displace(&mut self, bucket: BucketId, current: &ObjectRecord) -> Result<(), MetaError> {
        self.charge(Account::Bucket(bucket), Delta::object(current.size).negated());
        self.release_blob(current.blob)
    }
}
