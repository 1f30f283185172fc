//! Where an object's bytes are, why there, and what would be read now.

use meta::{BlobRecord, Content, Health, Place, Replica};
use std::sync::Arc;
use types::{BlobId, BucketId, Key, Timestamp};

use crate::breaker::Circuit;
use crate::member::Member;
use crate::placement::Policy;
use crate::replicas::ranked;
use crate::{BackendState, Inner, Object, Placement, Store, StoreError};

#[derive(Debug, Clone)]
pub struct Explanation {
    pub object: Object,
    /// Somebody reads it.
    pub held: bool,
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
    /// Objects, parts of uploads and multipart objects that have it.
    pub references: u32,
    /// Pieces that have a checksum of their own; none of adopted bytes that nobody has read yet.
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
    /// For people: a file, a location on the backend, or a word.
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
        let key = key.clone();
        self.blocking(move |inner| {
            let object = inner.meta.object(bucket, &key)?.ok_or(StoreError::NoSuchKey)?;
            let policy = inner.policy(Some(bucket));
            // An object that is replaced at this moment loses its blob.
            let record = inner.meta.blob(object.blob)?.ok_or(StoreError::NoSuchKey)?;
            let mut blobs = Vec::new();
            match &record.content {
                Content::Bytes { .. } => blobs.push(placed(inner, policy, object.blob, None, &record)?),
                Content::Parts(parts) => {
                    for part in parts {
                        let record = inner.meta.blob(part.blob)?.ok_or(StoreError::NoSuchKey)?;
                        blobs.push(placed(inner, policy, part.blob, Some(part.number), &record)?);
                    }
                }
            }
            Ok(Explanation {
                held: inner.pins.holds(object.blob),
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

fn placed(
    inner: &Inner,
    policy: Policy,
    blob: BlobId,
    part: Option<u16>,
    record: &BlobRecord,
) -> Result<PlacedBlob, StoreError> {
    let ranked: Vec<Replica> = ranked(inner, record).into_iter().map(|(_, replica)| replica).collect();
    let unreachable = record.replicas().iter().filter(|replica| !ranked.contains(replica));
    let all = ranked.iter().enumerate().map(|(n, replica)| (Some(n), replica));
    let all = all.chain(unreachable.map(|replica| (None, replica)));
    let chunks = match &record.content {
        Content::Bytes { sums, .. } => sums.len(),
        Content::Parts(_) => 0,
    };
    let on_their_way = inner.meta.intent(blob)?.into_iter().flat_map(|intent| intent.targets);
    let order = inner.fleet.order(&inner.meta, policy.placement, record.size, inner.now());
    Ok(PlacedBlob {
        blob,
        part,
        size: record.size,
        references: record.references,
        chunks,
        on_their_way: on_their_way.map(|target| inner.fleet.name_of(target.backend)).collect(),
        replicas: all.map(|(choice, replica)| at(inner, blob, replica, choice, policy, &order)).collect(),
    })
}

/// `choice`: how many are read before it; `None`: it cannot be read.
fn at(
    inner: &Inner,
    blob: BlobId,
    replica: &Replica,
    choice: Option<usize>,
    policy: Policy,
    order: &[Arc<Member>],
) -> PlacedReplica {
    let member = inner.fleet.get(replica.backend);
    let mut why = vec![match choice {
        None => "cannot be read: its backend is not configured".to_owned(),
        Some(0) => "is read now".to_owned(),
        Some(n) => format!("is choice {} now", n + 1),
    }];
    if let Some(member) = &member {
        why.extend(of_backend(member, &replica.place));
        why.push(of_placement(member, policy, order));
    }
    match replica.health {
        Health::Good => {}
        Health::Suspect(_) => why.push("it is in doubt".to_owned()),
        Health::Bad(_) => why.push("it is missing or damaged, and is replaced from another one".to_owned()),
    }
    PlacedReplica {
        backend: inner.fleet.name_of(replica.backend),
        place: place_of(inner, blob, replica, member.as_deref()),
        health: replica.health,
        verified: replica.verified,
        state: member.as_ref().map(|member| member.state()),
        circuit: member.map(|member| member.circuit()),
        counts: inner.counts(replica),
        why: why.join(", "),
    }
}

fn place_of(inner: &Inner, blob: BlobId, replica: &Replica, member: Option<&Member>) -> String {
    let location = member.and_then(|member| member.location(blob, &replica.place));
    match (location, &replica.place) {
        (_, Place::Inline) => "with the metadata".to_owned(),
        (Some(location), _) if replica.backend == meta::EMBEDDED => {
            inner.options.data_dir.join("blobs").join(location.as_str()).display().to_string()
        }
        (Some(location), _) => location.as_str().to_owned(),
        (None, Place::Object(name)) => name.to_string(),
        (None, Place::File) => blob.to_string(),
    }
}

/// What its place and its backend have to do with when it is read.
fn of_backend(member: &Member, place: &Place) -> Vec<String> {
    let mut why = vec![match (place, member.is_embedded(), member.backend.is_remote()) {
        (Place::Inline, ..) => "with its record",
        (_, true, _) => "in the data directory",
        (_, _, false) => "on a local disk",
        (_, _, true) => "over the network",
    }];
    match member.circuit() {
        Circuit::Closed => {}
        Circuit::Open => why.push("the backend fails now and is left alone"),
        Circuit::HalfOpen => why.push("the backend is being tried again"),
    }
    match member.state() {
        BackendState::Active => {}
        BackendState::Draining => why.push("the backend is being emptied"),
        BackendState::Removed => why.push("the backend was taken out"),
    }
    why.into_iter().map(str::to_owned).collect()
}

/// Why it lies there, by what placement says today.
fn of_placement(member: &Member, policy: Policy, order: &[Arc<Member>]) -> String {
    let rule = policy.placement.name();
    let first: Vec<&str> = order.iter().take(policy.copies()).map(|member| member.name.as_str()).collect();
    match () {
        () if first.contains(&member.name.as_str()) => format!("where {rule} would put it now"),
        () if first.is_empty() => "no backend takes new objects now".to_owned(),
        () => format!("{rule} would put it on {} now", first.join(" and ")),
    }
}
