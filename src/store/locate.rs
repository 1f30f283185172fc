//! Where an object's bytes lie, for operators who want to know.

use meta::{BlobRecord, Content, Place, Replica};
use types::{BlobId, BucketId, Key};

use crate::{Inner, Object, Store, StoreError};

/// An object and its blobs.
#[derive(Debug, Clone)]
pub struct Located {
    pub object: Object,
    /// Somebody reads it.
    pub held: bool,
    /// One, or as many as a multipart object has parts.
    pub pieces: Vec<Piece>,
}

/// A blob with bytes of its own.
#[derive(Debug, Clone)]
pub struct Piece {
    pub part: Option<u16>,
    pub blob: BlobId,
    pub size: u64,
    /// Objects, parts of uploads and multipart objects that have it.
    pub references: u32,
    pub replicas: Vec<ReplicaAt>,
}

#[derive(Debug, Clone)]
pub struct ReplicaAt {
    pub backend: String,
    /// For people: a file, or a word.
    pub place: String,
}

impl Store {
    pub async fn locate(&self, bucket: BucketId, key: Key) -> Result<Located, StoreError> {
        self.blocking(move |inner| {
            let object = inner.meta.object(bucket, &key)?.ok_or(StoreError::NoSuchKey)?;
            let pieces = pieces(inner, object.blob)?;
            let held = inner.pins.holds(object.blob);
            Ok(Located { object, held, pieces })
        })
        .await
    }
}

fn pieces(inner: &Inner, blob: BlobId) -> Result<Vec<Piece>, StoreError> {
    let record = record(inner, blob)?;
    let Content::Parts(parts) = &record.content else {
        return Ok(vec![piece(inner, None, blob, &record)]);
    };
    let part = |part: &meta::BlobPart| {
        Ok(piece(inner, Some(part.number), part.blob, &self::record(inner, part.blob)?))
    };
    parts.iter().map(part).collect()
}

fn record(inner: &Inner, blob: BlobId) -> Result<BlobRecord, StoreError> {
    // An object that is replaced at this moment loses its blob.
    inner.meta.blob(blob)?.ok_or(StoreError::NoSuchKey)
}

fn piece(inner: &Inner, part: Option<u16>, blob: BlobId, record: &BlobRecord) -> Piece {
    let replicas = match &record.content {
        Content::Bytes { replicas, .. } => replicas.iter().map(|at| replica(inner, blob, at)).collect(),
        Content::Parts(_) => Vec::new(),
    };
    Piece { part, blob, size: record.size, references: record.references, replicas }
}

fn replica(inner: &Inner, blob: BlobId, replica: &Replica) -> ReplicaAt {
    let member = inner.fleet.get(replica.backend);
    let location = member.as_ref().and_then(|member| member.location(blob, &replica.place));
    let place = match (location, &replica.place) {
        (_, Place::Inline) => "with the metadata".to_owned(),
        (Some(location), _) if replica.backend == meta::EMBEDDED => {
            inner.options.data_dir.join("blobs").join(location.as_str()).display().to_string()
        }
        (Some(location), _) => location.as_str().to_owned(),
        (None, Place::Object(name)) => name.to_string(),
        (None, Place::File) => blob.to_string(),
    };
    let backend = member.map_or_else(|| format!("#{}", replica.backend.0), |member| member.name.clone());
    ReplicaAt { backend, place }
}
