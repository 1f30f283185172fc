//! A table: every operation while a provider does everything that a provider can do. The caller has success, or an
//! error with nothing changed, and never wrong bytes; and when all queues have run, each backend has
//! exactly what the records name there, listed and compared, whatever was done and denied, or came late.

use backend::{Call, Fault, Trouble};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use store::{
    Acknowledge, BackendState, CompleteUpload, CopyRequest, CreateUpload, DeleteRequest, NamedPart, Pace,
    Placement, Promised, Rebalance, ReconcileOrder, ScrubOrder, Store, StoreError, UploadRef,
};
use types::{BucketId, ObjectHeaders, Timestamp, WriteConditions};

use crate::far::Provider;
use crate::fleet::{audit, get, policy, put, rig, settle};
use crate::rig::{Body, Rig, advance, content, key, runtime};

const SMALL: u64 = 9_000;
const LARGE: u64 = 1_200_000;
/// Longer than anything in memory takes.
const LATE: Duration = Duration::from_millis(15);

#[derive(Debug, Clone, Copy)]
enum Operation {
    PutSmall,
    PutLarge,
    OverwriteTwice,
    Delete,
    Copy,
    Multipart,
    Abort,
    Drain,
    Rebalance,
    Scrub,
    Reconcile,
}

use Operation::*;

const OPERATIONS: [Operation; 11] =
    [PutSmall, PutLarge, OverwriteTwice, Delete, Copy, Multipart, Abort, Drain, Rebalance, Scrub, Reconcile];

fn troubles() -> Vec<(Call, Trouble)> {
    use Call::{Abandon, Begin, Finish, Head, List, Next, Read, Remove, Write};
    let mut all = Vec::new();
    for call in [Begin, Write, Finish, Read, Next, Remove, Abandon, Head, List] {
        all.push((call, Trouble::Fail(Fault::Unavailable)));
        all.push((call, Trouble::Fail(Fault::Refused)));
        all.push((call, Trouble::DoneThenFail(Fault::Unavailable)));
        all.push((call, Trouble::Late(LATE)));
    }
    all.push((Finish, Trouble::Fail(Fault::Full)));
    all.push((Next, Trouble::WrongByte));
    all.push((Next, Trouble::BreakOff(Fault::Unavailable)));
    all.push((Next, Trouble::BreakOff(Fault::Corrupt)));
    all
}

struct World {
    providers: [Provider; 3],
    store: Store,
    bucket: BucketId,
    objects: BTreeMap<String, Bytes>,
    next: u64,
}

impl World {
    /// The first one is the bad one, and the first choice of every write and read.
    fn bad(&self) -> &Provider {
        &self.providers[0]
    }

    fn body(&mut self, len: u64) -> Bytes {
        self.next += 1;
        content(self.next, len)
    }

    async fn write(&mut self, name: &str, len: u64) {
        let body = self.body(len);
        let outcome = put(&self.store, self.bucket, name, body.clone()).await.map(drop);
        if self.succeeded(outcome) {
            self.objects.insert(name.to_owned(), body);
        }
    }

    /// An error must say that it is a backend's.
    fn succeeded(&self, outcome: Result<(), StoreError>) -> bool {
        match outcome {
            Ok(()) => true,
            Err(StoreError::Unavailable(_) | StoreError::Full) => false,
            Err(error) => panic!("{error}"),
        }
    }

    async fn delete(&mut self, name: &str) {
        let request = DeleteRequest { key: key(name), if_match: None };
        self.store.delete(self.bucket, request).await.expect("a deletion is our own records' affair");
        self.objects.remove(name);
    }

    async fn copy(&mut self) {
        let found = self.store.open(self.bucket, &key("k")).await.unwrap();
        let request = CopyRequest {
            bucket: self.bucket,
            destination: key("copied"),
            headers: None,
            tags: None,
            conditions: WriteConditions::default(),
            algorithm: None,
        };
        self.store.copy(&found, request).await.expect("a copy moves no byte");
        self.objects.insert("copied".to_owned(), self.objects["k"].clone());
    }

