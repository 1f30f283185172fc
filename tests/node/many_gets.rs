//! GETs of objects with two copies, while one of the two providers is bad: now this one, now that one, in every way that a
//! provider can be. None fails, none has a wrong byte. `MANY_GETS=100000` makes a longer run, as the store's own suite
//! has it.

use crate::fleet::{World, at_rest, world};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use testkit::proxy::{Fault, Proxy};
use testkit::{Bodies, Content, Rng, S3Client, Seed};
use tokio::sync::RwLock;

const GETS: u64 = 5_000;
const READERS: u64 = 32;
const OBJECTS: u64 = 64;

/// What a provider does to a reader; `None`: it is gone.
fn faults() -> Vec<Option<Fault>> {
    let faults = [
        Fault::Reset,
        Fault::Stall,
        Fault::Status(500),
        Fault::Status(503),
        Fault::Status(404),
        Fault::Late(Duration::from_millis(200)),
        Fault::ResetAfter(1000),
        Fault::TruncateAfter(1000),
        Fault::StallAfter(1000),
        Fault::WrongByte(1000),
        Fault::Slow(20_000),
    ];
    faults.into_iter().map(Some).chain([None]).collect()
}

struct Objects {
    bodies: Bodies,
}

impl Objects {
    fn get(&self, number: u64) -> (String, Content) {
        let key = format!("dir/{number}");
        let content = self.bodies.content(&key, number, 1_500 + number * 101);
        (key, content)
    }
}

#[derive(Default)]
struct Progress {
    begun: AtomicU64,
    done: AtomicU64,
    /// Held by every GET, and by whoever ends a fault: what is under way keeps its fault, and there shall
    /// never be two.
    turn: RwLock<()>,
}

async fn read(client: S3Client, objects: Arc<Objects>, progress: Arc<Progress>, gets: u64, mut rng: Rng) {
    while progress.begun.fetch_add(1, Ordering::Relaxed) < gets {
        let _turn = progress.turn.read().await;
        let (key, content) = objects.get(rng.below(OBJECTS));
        let answer = client.get(&key).await.unwrap_or_else(|error| panic!("GET {key}: {error}"));
        assert_eq!(answer.status, 200, "GET {key}: {}", answer.brief());
        content.verify(&answer.body).unwrap_or_else(|why| panic!("GET {key}: {why}"));
        progress.done.fetch_add(1, Ordering::Relaxed);
    }
}

/// Until so many GETs are done, the provider behind the proxy is bad.
async fn trouble(proxy: &Proxy, fault: Option<Fault>, progress: &Progress, until: u64) {
    match fault {
        Some(fault) => proxy.always(fault),
        None => proxy.down(),
    }
    let begun = Instant::now();
    while progress.done.load(Ordering::Relaxed) < until {
        assert!(begun.elapsed() < Duration::from_secs(120), "{fault:?}: the GETs do not go on");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let _nobody_reads = progress.turn.write().await;
    proxy.clear();
    proxy.up().await.expect("the proxy is back");
}

async fn fill(world: &World, objects: &Objects) {
    for number in 0..OBJECTS {
        let (key, content) = objects.get(number);
        let answer = world.node.client().put(&key, content.bytes()).await.expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.brief());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gets_and_one_bad_provider_at_a_time() {
    let seed = Seed::new();
    let mut rng = seed.rng();
    let gets = std::env::var("MANY_GETS").ok().and_then(|text| text.parse().ok()).unwrap_or(GETS);
    let mut world = world(2, "\"all\"", &["far-1", "far-2"]).await;
    let objects = Arc::new(Objects { bodies: Bodies::new(seed.value()) });
    fill(&world, &objects).await;
    let progress = Arc::new(Progress::default());
    let begun = Instant::now();
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..READERS {
        let (client, objects, progress) = (world.node.client(), Arc::clone(&objects), Arc::clone(&progress));
        readers.spawn(read(client, objects, progress, gets, rng.fork()));
    }
    let turns: Vec<_> = faults()
        .into_iter()
        .flat_map(|fault| world.proxies.iter().map(move |proxy| (proxy, fault)))
        .collect();
    let troubles = async {
        for (turn, (proxy, fault)) in turns.iter().enumerate() {
            let until = gets * (turn as u64 + 1) / turns.len() as u64;
            trouble(proxy, *fault, &progress, until).await;
        }
    };
    let reading = async {
        while let Some(ended) = readers.join_next().await {
            ended.expect("every GET goes well");
        }
    };
    tokio::join!(reading, troubles);
    assert_eq!(progress.done.load(Ordering::Relaxed), gets);
    println!("{gets} GETs in {:?}", begun.elapsed());
    at_rest(&mut world).await;
}
