//! One object: its record, and where its bytes lie.

use super::Fault;
use crate::node::Node;
use crate::times::rfc3339;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use store::Located;
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
    /// One, or as many as a multipart object has parts.
    pub pieces: Vec<Piece>,
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
    pub replicas: Vec<Replica>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Replica {
    pub backend: String,
    pub place: String,
}

pub async fn answer(node: Arc<Node>, request: Request) -> Result<Location, Fault> {
    let name = BucketName::new(request.bucket.clone()).ok();
    let bucket = name.and_then(|name| node.store.bucket(&name));
    let bucket = bucket.ok_or_else(|| Fault::not_found(format!("there is no bucket {}", request.bucket)))?;
    let key = Key::new(request.key.clone()).map_err(|why| Fault::bad_request(format!("the key: {why}")))?;
    let missing = || format!("there is no object {}/{}", request.bucket, request.key);
    let located = node.store.locate(bucket, key).await.map_err(|error| match error {
        store::StoreError::NoSuchKey => Fault::not_found(missing()),
        other => other.into(),
    })?;
    Ok(shown(request, located))
}

fn shown(request: Request, located: Located) -> Location {
    let object = located.object;
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
        being_read: located.held,
        pieces: located.pieces.into_iter().map(Piece::from).collect(),
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

impl From<store::Piece> for Piece {
    fn from(piece: store::Piece) -> Self {
        let store::Piece { part, blob, size, references, replicas } = piece;
        let replica = |at: store::ReplicaAt| Replica { backend: at.backend, place: at.place };
        let replicas = replicas.into_iter().map(replica).collect();
        Self { part, blob: blob.to_string(), size, references, replicas }
    }
}
