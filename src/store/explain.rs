//! Where an object's bytes are, why there, and what would be read now.

use meta::{Content, Health, Place, Replica};
use types::{BlobId, BucketId, Key, Timestamp};

use crate::breaker::Circuit;
use crate::replicas::ranked;
use crate::{BackendState, Inner, Object, Placement, Store, StoreError};

#[derive(Debug, Clone)]
pub struct Explanation {
    pub object: Object,
    /// What the bucket asks for.
    pub copies: usize,
    pub acknowledge: usize,
    pub placement: Placement,
    /// One, or the parts of a multipart object in order.
    pub blobs: Vec<PlacedBlob>,
}

#[derive(Debug, Clone)]
pub struct PlacedBlob {
    pub blob: BlobId,
    /// Of the upload; `None` for an object in one piece.
    pub part: Option<u16>,
    pub size: u64,
    pub references: u32,
    pub chunks: usize,
    /// The one that would be read now comes first.
    pub replicas: Vec<PlacedReplica>,
    /// Being written now.
    pub on_their_way: Vec<String>,
}

#[derive(Debug, Clone)]
pub struct PlacedReplica {
    /// Its name, or its number if it is not configured any more.
    pub backend: String,
    /// `inline`, or the location on the backend.
    pub place: String,
    pub health: Health,
    pub verified: Timestamp,
    pub state: Option<BackendState>,
    pub circuit: Option<Circuit>,
    /// It is one of the copies that there should be.
    pub counts: bool,
    /// Why it would be read, or why not, and why it is there.
    pub why: String,
}

impl Store {
    pub async fn explain(&self, bucket: BucketId, key: &Key) -> Result<Explanation, StoreError> {
        let object = self.head(bucket, key).await?;
        self.blocking(move |inner| {
            let policy = inner.policy(Some(bucket));
            let record = inner.meta.blob(object.blob)?.ok_or(StoreError::NoSuchKey)?;
            let mut blobs = Vec::new();
            match &record.content {
                Content::Bytes { .. } => blobs.extend(placed(inner, object.blob, None)?),
                Content::Parts(parts) => {
                    for part in parts {
                        blobs.extend(placed(inner, part.blob, Some(part.number))?);
                    }
                }
            }
            Ok(Explanation {
                object,
                copies: policy.copies(),
                acknowledge: policy.acknowledge(),
                placement: policy.placement,
                blobs,
            })
        })
        .await
    }
}

fn placed(inner: &Inner, blob: BlobId, part: Option<u16>) -> Result<Option<PlacedBlob>, StoreError> {
    let Some(record) = inner.meta.blob(blob)? else { return Ok(None) };
    let ranked: Vec<Replica> = ranked(inner, &record).into_iter().map(|(_, replica)| replica).collect();
    let known = ranked.len();
    let unreachable = record.replicas().iter().filter(|replica| !ranked.contains(replica)).cloned();
    let all: Vec<Replica> = ranked.iter().cloned().chain(unreachable).collect();
    let chunks = match &record.content {
        Content::Bytes { sums, .. } => sums.len(),
        Content::Parts(_) => 0,
    };
    let intent = inner.meta.intent(blob)?;
    let on_their_way = intent.into_iter().flat_map(|intent| intent.targets);
    let name = |id: meta::BackendId| {
        inner.fleet.get(id).map_or_else(|| format!("#{} (not configured)", id.0), |m| m.name.clone())
    };
    Ok(Some(PlacedBlob {
        blob,
        part,
        size: record.size,
        references: record.references,
        chunks,
        on_their_way: on_their_way.map(|target| name(target.backend)).collect(),
        replicas: all
            .into_iter()
            .enumerate()
            .map(|(position, replica)| {
                placed_replica(inner, blob, replica, position, position < known, &name)
            })
            .collect(),
    }))
}

fn placed_replica(
    inner: &Inner,
    blob: BlobId,
    replica: Replica,
    position: usize,
    reachable: bool,
    name: &dyn Fn(meta::BackendId) -> String,
) -> PlacedReplica {
    let member = inner.fleet.get(replica.backend);
    let location = member.as_ref().and_then(|member| member.location(blob, &replica.place));
    let place = match (&replica.place, location) {
        (Place::Inline, _) => "inline".to_owned(),
        (_, Some(location)) => location.as_str().to_owned(),
        (Place::Object(name), None) => name.to_string(),
        (Place::File, None) => blob.to_string(),
    };
    let mut why = Vec::new();
    why.push(match (reachable, position) {
        (false, _) => "cannot be read: its backend is not configured".to_owned(),
        (true, 0) => "is read now".to_owned(),
        (true, n) => format!("is choice {} now", n + 1),
    });
    if let Some(member) = &member {
        why.push(match (&replica.place, member.is_embedded(), member.backend.is_remote()) {
            (Place::Inline, ..) => "with its record".to_owned(),
            (_, true, _) => "in the data directory".to_owned(),
            (_, _, false) => "on a local disk".to_owned(),
            (_, _, true) => "over the network".to_owned(),
        });
        match member.circuit() {
            Circuit::Closed => {}
            Circuit::Open => why.push("the backend fails now and is left alone".to_owned()),
            Circuit::HalfOpen => why.push("the backend is being tried again".to_owned()),
        }
        match member.state() {
            BackendState::Active => {}
            BackendState::Draining => why.push("the backend is being emptied".to_owned()),
            BackendState::Removed => why.push("the backend was taken out".to_owned()),
        }
    }
    match replica.health {
        Health::Good => {}
        Health::Suspect(_) => why.push("it is in doubt".to_owned()),
        Health::Bad(_) => why.push("it is missing or damaged, and is replaced".to_owned()),
    }
    PlacedReplica {
        backend: name(replica.backend),
        place,
        health: replica.health,
        verified: replica.verified,
        state: member.as_ref().map(|member| member.state()),
        circuit: member.map(|member| member.circuit()),
        counts: inner.counts(&replica),
        why: why.join(", "),
    }
}
