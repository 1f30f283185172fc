//! The tables `uploads` and `parts`: multipart state, in listing order.

use types::{
    Algorithm, BlobId, BucketId, Checksum, ChecksumKind, ETag, Key, ObjectHeaders, Timestamp, UploadId,
    Version,
};

use crate::codec::{Decoded, Reader, Writer};
use crate::commit::Txn;
use crate::engine::Table;
use crate::error::MetaError;
use crate::keyspace;
use crate::ledger::{Account, Delta};
use crate::task::{self, TaskKind};

const FORMAT: u8 = 1;
/// From here on one range delete is cheaper than a tombstone for each part.
const RANGE_DELETE_PARTS: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadRecord {
    pub initiated: Timestamp,
    pub checksum: Option<(Algorithm, ChecksumKind)>,
    pub headers: ObjectHeaders,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartRecord {
    pub blob: BlobId,
    pub size: u64,
    pub etag: ETag,
    pub modified: Timestamp,
    pub checksum: Option<Checksum>,
}

/// What a finished upload leaves for the client that did not hear the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishedUpload {
    pub id: UploadId,
    pub bucket: BucketId,
    pub key: Key,
    pub etag: ETag,
    pub version: Version,
    pub modified: Timestamp,
    pub size: u64,
    pub checksum: Option<Checksum>,
}

impl UploadRecord {
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new(FORMAT);
        w.varint(self.initiated.0);
        w.checksum_choice(self.checksum);
        w.headers(&self.headers);
        w.finish()
    }

    pub fn decode(value: &[u8]) -> Decoded<Self> {
        let mut r = Reader::new(value, FORMAT)?;
        let record =
            Self { initiated: r.timestamp()?, checksum: r.checksum_choice()?, headers: r.headers()? };
        r.end()?;
        Ok(record)
    }
}

impl PartRecord {
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new(FORMAT);
        w.varint(self.blob.0);
        w.varint(self.size);
        w.etag(&self.etag);
        w.varint(self.modified.0);
        w.checksum(self.checksum.as_ref());
        w.finish()
    }

    pub fn decode(value: &[u8]) -> Decoded<Self> {
        let mut r = Reader::new(value, FORMAT)?;
        let record = Self {
            blob: BlobId(r.varint()?),
            size: r.varint()?,
            etag: r.etag()?,
            modified: r.timestamp()?,
            checksum: r.checksum()?,
        };
        r.end()?;
        Ok(record)
    }
}

impl FinishedUpload {
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new(FORMAT);
        w.varint(self.id.sequence);
        w.varint(self.id.secret);
        w.varint(u64::from(self.bucket.0));
        w.bytes(self.key.as_bytes());
        w.etag(&self.etag);
        w.varint(self.version.0);
        w.varint(self.modified.0);
        w.varint(self.size);
        w.checksum(self.checksum.as_ref());
        w.finish()
    }

    pub fn decode(value: &[u8]) -> Decoded<Self> {
        let mut r = Reader::new(value, FORMAT)?;
        let record = Self {
            id: UploadId { sequence: r.varint()?, secret: r.varint()? },
            bucket: BucketId(r.number()?),
            key: Key::new(r.text()?).map_err(|_| crate::codec::DecodeError("bad key"))?,
            etag: r.etag()?,
            version: Version(r.varint()?),
            modified: r.timestamp()?,
            size: r.varint()?,
            checksum: r.checksum()?,
        };
        r.end()?;
        Ok(record)
    }
}

impl Txn<'_> {
    pub fn upload(
        &self,
        bucket: BucketId,
        key: &Key,
        id: UploadId,
    ) -> Result<Option<UploadRecord>, MetaError> {
        let value = self.get(Table::Uploads, &keyspace::upload(bucket, key, id))?;
        value
            .map(|bytes| UploadRecord::decode(&bytes))
            .transpose()
            .map_err(MetaError::damaged(Table::Uploads))
    }

    pub fn add_upload(&mut self, bucket: BucketId, key: &Key, id: UploadId, record: &UploadRecord) {
        self.put(Table::Uploads, keyspace::upload(bucket, key, id), record.encode());
        self.queue_expiry(bucket, key, id, record.initiated);
    }

    pub fn queue_expiry(&mut self, bucket: BucketId, key: &Key, id: UploadId, since: Timestamp) {
        let value = task::encode_expiry(bucket, key, id);
        self.put(Table::Tasks, keyspace::task(TaskKind::UploadExpiry, since.0, id.sequence).to_vec(), value);
    }

    pub fn part(&self, id: UploadId, number: u16) -> Result<Option<PartRecord>, MetaError> {
        let value = self.get(Table::Parts, &keyspace::part(id.sequence, number))?;
        value.map(|bytes| PartRecord::decode(&bytes)).transpose().map_err(MetaError::damaged(Table::Parts))
    }

    /// Puts a part, giving up the one that it replaces. The part's blob must be referenced already.
    pub fn write_part(
        &mut self,
        bucket: BucketId,
        id: UploadId,
        number: u16,
        part: &PartRecord,
    ) -> Result<(), MetaError> {
        if let Some(old) = self.part(id, number)? {
            self.charge(Account::Bucket(bucket), Delta::bytes(old.size).negated());
            self.release_blob(old.blob)?;
        }
        self.charge(Account::Bucket(bucket), Delta::bytes(part.size));
        self.put(Table::Parts, keyspace::part(id.sequence, number).to_vec(), part.encode());
        Ok(())
    }

    /// All parts of an upload in order. Needs a commit submitted with [`crate::Order::Alone`].
    pub fn parts(&self, id: UploadId) -> Result<Vec<(u16, PartRecord)>, MetaError> {
        crate::scan_parts(self.engine(), id, 0, usize::MAX)
    }

    /// Ends an upload. Parts in `kept` hand their reference over to whoever names them now; the
    /// others are released. The bucket no longer pays for any of them as parts.
    pub fn end_upload(
        &mut self,
        bucket: BucketId,
        key: &Key,
        id: UploadId,
        parts: &[(u16, PartRecord)],
        kept: impl Fn(u16) -> bool,
    ) -> Result<(), MetaError> {
        for (number, part) in parts {
            self.charge(Account::Bucket(bucket), Delta::bytes(part.size).negated());
            if !kept(*number) {
                self.release_blob(part.blob)?;
            }
            if parts.len() < RANGE_DELETE_PARTS {
                self.delete(Table::Parts, keyspace::part(id.sequence, *number).to_vec());
            }
        }
        if parts.len() >= RANGE_DELETE_PARTS {
            let (from, to) = (keyspace::part(id.sequence, 1), keyspace::part(id.sequence, u16::MAX));
            self.delete_range(Table::Parts, from.to_vec(), to.to_vec());
        }
        self.delete(Table::Uploads, keyspace::upload(bucket, key, id));
        Ok(())
    }

    pub fn note_finished(&mut self, note: &FinishedUpload) {
        self.put(Table::Parts, keyspace::part(note.id.sequence, 0).to_vec(), note.encode());
    }

    pub fn finished(&self, id: UploadId) -> Result<Option<FinishedUpload>, MetaError> {
        let value = self.get(Table::Parts, &keyspace::part(id.sequence, 0))?;
        let note = value.map(|bytes| FinishedUpload::decode(&bytes)).transpose();
        Ok(note.map_err(MetaError::damaged(Table::Parts))?.filter(|note| note.id == id))
    }

    pub fn forget_finished(&mut self, id: UploadId) {
        self.delete(Table::Parts, keyspace::part(id.sequence, 0).to_vec());
    }
}
