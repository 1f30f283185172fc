//! The tables `blobs` and `inline`: immutable bytes, how often they are referenced, where they lie.

use bytes::Bytes;
use types::{BlobId, BucketId, Checksum, Key, Timestamp};

use crate::codec::{DecodeError, Decoded, Reader, Writer};
use crate::commit::Txn;
use crate::engine::Table;
use crate::error::MetaError;
use crate::keyspace;
use crate::ledger::{Account, Delta};
use crate::replica::{Place, Replica, Target};
use crate::task::{CleanupTask, CopyTask, Intent, TaskKind};

/// 1 had neither bucket nor what is known of each replica.
const FORMAT: u8 = 2;
const INLINE_FORMAT: u8 = 1;
const CONTENT_BYTES: u8 = 0;
const CONTENT_PARTS: u8 = 1;
/// Bytes that were adopted where they lay: nobody has read them yet.
const CONTENT_UNSUMMED: u8 = 2;

/// Bytes of a blob that one checksum covers, and the unit of a verified read.
pub const CHUNK_BYTES: u64 = 128 << 10;

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
        /// CRC32C of each chunk of [`CHUNK_BYTES`]; none of an adopted blob that was not read yet.
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
    /// Whose it is: the bucket says how many copies there should be. Unknown for blobs of the first
    /// format until somebody looked.
    pub bucket: Option<BucketId>,
    pub content: Content,
}

impl BlobRecord {
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new(FORMAT);
        w.varint(self.size);
        w.varint(u64::from(self.references));
        w.varint(self.bucket.map_or(0, |bucket| u64::from(bucket.0)));
        match &self.content {
            Content::Bytes { replicas, sums } => {
                w.u8(if self.is_summed() { CONTENT_BYTES } else { CONTENT_UNSUMMED });
                w.varint(replicas.len() as u64);
                replicas.iter().for_each(|replica| replica.write(&mut w));
                if self.is_summed() {
                    w.varint(sums.len() as u64);
                    sums.iter().for_each(|sum| w.raw(&sum.to_le_bytes()));
                }
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
        let (format, mut r) = Reader::up_to(value, FORMAT)?;
        let (size, references) = (r.varint()?, r.number()?);
        let bucket = if format == 1 { 0 } else { r.number()? };
        let content = match r.u8()? {
            CONTENT_BYTES => decode_bytes(&mut r, size, format)?,
            CONTENT_UNSUMMED if size > 0 => {
                Content::Bytes { replicas: decode_replicas(&mut r, format)?, sums: Vec::new() }
            }
            CONTENT_PARTS => decode_parts(&mut r, size)?,
            _ => return Err(DecodeError("unknown content")),
        };
        r.end()?;
        Ok(Self { size, references, bucket: (bucket > 0).then_some(BucketId(bucket)), content })
    }

    /// Whether there are checksums to hold its bytes against.
    pub fn is_summed(&self) -> bool {
        match &self.content {
            Content::Bytes { sums, .. } => self.size == 0 || !sums.is_empty(),
            Content::Parts(_) => true,
        }
    }

    /// Empty for a blob that is made of others.
    pub fn replicas(&self) -> &[Replica] {
        match &self.content {
            Content::Bytes { replicas, .. } => replicas,
            Content::Parts(_) => &[],
        }
    }

    pub fn replica_at(&self, target: &Target) -> Option<&Replica> {
        self.replicas().iter().find(|replica| replica.is_at(target))
    }

    pub(crate) fn replicas_mut(&mut self) -> Option<&mut Vec<Replica>> {
        match &mut self.content {
            Content::Bytes { replicas, .. } => Some(replicas),
            Content::Parts(_) => None,
        }
    }
}

fn decode_replicas(r: &mut Reader<'_>, format: u8) -> Decoded<Vec<Replica>> {
    let replica = |r: &mut Reader<'_>| match format {
        1 => Ok(Replica::new(Target::read(r)?, Timestamp(0))),
        _ => Replica::read(r),
    };
    (0..r.count()?).map(|_| replica(r)).collect()
}