    async fn multipart(&mut self, complete: bool) {
        let (bucket, name) = (self.bucket, key("parts"));
        let headers = ObjectHeaders::default();
        let created = CreateUpload { bucket, key: name.clone(), headers, checksum: None };
        let id = self.store.create_upload(created).await.unwrap();
        let upload = UploadRef { bucket, key: name, id };
        let body = self.body(SMALL);
        let promised = Promised { size: Some(SMALL), ..Promised::default() };
        let part = self.store.put_part(&upload, 1, promised, Body::whole(body.clone())).await;
        let etag = part.as_ref().ok().map(|part| part.etag);
        if !self.succeeded(part.map(drop)) || !complete {
            return self.store.abort_upload(&upload).await.unwrap();
        }
        let parts = vec![NamedPart { number: 1, etag, checksum: None }];
        let conditions = WriteConditions::default();
        let request =
            CompleteUpload { upload, parts, conditions, checksum: None, kind: None, object_size: None };
        self.store.complete_upload(request).await.expect("Complete is our own records' affair");
        self.objects.insert("parts".to_owned(), body);
    }

    async fn drain(&self) {
        self.store.set_backend_state("a", BackendState::Draining).await.unwrap();
        audit(&self.store).await;
        settle(&self.store).await;
        self.store.set_backend_state("a", BackendState::Active).await.unwrap();
    }

    async fn rebalance(&self) {
        let asked = Rebalance { strategy: Placement::Spread, threshold_percent: 0 };
        let mut after = None;
        // A step that fails is the worker's to try again.
        while let Ok(moved) = self.store.rebalance_step(asked, after).await {
            after = moved.next;
            if after.is_none() {
                return;
            }
        }
    }

    async fn scrub(&self) {
        let order = ScrubOrder { backend: None, before: Timestamp(u64::MAX), remote: true };
        let mut due = self.store.scrub_due(&order).await.unwrap();
        while !due.is_done() {
            self.store.scrub_step(&mut due, &Pace::new(None)).await.unwrap();
        }
    }

    async fn reconcile(&self) {
        for provider in &self.providers {
            let order = ReconcileOrder {
                backend: provider.name.to_owned(),
                prefix: String::new(),
                adopt: None,
                clean: true,
                dry_run: false,
            };
            let mut walk = self.store.reconcile(order, None).await.unwrap().unwrap();
            // A backend that does not list is the worker's to try again.
            while let Ok(Some(_)) = walk.step().await {}
        }
    }

    async fn operate(&mut self, operation: Operation) {
        match operation {
            PutSmall => self.write("small", SMALL).await,
            PutLarge => self.write("large", LARGE).await,
            OverwriteTwice => {
                self.write("k", LARGE).await;
                settle(&self.store).await;
                self.write("k", SMALL).await;
            }
            Delete => self.delete("k").await,
            Copy => self.copy().await,
            Multipart => self.multipart(true).await,
            Abort => self.multipart(false).await,
            Drain => self.drain().await,
            Rebalance => self.rebalance().await,
            Scrub => self.scrub().await,
            Reconcile => self.reconcile().await,
        }
    }

    async fn all_is_readable(&self, when: &str) {
        for (name, body) in &self.objects {
            let before = self.copies(name).await;
            match get(&self.store, self.bucket, name).await {
                Ok(read) => assert!(read == *body, "{when}: {name} has wrong bytes"),
                // Acknowledged with one copy: until the other one is there, nobody has it but the bad one.
                Err(StoreError::Unavailable(_) | StoreError::Corrupt(_)) if before < 2 => {}
                Err(error) => panic!("{when}: {name}, which has {before} copies: {error}"),
            }
        }
    }

    async fn copies(&self, name: &str) -> usize {
        let blobs = self.store.explain(self.bucket, &key(name)).await.unwrap().blobs;
        blobs.iter().map(|blob| blob.replicas.len()).min().unwrap_or(0)
    }

