//! The tables `blobs` and `inline`: immutable bytes, how often they are referenced, where they lie.

use bytes::Bytes;
use types::{BlobId, Checksum};

use crate::codec::{DecodeError, Decoded, Reader, Writer};
use crate::commit::Txn;
use crate::engine::Table;
use crate::error::MetaError;
use crate::keyspace;
use crate::ledger::{Account, Delta};
use crate::task::CleanupTask;

const FORMAT: u8 = 1;
const CONTENT_BYTES: u8 = 0;
const CONTENT_PARTS: u8 = 1;

/// Bytes of a blob that one checksum covers, and the unit of a verified read.
pub const CHUNK_BYTES: u64 = 128 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackendId(pub u16);

/// The backend in the data directory.
pub const EMBEDDED: BackendId = BackendId(0);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A value in table `inline`, under the blob's id.
    Inline,
    /// A file of exactly the blob's bytes, named by the blob's id.
    File,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replica {
    pub backend: BackendId,
    pub place: Place,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobPart {
    /// The part's number in the upload it came from.
    pub number: u16,
    pub blob: BlobId,
    pub size: u64,
    pub checksum: Option<Checksum>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    Bytes {
        replicas: Vec<Replica>,
        /// CRC32C of each chunk of [`CHUNK_BYTES`].
        sums: Vec<u32>,
    },
    /// Other blobs, one behind the other; each holds a reference.
    Parts(Vec<BlobPart>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobRecord {
    pub size: u64,
    /// Objects, parts of uploads, and composite blobs that name this blob.
    pub references: u32,
    pub content: Content,
}

impl BlobRecord {
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new(FORMAT);
        w.varint(self.size);
        w.varint(u64::from(self.references));
        match &self.content {
            Content::Bytes { replicas, sums } => {
                w.u8(CONTENT_BYTES);
                w.varint(replicas.len() as u64);
                for replica in replicas {
                    w.varint(u64::from(replica.backend.0));
                    w.u8(place_code(replica.place));
                }
                w.varint(sums.len() as u64);
                sums.iter().for_each(|sum| w.raw(&sum.to_le_bytes()));
            }
            Content::Parts(parts) => {
                w.u8(CONTENT_PARTS);
                w.varint(parts.len() as u64);
                for part in parts {
                    w.varint(u64::from(part.number));
                    w.varint(part.blob.0);
                    w.varint(part.size);
                    w.checksum(part.checksum.as_ref());
                }
            }
        }
        w.finish()
    }

    pub fn decode(value: &[u8]) -> Decoded<Self> {
        let mut r = Reader::new(value, FORMAT)?;
        let (size, references) = (r.varint()?, r.number()?);
        let content = match r.u8()? {
            CONTENT_BYTES => decode_bytes(&mut r, size)?,
            CONTENT_PARTS => decode_parts(&mut r, size)?,
            _ => return Err(DecodeError("unknown content")),
        };
        r.end()?;
        Ok(Self { size, references, content })
    }
}

fn decode_bytes(r: &mut Reader<'_>, size: u64) -> Decoded<Content> {
    let replicas = (0..r.count()?)
        .map(|_| Ok(Replica { backend: BackendId(r.number()?), place: place(r.u8()?)? }))
        .collect::<Decoded<_>>()?;
    let sums = (0..r.count()?).map(|_| r.array().map(u32::from_le_bytes)).collect::<Decoded<Vec<_>>>()?;
    if sums.len() as u64 != size.div_ceil(CHUNK_BYTES) {
        return Err(DecodeError("a checksum for each chunk"));
    }
    Ok(Content::Bytes { replicas, sums })
}

fn decode_parts(r: &mut Reader<'_>, size: u64) -> Decoded<Content> {
    let mut left = size;
    let mut parts = Vec::new();
    for _ in 0..r.count()? {
        let part = BlobPart {
            number: r.number()?,
            blob: BlobId(r.varint()?),
            size: r.varint()?,
            checksum: r.checksum()?,
        };
        left = left.checked_sub(part.size).ok_or(DecodeError("parts beyond the size"))?;
        parts.push(part);
    }
    if left != 0 {
        return Err(DecodeError("parts short of the size"));
    }
    Ok(Content::Parts(parts))
}

pub(crate) fn place_code(place: Place) -> u8 {
    match place {
        Place::Inline => 0,
        Place::File => 1,
    }
}

pub(crate) fn place(code: u8) -> Decoded<Place> {
    match code {
        0 => Ok(Place::Inline),
        1 => Ok(Place::File),
        _ => Err(DecodeError("unknown place")),
    }
}

/// Bytes that are durable at their place, or travel with the batch, and wait for a record.
#[derive(Debug, Clone)]
pub struct NewBlob {
    pub id: BlobId,
    pub size: u64,
    pub sums: Vec<u32>,
    pub place: NewPlace,
}

#[derive(Debug, Clone)]
pub enum NewPlace {
    Inline(Bytes),
    /// Written and synced on this backend; the intent ends with this commit.
    File(BackendId),
}

impl NewBlob {
    pub fn is_inline(&self) -> bool {
        matches!(self.place, NewPlace::Inline(_))
    }
}

impl Txn<'_> {
    pub fn blob(&self, id: BlobId) -> Result<Option<BlobRecord>, MetaError> {
        let value = self.get(Table::Blobs, &keyspace::blob(id))?;
        value.map(|bytes| BlobRecord::decode(&bytes)).transpose().map_err(MetaError::damaged(Table::Blobs))
    }

    fn known_blob(&self, id: BlobId) -> Result<BlobRecord, MetaError> {
        self.blob(id)?.ok_or_else(|| MetaError::Damaged(format!("blob {id} is named but has no record")))
    }

    fn put_blob(&mut self, id: BlobId, record: &BlobRecord) {
        self.put(Table::Blobs, keyspace::blob(id).to_vec(), record.encode());
    }

    /// Records a blob with one reference, which the caller hands to an object or a part.
    pub fn add_blob(&mut self, new: NewBlob) {
        let (backend, place) = match new.place {
            NewPlace::Inline(bytes) => {
                self.put(Table::Inline, keyspace::blob(new.id).to_vec(), encode_inline(&bytes, &new.sums));
                (EMBEDDED, Place::Inline)
            }
            NewPlace::File(backend) => {
                self.end_intent(new.id);
                (backend, Place::File)
            }
        };
        self.charge(Account::Backend(backend), Delta::object(new.size));
        let content = Content::Bytes { replicas: vec![Replica { backend, place }], sums: new.sums };
        self.put_blob(new.id, &BlobRecord { size: new.size, references: 1, content });
    }

    /// Records a blob made of others, taking over the reference that the caller holds on each.
    pub fn add_composite(&mut self, id: BlobId, parts: Vec<BlobPart>) {
        let size = parts.iter().map(|part| part.size).sum();
        self.put_blob(id, &BlobRecord { size, references: 1, content: Content::Parts(parts) });
    }

    /// One reference more. A blob that waits for cleanup comes back: the caller holds a pin, and
    /// cleanup deletes nothing that is pinned or referenced.
    pub fn reference_blob(&mut self, id: BlobId) -> Result<(), MetaError> {
        let mut record = self.known_blob(id)?;
        if record.references == 0 {
            self.account(&record, Delta::back_from_cleanup);
        }
        record.references += 1;
        self.put_blob(id, &record);
        Ok(())
    }

    /// One reference less; the last one sends the blob to the cleanup queue.
    pub fn release_blob(&mut self, id: BlobId) -> Result<(), MetaError> {
        let mut record = self.known_blob(id)?;
        record.references = record
            .references
            .checked_sub(1)
            .ok_or_else(|| MetaError::Damaged(format!("blob {id} is released once too often")))?;
        if record.references == 0 {
            self.account(&record, Delta::to_cleanup);
            self.queue_cleanup(id, &CleanupTask::Blob);
        }
        self.put_blob(id, &record);
        Ok(())
    }

    fn account(&mut self, record: &BlobRecord, delta: fn(u64) -> Delta) {
        if let Content::Bytes { replicas, .. } = &record.content {
            for replica in replicas {
                self.charge(Account::Backend(replica.backend), delta(record.size));
            }
        }
    }

    /// Forgets an unreferenced blob whose files are gone already. `false`: it is referenced again.
    pub fn forget_blob(&mut self, id: BlobId) -> Result<bool, MetaError> {
        let Some(record) = self.blob(id)? else { return Ok(true) };
        if record.references > 0 {
            return Ok(false);
        }
        self.account(&record, Delta::gone);
        match record.content {
            Content::Bytes { replicas, .. } => {
                if replicas.iter().any(|replica| replica.place == Place::Inline) {
                    self.delete(Table::Inline, keyspace::blob(id).to_vec());
                }
            }
            Content::Parts(parts) => {
                for part in parts {
                    self.release_blob(part.blob)?;
                }
            }
        }
        self.delete(Table::Blobs, keyspace::blob(id).to_vec());
        Ok(true)
    }
}

/// An inline value carries its checksum, so that a read needs no other record.
fn encode_inline(bytes: &[u8], sums: &[u32]) -> Vec<u8> {
    let sum = sums.first().copied().unwrap_or_else(|| types::checksum::chunk_sum(&[]));
    let mut value = Vec::with_capacity(5 + bytes.len());
    value.push(FORMAT);
    value.extend_from_slice(&sum.to_le_bytes());
    value.extend_from_slice(bytes);
    value
}

/// The bytes of an inline value, verified.
pub fn decode_inline(value: Vec<u8>) -> Decoded<Bytes> {
    let mut r = Reader::new(&value, FORMAT)?;
    let sum = r.array().map(u32::from_le_bytes)?;
    if types::checksum::chunk_sum(r.rest()) != sum {
        return Err(DecodeError("inline bytes fail their checksum"));
    }
    let mut bytes = Bytes::from(value);
    let _head = bytes.split_to(5);
    Ok(bytes)
}
