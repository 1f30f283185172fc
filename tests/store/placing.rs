//! Random work over several backends that fail, fill up and are taken out, held against a map: no
//! byte is wrong, no quota is passed, and at rest ledger, records and listings say the same.

use backend::Fault;
use backend::{Call, Trouble};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::time::Duration;
use store::{Acknowledge, BackendOptions, BackendState, DeleteRequest, Placement, Store, StoreError};
use testkit::{Rng, Seed};
use types::BucketId;

use crate::fleet::{Troubled, audit, get, policy, put, rig, settle};
use crate::recount;
use crate::rig::{advance, content, key, runtime};

const ROUNDS: u64 = 6;
const STEPS: usize = 60;
/// So often the ledger is held against a recount. Between two, what is still being written meets the next steps.
const RECOUNTED: usize = 5;
const QUOTA: u64 = 6_000_000;
const NAMES: u64 = 12;

struct World {
    troubled: Vec<Troubled>,
    objects: BTreeMap<String, Bytes>,
    rng: Rng,
    next: u64,
}

impl World {
    async fn step(&mut self, store: &Store, bucket: BucketId) {
        match self.rng.below(12) {
            0..=3 => self.write(store, bucket).await,
            4 => self.write_many(store, bucket).await,
            5 => self.delete(store, bucket).await,
            6..=7 => self.read(store, bucket).await,
            8..=9 => self.trouble(),
            10 => self.take_out(store).await,
            _ => {
                store.copies_pass().await.unwrap();
                store.cleanup_pass().await.unwrap();
            }
        }
        within_quotas(store);
    }

    fn body(&mut self) -> Bytes {
        self.next += 1;
        let len = *self.rng.pick(&[0, 1, 900, 16_384, 16_385, 131_072, 200_000, 700_000, 1_500_000]);
        content(self.next, len)
    }

    fn name(&mut self) -> String {
        format!("dir/{}", self.rng.below(NAMES))
    }

    async fn write(&mut self, store: &Store, bucket: BucketId) {
        let (name, body) = (self.name(), self.body());
        match put(store, bucket, &name, body.clone()).await {
            Ok(_) => drop(self.objects.insert(name, body)),
            Err(StoreError::Full | StoreError::Unavailable(_)) => {}
            Err(error) => panic!("a write: {error}"),
        }
    }

    /// Different names at once; while they run, quotas are looked at.
    async fn write_many(&mut self, store: &Store, bucket: BucketId) {
        let writes: Vec<_> = (0..4).map(|n| (format!("dir/{}", n * NAMES / 4), self.body())).collect();
        let mut running = tokio::task::JoinSet::new();
        for (name, body) in writes {
            let store = store.clone();
            running.spawn(async move {
                let outcome = put(&store, bucket, &name, body.clone()).await;
                (name, body, outcome)
            });
        }
        while let Some(done) = running.join_next().await {
            within_quotas(store);
            match done.unwrap() {
                (name, body, Ok(_)) => drop(self.objects.insert(name, body)),
                (_, _, Err(StoreError::Full | StoreError::Unavailable(_))) => {}
                (_, _, Err(error)) => panic!("a write: {error}"),
            }
        }
    }

    async fn delete(&mut self, store: &Store, bucket: BucketId) {
        let name = self.name();
        let there = store.delete(bucket, DeleteRequest { key: key(&name), if_match: None }).await.unwrap();
        assert_eq!(there, self.objects.remove(&name).is_some());
    }

    async fn read(&mut self, store: &Store, bucket: BucketId) {
        let name = self.name();
        match (get(store, bucket, &name).await, self.objects.get(&name)) {
            (Ok(bytes), Some(body)) => assert!(bytes == *body, "{name} has wrong bytes"),
            (Err(StoreError::NoSuchKey), None) => {}
            // Every backend that has a copy may be troubled now.
            (Err(StoreError::Unavailable(_) | StoreError::Corrupt(_) | StoreError::Full), Some(_)) => {}
            (other, there) => panic!("{name}: {:?}, there: {}", other.map(|b| b.len()), there.is_some()),
        }
    }

