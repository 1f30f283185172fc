//! A hundred thousand GETs of objects with two copies, while one of the two providers is bad: now this one, now that
//! one, in every way. None fails, none delivers a wrong byte.

use backend::{Call, Fault, Trouble};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use store::{Acknowledge, Placement, Store};
use testkit::{Rng, Seed};
use tokio::sync::RwLock;
use tokio::task::JoinSet;
use types::BucketId;

use crate::far::Provider;
use crate::fleet::{get, policy, put, rig, settle};
use crate::rig::{content, runtime};

const GETS: u64 = 100_000;
const READERS: u64 = 32;
const OBJECTS: u64 = 40;

fn troubles() -> Vec<(Call, Trouble)> {
    let mut all = vec![
        (Call::Read, Trouble::Stall),
        (Call::Next, Trouble::Stall),
        (Call::Next, Trouble::WrongByte),
        (Call::Next, Trouble::Late(Duration::from_millis(5))),
    ];
    for fault in [Fault::Unavailable, Fault::Throttled, Fault::Refused, Fault::Absent, Fault::Corrupt] {
        all.push((Call::Read, Trouble::Fail(fault)));
        all.push((Call::Read, Trouble::DoneThenFail(fault)));
        all.push((Call::Next, Trouble::BreakOff(fault)));
    }
    all
}

fn object(number: u64) -> (String, Bytes) {
    (format!("dir/{number}"), content(number, 17_000 + number * 500))
}

#[derive(Default)]
struct Progress {
    begun: AtomicU64,
    done: AtomicU64,
    /// Held by every GET, and by whoever ends a trouble: what is under way keeps its trouble, and there shall
    /// never be two.
    turn: RwLock<()>,
}

async fn read(store: Store, bucket: BucketId, progress: Arc<Progress>, mut rng: Rng) {
    let objects: Vec<_> = (0..OBJECTS).map(object).collect();
    while progress.begun.fetch_add(1, Ordering::Relaxed) < GETS {
        let _turn = progress.turn.read().await;
        let (name, bytes) = rng.pick(&objects);
        let read = get(&store, bucket, name).await.unwrap_or_else(|error| panic!("GET {name}: {error}"));
        assert!(read == *bytes, "GET {name}: wrong bytes");
        progress.done.fetch_add(1, Ordering::Relaxed);
    }
}

/// Each in its turn, until its share of the GETs is done.
async fn trouble(store: &Store, providers: &[Provider], progress: &Progress) {
    let troubles = troubles();
    let turns: Vec<_> =
        troubles.iter().flat_map(|trouble| providers.iter().map(move |p| (p, trouble))).collect();
    for (turn, (provider, (call, trouble))) in turns.iter().enumerate() {
        provider.script.always(*call, *trouble);
        let until = GETS * (turn as u64 + 1) / turns.len() as u64;
        while progress.done.load(Ordering::Relaxed) < until {
            // Repairs and cleanup go on meanwhile, as they do in a node.
            store.copies_pass().await.unwrap();
            store.cleanup_pass().await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let _nobody_reads = progress.turn.write().await;
        provider.script.clear();
        // What was left alone is asked again, so that each trouble is met.
        store.trust_backend(provider.name);
        settle(store).await;
    }
}

#[test]
fn a_hundred_thousand_gets_and_one_bad_provider_at_a_time() {
    let mut rng = Seed::new().rng();
    let providers = ["a", "b"].map(Provider::new);
    let backends = providers.iter().map(Provider::options).collect();
    let rig = rig(backends, policy(2, Acknowledge::All, Placement::Pack));
    let (store, bucket) = rig.open();
    runtime().block_on(async {
        for (name, bytes) in (0..OBJECTS).map(object) {
            put(&store, bucket, &name, bytes).await.unwrap();
        }
        let progress = Arc::new(Progress::default());
        let mut readers = JoinSet::new();
        for _ in 0..READERS {
            readers.spawn(read(store.clone(), bucket, Arc::clone(&progress), rng.fork()));
        }
        let reading = async {
            while let Some(ended) = readers.join_next().await {
                ended.expect("every GET goes well");
            }
        };
        tokio::join!(reading, trouble(&store, &providers, &progress));
        assert_eq!(progress.done.load(Ordering::Relaxed), GETS);
        for provider in &providers {
            assert_eq!(provider.locations().await.len() as u64, OBJECTS, "{}", provider.name);
        }
        store.close().await;
    });
    drop(store);
    assert_eq!(rig.fsck().1, []);
}
