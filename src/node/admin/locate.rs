//! One object: its record, and where its bytes lie.

use super::Fault;
use crate::backends;
use crate::node::Node;
use crate::times::rfc3339;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use store::{Explanation, Health, PlacedBlob, PlacedReplica};
use types::{BucketName, Key};

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub bucket: String,
    pub key: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Location {
    pub bucket: String,
    pub key: String,
    pub version: u64,
    pub size: u64,
    pub etag: String,
    pub modified: String,
    pub checksum: Option<Checksum>,
    pub content_type: Option<String>,
    pub user_metadata: Vec<(String, String)>,
    pub blob: String,
    /// Somebody reads it at this moment.
    pub being_read: bool,
    pub wanted: Wanted,
    /// One, or as many as a multipart object has parts.
    pub pieces: Vec<Piece>,
}

/// What the bucket asks for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Wanted {
    pub copies: usize,
    /// Durable before a write is answered.
    pub acknowledge: usize,
    pub placement: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Checksum {
    pub algorithm: String,
    pub kind: String,
    /// Base64.
    pub value: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Piece {
    pub part: Option<u16>,
    pub blob: String,
    pub size: u64,
    /// How many objects and parts of uploads share these bytes.
    pub references: u32,
    /// Pieces with a checksum of their own; none of imported bytes that were not read yet.
    pub chunks: usize,
    /// The one that would be read now comes first.
    pub replicas: Vec<Replica>,
    /// Backends to which a further copy is being written.
    pub on_their_way: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Replica {
    pub backend: String,
    pub place: String,
    /// `good`, `suspect` or `bad`.
    pub health: String,
    /// When its bytes were last held against their checksums.
    pub verified: Option<String>,
    /// `active`, `draining` or `removed`; none of a backend that is not configured.
    pub backend_state: Option<String>,
    /// `closed`: the backend answers. `open`: it fails, and is left alone. `half-open`: it is being tried.
    pub circuit: Option<String>,
    /// It is one of the copies that there should be.
    pub counts: bool,
    /// Why it would be read or not, and why it is there.
    pub why: String,
}

pub async fn answer(node: Arc<Node>, request: Request) -> Result<Location, Fault> {
    let name = BucketName::new(request.bucket.clone()).ok();
    let bucket = name.and_then(|name| node.store.bucket(&name));
    let bucket = bucket.ok_or_else(|| Fault::not_found(format!("there is no bucket {}", request.bucket)))?;
    let key = Key::new(request.key.clone()).map_err(|why| Fault::bad_request(format!("the key: {why}")))?;
    let missing = || format!("there is no object {}/{}", request.bucket, request.key);
    let explained = node.store.explain(bucket, &key).await.map_err(|error| match error {
        store::StoreError::NoSuchKey => Fault::not_found(missing()),
        other => other.into(),
    })?;
    Ok(shown(request, explained))
}

fn shown(request: Request, explained: Explanation) -> Location {
    let object = explained.object;
    Location {
        bucket: request.bucket,
        key: request.key,
        version: object.version.0,
        size: object.size,
        etag: object.etag.to_string(),
        modified: rfc3339(object.modified),
        checksum: object.checksum.as_ref().map(Checksum::from),
        content_type: object.headers.content_type,
        user_metadata: object.headers.user_metadata,
        blob: object.blob.to_string(),
        being_read: explained.held,
        wanted: Wanted {
            copies: explained.copies,
            acknowledge: explained.acknowledge,
            placement: explained.placement.name().to_owned(),
        },
        pieces: explained.blobs.into_iter().map(Piece::from).collect(),
    }
}

impl From<&types::Checksum> for Checksum {
    fn from(checksum: &types::Checksum) -> Self {
        Self {
            algorithm: checksum.algorithm().name().to_owned(),
            kind: checksum.kind().name().to_owned(),
            value: checksum.to_base64(),
        }
    }
}

impl From<PlacedBlob> for Piece {
    fn from(placed: PlacedBlob) -> Self {
        let PlacedBlob { blob, part, size, references, chunks, replicas, on_their_way } = placed;
        let replicas = replicas.into_iter().map(Replica::from).collect();
        Self { part, blob: blob.to_string(), size, references, chunks, replicas, on_their_way }
    }
}

impl From<PlacedReplica> for Replica {
    fn from(at: PlacedReplica) -> Self {
        let health = match at.health {
            Health::Good => "good",
            Health::Suspect(_) => "suspect",
            Health::Bad(_) => "bad",
        };
        Self {
            backend: at.backend,
            place: at.place,
            health: health.to_owned(),
            verified: (at.verified.0 > 0).then(|| rfc3339(at.verified)),
            backend_state: at.state.map(|state| backends::state(state).to_owned()),
            circuit: at.circuit.map(|circuit| backends::circuit(circuit).to_owned()),
            counts: at.counts,
            why: at.why,
        }
    }
}