    /// What the records name on each backend.
    async fn named(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut named: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for name in self.objects.keys() {
            for blob in self.store.explain(self.bucket, &key(name)).await.unwrap().blobs {
                for replica in blob.replicas {
                    named.entry(replica.backend).or_default().insert(replica.place);
                }
            }
        }
        named
    }

    /// The provider is well again, and all queues run.
    async fn heal(&self) {
        for provider in &self.providers {
            provider.script.clear();
            self.store.trust_backend(provider.name);
        }
        // What was given up may still be on its way.
        tokio::time::sleep(LATE).await;
        for _ in 0..2 {
            advance(Duration::from_secs(2 * 3600));
            audit(&self.store).await;
            settle(&self.store).await;
        }
    }

    async fn nothing_but_what_is_named(&self, when: &str) {
        let named = self.named().await;
        for provider in &self.providers {
            let expected = named.get(provider.name).cloned().unwrap_or_default();
            assert_eq!(provider.locations().await, expected, "{when}: what {} has", provider.name);
        }
        assert_eq!(self.store.cleanup_queue(10).await.unwrap().len(), 0, "{when}: cleanup");
    }

    async fn play(&mut self, operation: Operation, (call, trouble): (Call, Trouble), times: u32) {
        let when = format!("{operation:?}, {call:?} {trouble:?}, {times} times");
        if !self.objects.contains_key("k") {
            self.write("k", SMALL).await;
        }
        self.bad().script.times(call, trouble, 0, times);
        self.operate(operation).await;
        self.all_is_readable(&when).await;
        self.heal().await;
        for name in self.objects.keys() {
            assert_eq!(self.copies(name).await, 2, "{when}: copies of {name}");
        }
        self.all_is_readable(&when).await;
        self.nothing_but_what_is_named(&when).await;
    }
}

fn world(acknowledge: Acknowledge) -> (Rig, World) {
    let providers = ["a", "b", "c"].map(Provider::new);
    let backends = providers.iter().map(Provider::options).collect();
    let rig = rig(backends, policy(2, acknowledge, Placement::Pack));
    let (store, bucket) = rig.open();
    (rig, World { providers, store, bucket, objects: BTreeMap::new(), next: 0 })
}

fn whatever_a_provider_does(acknowledge: Acknowledge, times: u32) {
    let (rig, mut world) = world(acknowledge);
    runtime().block_on(async {
        for operation in OPERATIONS {
            for trouble in troubles() {
                world.play(operation, trouble, times).await;
            }
        }
        world.store.close().await;
    });
    drop(world.store);
    assert_eq!(rig.fsck().1, []);
}

#[test]
fn every_operation_outlives_every_trouble_that_stays() {
    whatever_a_provider_does(Acknowledge::All, u32::MAX);
}

#[test]
fn every_operation_outlives_every_trouble_that_comes_once() {
    whatever_a_provider_does(Acknowledge::Replicas(1), 1);
}

/// A write that was given up arrives when its place was cleaned up already: it is found there a quarter of an hour
/// later. What lives is never touched by it.
#[test]
fn what_arrives_late_is_deleted_late() {
    let (rig, mut world) = world(Acknowledge::All);
    runtime().block_on(async {
        world.bad().script.once(Call::Finish, Trouble::DoneThenFail(Fault::Unavailable));
        world.write("k", SMALL).await;
        let late = world.bad().locations().await;
        assert_eq!((late.len(), world.objects.len()), (1, 1), "it was done and denied");
        settle(&world.store).await;
        assert_eq!(world.bad().locations().await, BTreeSet::new(), "its place was cleaned up");
        for location in &late {
            world.bad().memory().put_foreign(location, content(1, SMALL));
        }
        world.write("k", LARGE).await;
        advance(Duration::from_secs(10 * 60));
        settle(&world.store).await;
        assert!(world.bad().locations().await.is_superset(&late), "not looked at yet");
        advance(Duration::from_secs(10 * 60));
        settle(&world.store).await;
        world.all_is_readable("late").await;
        world.nothing_but_what_is_named("late").await;
        world.store.close().await;
    });
    drop(world.store);
    assert_eq!(rig.fsck().1, []);
}