    fn trouble(&mut self) {
        let at = self.rng.below(self.troubled.len() as u64) as usize;
        let script = &self.troubled[at].script;
        script.clear();
        let fault = *self.rng.pick(&[Fault::Unavailable, Fault::Throttled, Fault::Full, Fault::Refused]);
        let done = self.rng.chance(30);
        let trouble = if done { Trouble::DoneThenFail(fault) } else { Trouble::Fail(fault) };
        let call = *self.rng.pick(&[Call::Begin, Call::Write, Call::Finish, Call::Remove, Call::Abandon]);
        match self.rng.below(4) {
            0 => {}
            1 => script.down(Trouble::Fail(Fault::Unavailable)),
            2 => script.times(call, trouble, self.rng.below(3) as u32, 1 + self.rng.below(4) as u32),
            _ => script.times(Call::Next, Trouble::WrongByte, self.rng.below(4) as u32, 1),
        }
    }

    async fn take_out(&mut self, store: &Store) {
        let name = *self.rng.pick(&["local", "a", "b", "c"]);
        let state = if self.rng.chance(50) { BackendState::Draining } else { BackendState::Active };
        assert!(store.set_backend_state(name, state).await.unwrap());
    }

    async fn rest(&mut self, store: &Store, bucket: BucketId) {
        for troubled in &self.troubled {
            troubled.script.clear();
            store.trust_backend(troubled.name);
        }
        for name in ["local", "a", "b", "c"] {
            store.set_backend_state(name, BackendState::Active).await.unwrap();
        }
        // Replicas that are still being written, and all that waits for another try.
        tokio::time::sleep(Duration::from_millis(50)).await;
        for _ in 0..4 {
            advance(Duration::from_secs(3600));
            audit(store).await;
            settle(store).await;
        }
        for (name, body) in &self.objects {
            assert!(get(store, bucket, name).await.unwrap() == *body, "{name}");
        }
        for status in store.backends() {
            assert_eq!((status.usage.awaiting_bytes, status.usage.reserved_bytes), (0, 0), "{}", status.name);
        }
    }
}

fn within_quotas(store: &Store) {
    for status in store.backends() {
        let usage = status.usage;
        let taken = usage.bytes + usage.awaiting_bytes;
        assert!(taken <= QUOTA, "{}: {usage:?}", status.name);
    }
}

#[test]
fn whatever_backends_do_no_quota_is_passed_and_at_rest_all_adds_up() {
    let seed = Seed::new();
    let mut chance = seed.rng();
    for round in 0..ROUNDS {
        let mut rng = chance.fork();
        let troubled: Vec<_> = ["a", "b", "c"].map(Troubled::new).to_vec();
        let embedded = BackendOptions::embedded("local");
        let backends = std::iter::once(embedded).chain(troubled.iter().map(Troubled::options));
        let backends = backends.map(|options| options.with_quota(Some(QUOTA))).collect();
        let copies = 1 + rng.below(3) as u32;
        let acknowledge = *rng.pick(&[Acknowledge::Replicas(1), Acknowledge::All]);
        let placement = *rng.pick(&[Placement::Pack, Placement::Spread]);
        let mut rig = rig(backends, policy(copies, acknowledge, placement));
        let mut world = World { troubled, objects: BTreeMap::new(), rng, next: round << 32 };
        runtime().block_on(async {
            let (mut store, mut bucket) = rig.open();
            for step in 0..STEPS {
                world.step(&store, bucket).await;
                if step % RECOUNTED == 0 {
                    recount::compare(&rig, &store, bucket).await.unwrap();
                }
                if step % 20 == 19 {
                    // As if the process had died: what is on the disk and on the backends is all there is.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    rig.move_to_image();
                    drop(store);
                    (store, bucket) = rig.open();
                }
            }
            world.rest(&store, bucket).await;
            store.close().await;
        });
        let (_, found) = rig.fsck();
        assert_eq!(found, [], "round {round}");
    }
}