fn decode_bytes(r: &mut Reader<'_>, size: u64, format: u8) -> Decoded<Content> {
    let replicas = decode_replicas(r, format)?;
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

/// Bytes that are durable at their places, or travel with the batch, and wait for a record.
#[derive(Debug, Clone)]
pub struct NewBlob {
    pub id: BlobId,
    pub bucket: BucketId,
    pub size: u64,
    /// None of bytes that are adopted where they lie.
    pub sums: Vec<u32>,
    /// When its bytes were verified; 0 for adopted ones.
    pub written: Timestamp,
    /// Where they are durable. The embedded backend's inline place goes with `inline`.
    pub targets: Vec<Target>,
    pub inline: Option<Bytes>,
    /// Writes of further replicas that go on; the rest of the intent ends with this commit.
    pub unfinished: Option<Intent>,
    /// There are to be more replicas than these; if none is being written, at once.
    pub wants_more: bool,
    /// The object's key, if it is known, for whoever makes them.
    pub named: Option<Key>,
}

/// How long a replica that is being written may take before another one is begun in its place.
const UNFINISHED_REST_MS: u64 = 60_000;

impl NewBlob {
    pub fn is_inline(&self) -> bool {
        self.inline.is_some()
    }
}

impl Txn<'_> {
    pub fn blob(&self, id: BlobId) -> Result<Option<BlobRecord>, MetaError> {
        let value = self.get(Table::Blobs, &keyspace::blob(id))?;
        value.map(|bytes| BlobRecord::decode(&bytes)).transpose().map_err(MetaError::damaged(Table::Blobs))
    }

    pub(crate) fn known_blob(&self, id: BlobId) -> Result<BlobRecord, MetaError> {
        self.blob(id)?.ok_or_else(|| MetaError::Damaged(format!("blob {id} is named but has no record")))
    }

    pub(crate) fn put_blob(&mut self, id: BlobId, record: &BlobRecord) {
        self.put(Table::Blobs, keyspace::blob(id).to_vec(), record.encode());
    }

    /// Records a blob with one reference, which the caller hands to an object or a part.
    pub fn add_blob(&mut self, new: NewBlob) {
        if let Some(bytes) = &new.inline {
            self.put(Table::Inline, keyspace::blob(new.id).to_vec(), encode_inline(bytes, &new.sums));
        }
        match &new.unfinished {
            Some(intent) => self.add_intent(new.id, intent),
            None if new.targets.iter().any(|target| target.place != Place::Inline) => self.end_intent(new.id),
            None => {}
        }
        for target in &new.targets {
            self.charge(Account::Backend(target.backend), Delta::object(new.size));
        }
        if new.wants_more {
            let mut task = CopyTask::new(TaskKind::Replicate, new.id, new.written);
            task.named = new.named.map(|key| (new.bucket, key));
            match new.unfinished {
                None => self.queue_copies(&task),
                Some(_) => self.defer_copies(&task, new.written.saturating_add_ms(UNFINISHED_REST_MS)),
            }
        }
        let replicas = new.targets.into_iter().map(|target| Replica::new(target, new.written)).collect();
        let content = Content::Bytes { replicas, sums: new.sums };
        let record = BlobRecord { size: new.size, references: 1, bucket: Some(new.bucket), content };
        self.put_blob(new.id, &record);
    }

    /// Records a blob made of others, taking over the reference that the caller holds on each.
    pub fn add_composite(&mut self, id: BlobId, bucket: BucketId, parts: Vec<BlobPart>) {
        let size = parts.iter().map(|part| part.size).sum();
        let content = Content::Parts(parts);
        self.put_blob(id, &BlobRecord { size, references: 1, bucket: Some(bucket), content });
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
            self.queue_cleanup(0, id.0, &CleanupTask::Blob { blob: id, attempts: 0 });
        }
        self.put_blob(id, &record);
        Ok(())
    }

    fn account(&mut self, record: &BlobRecord, delta: fn(u64) -> Delta) {
        for replica in record.replicas() {
            self.charge(Account::Backend(replica.backend), delta(record.size));
        }
    }

    /// Forgets those replicas of an unreferenced blob whose bytes are gone already, and the blob with
    /// its last one.
    pub fn forget_replicas(&mut self, id: BlobId, gone: &[Target]) -> Result<Forgotten, MetaError> {
        let Some(mut record) = self.blob(id)? else { return Ok(Forgotten::Whole) };
        if record.references > 0 {
            return Ok(Forgotten::Referenced);
        }
        let size = record.size;
        for target in gone {
            let Some(replicas) = record.replicas_mut() else { break };
            let before = replicas.len();
            replicas.retain(|replica| !replica.is_at(target));
            if replicas.len() < before {
                self.charge(Account::Backend(target.backend), Delta::gone(size));
                if target.place == Place::Inline {
                    self.delete(Table::Inline, keyspace::blob(id).to_vec());
                }
            }
        }
        if !record.replicas().is_empty() {
            self.put_blob(id, &record);
            return Ok(Forgotten::Partly);
        }
        if let Content::Parts(parts) = record.content {
            for part in parts {
                self.release_blob(part.blob)?;
            }
        }
        self.delete(Table::Blobs, keyspace::blob(id).to_vec());
        Ok(Forgotten::Whole)
    }
}

/// How far the cleanup of a blob came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forgotten {
    Whole,
    /// Some backends still have it.
    Partly,
    /// Somebody refers to it again.
    Referenced,
}

/// An inline value carries its checksum, so that a read needs no other record.
fn encode_inline(bytes: &[u8], sums: &[u32]) -> Vec<u8> {
    let sum = sums.first().copied().unwrap_or_else(|| types::checksum::chunk_sum(&[]));
    let mut value = Vec::with_capacity(5 + bytes.len());
    value.push(INLINE_FORMAT);
    value.extend_from_slice(&sum.to_le_bytes());
    value.extend_from_slice(bytes);
    value
}

/// The bytes of an inline value, verified.
pub fn decode_inline(value: Vec<u8>) -> Decoded<Bytes> {
    let mut r = Reader::new(&value, INLINE_FORMAT)?;
    let sum = r.array().map(u32::from_le_bytes)?;
    if types::checksum::chunk_sum(r.rest()) != sum {
        return Err(DecodeError("inline bytes fail their checksum"));
    }
    let mut bytes = Bytes::from(value);
    let _head = bytes.split_to(5);
    Ok(bytes)
}
