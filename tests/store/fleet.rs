//! Several backends for a store: in memory, failing on order.

use backend::{Backend, Memory};
use backend::{Faulty, Script};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::Arc;
use store::{
    Acknowledge, BackendOptions, Durability, Placement, Policy, Promised, PutRequest, Store, StoreError,
    Written,
};
use types::{BucketId, ByteRange, ObjectHeaders, WriteConditions};

use crate::rig::{Body, Rig, key, read_all};

/// A backend and the way to trouble it.
#[derive(Clone)]
pub struct Troubled {
    pub name: &'static str,
    pub script: Script,
    pub backend: Arc<Faulty<Memory>>,
}

impl Troubled {
    pub fn new(name: &'static str) -> Self {
        let script = Script::default();
        let backend = Arc::new(Faulty::new(Memory::default(), script.clone()));
        Self { name, script, backend }
    }

    pub fn options(&self) -> BackendOptions {
        BackendOptions::opened(self.name, Arc::clone(&self.backend) as Arc<dyn Backend>)
    }

    /// What it has, whatever the script says.
    pub async fn locations(&self) -> BTreeSet<String> {
        let page = self.backend.inner().list("", None, 100_000).await.expect("memory lists");
        page.found.into_iter().map(|found| found.location.as_str().to_owned()).collect()
    }
}

pub fn policy(copies: u32, acknowledge: Acknowledge, placement: Placement) -> Policy {
    Policy { copies, acknowledge, placement }
}

/// A store over these backends only (its records are in the data directory all the same).
pub fn rig(backends: Vec<BackendOptions>, policy: Policy) -> Rig {
    let mut rig = Rig::new(Durability::ProcessCrash);
    rig.options.backends = backends;
    rig.options.buckets.iter_mut().for_each(|bucket| bucket.policy = policy);
    rig
}

pub async fn put(store: &Store, bucket: BucketId, name: &str, bytes: Bytes) -> Result<Written, StoreError> {
    let promised = Promised { size: Some(bytes.len() as u64), ..Promised::default() };
    let request = PutRequest {
        bucket,
        key: key(name),
        headers: ObjectHeaders::default(),
        conditions: WriteConditions::default(),
        promised,
    };
    let mut pieces = Vec::new();
    let mut rest = bytes;
    while rest.len() > 100_000 {
        pieces.push(rest.split_to(100_000));
    }
    pieces.push(rest);
    store.put(request, Body::of(pieces)).await
}

pub async fn get(store: &Store, bucket: BucketId, name: &str) -> Result<Vec<u8>, StoreError> {
    let open = store.open(bucket, &key(name)).await?;
    let size = open.object().size;
    read_all(&open, ByteRange::whole(size)).await
}

/// The backends that have a good copy of an object's (only) blob, in the order in which they would be
/// read, with whether it is inline.
pub async fn copies(store: &Store, bucket: BucketId, name: &str) -> Vec<(String, bool)> {
    let explained = store.explain(bucket, &key(name)).await.expect("an explanation");
    let replicas = explained.blobs.into_iter().flat_map(|blob| blob.replicas);
    let good = replicas.filter(|replica| replica.health == store::Health::Good);
    good.map(|replica| (replica.backend, replica.place == "with the metadata")).collect()
}

pub async fn names(store: &Store, bucket: BucketId, name: &str) -> BTreeSet<String> {
    copies(store, bucket, name).await.into_iter().map(|(backend, _)| backend).collect()
}

/// Runs all queues until nothing is left that can be done now.
pub async fn settle(store: &Store) {
    for _ in 0..200 {
        let copies = store.copies_pass().await.expect("copies");
        let cleaned = store.cleanup_pass().await.expect("cleanup");
        if copies.done + cleaned.done == 0 {
            return;
        }
    }
    panic!("the queues do not come to rest");
}

/// As the worker does it: the whole walk, if something is asked for now that was not before.
pub async fn audit(store: &Store) {
    if let Some(asked) = store.audit_due().await.expect("audit") {
        let mut after = None;
        loop {
            after = store.audit_step(after).await.expect("audit");
            if after.is_none() {
                break;
            }
        }
        store.audit_done(asked).await.expect("audit");
    }
}
