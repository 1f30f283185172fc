//! Listings while keys come and go: what was there throughout is listed exactly once, what never was is not, in order.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use testkit::client::ListQuery;
use testkit::{Node, NodeConfig, Rng, S3Client, Seed};

const STABLE: u64 = 1200;
const LISTERS: usize = 4;
const FOR: Duration = Duration::from_secs(12);

/// Keys in three folders and at the top, in an order that is bytes, not letters.
fn key(n: u64) -> String {
    match n % 4 {
        0 => format!("{n:05}"),
        1 => format!("a/{n:05}"),
        2 => format!("a/b/{n:05}"),
        _ => format!("ü/😀 {n:05}"),
    }
}

fn is_stable(n: u64) -> bool {
    !n.is_multiple_of(5)
}

async fn fill(client: &S3Client, keys: Vec<String>) {
    let mut tasks = Vec::new();
    for chunk in keys.chunks(keys.len().div_ceil(16)) {
        let (client, chunk) = (client.clone(), chunk.to_vec());
        tasks.push(tokio::spawn(async move {
            for key in chunk {
                let answer = client.put(&key, "x").await.expect("an answer");
                assert!(answer.is_success(), "{}", answer.brief());
            }
        }));
    }
    for task in tasks {
        task.await.expect("no panic");
    }
}

/// Puts and deletes the keys that are not stable, single and by the batch.
async fn churn(client: S3Client, mut rng: Rng, stop: Arc<AtomicBool>) {
    let moving: Vec<String> = (0..STABLE * 5 / 4).filter(|n| !is_stable(*n)).map(key).collect();
    while !stop.load(Ordering::SeqCst) {
        let answer = match rng.below(10) {
            0 => {
                client
                    .delete_many(&(0..10).map(|_| rng.pick::<String>(&moving).clone()).collect::<Vec<_>>())
                    .await
            }
            1..5 => client.delete(rng.pick::<String>(&moving)).await,
            _ => client.put(rng.pick::<String>(&moving), "y").await,
        };
        let answer = answer.expect("an answer");
        assert!(answer.is_success(), "{}", answer.brief());
    }
}

/// What a listing must contain.
struct Truth {
    stable: BTreeSet<String>,
    all: HashSet<String>,
}

impl Truth {
    fn new() -> Self {
        let numbers = 0..STABLE * 5 / 4;
        let stable = numbers.clone().filter(|n| is_stable(*n)).map(key).collect();
        Self { stable, all: numbers.map(key).collect() }
    }

    fn check(&self, list: &ListQuery<'_>, keys: &[String], prefixes: &[String]) {
        let context = || format!("{list:?}");
        assert!(keys.is_sorted_by(|a, b| a.as_bytes() < b.as_bytes()), "order or repetition: {}", context());
        assert!(
            prefixes.is_sorted_by(|a, b| a.as_bytes() < b.as_bytes()),
            "prefixes: {prefixes:?} {}",
            context()
        );
        let listed: HashSet<&str> = keys.iter().map(String::as_str).collect();
        let strange: Vec<_> = listed.iter().filter(|key| !self.all.contains(**key)).collect();
        assert!(strange.is_empty(), "never existed: {strange:?} {}", context());
        let folder = |key: &str| folder_of(key, list).map(str::to_owned);
        let wanted = || {
            self.stable.iter().filter(|key| key.starts_with(list.prefix) && key.as_str() > list.start_after)
        };
        let missing: Vec<_> =
            wanted().filter(|key| folder(key).is_none() && !listed.contains(key.as_str())).collect();
        assert!(missing.is_empty(), "missed {missing:?} {}", context());
        let folders: BTreeSet<String> = wanted().filter_map(|key| folder(key)).collect();
        let rolled: BTreeSet<String> = prefixes.iter().cloned().collect();
        let missing: Vec<_> = folders.difference(&rolled).collect();
        assert!(missing.is_empty(), "missed prefixes {missing:?} {}", context());
        assert!(keys.iter().all(|key| folder(key).is_none()), "both key and prefix {}", context());
    }
}

/// The common prefix that a key is rolled into.
fn folder_of<'a>(key: &'a str, list: &ListQuery<'_>) -> Option<&'a str> {
    if list.delimiter.is_empty() {
        return None;
    }
    let at = key.get(list.prefix.len()..)?.find(list.delimiter)?;
    key.get(..list.prefix.len() + at + list.delimiter.len())
}

async fn list_for_ever(client: S3Client, mut rng: Rng, truth: Arc<Truth>, until: Instant) -> usize {
    let mut done = 0;
    while Instant::now() < until {
        let start_after = if rng.chance(30) { key(rng.below(STABLE)) } else { String::new() };
        let list = ListQuery {
            version_1: rng.chance(40),
            prefix: rng.pick::<&str>(&["", "", "a/", "ü/", "a/b/0", "0"]),
            delimiter: rng.pick::<&str>(&["", "", "/", "0"]),
            start_after: &start_after,
            max_keys: Some(*rng.pick(&[7, 50, 333, 1000])),
            ..ListQuery::default()
        };
        let whole = client.list_all(&list).await.unwrap_or_else(|why| panic!("{list:?}: {why}"));
        let keys: Vec<String> = whole.entries.into_iter().map(|entry| entry.key).collect();
        truth.check(&list, &keys, &whole.prefixes);
        done += 1;
    }
    done
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listings_neither_miss_nor_repeat() {
    let seed = Seed::new();
    let mut rng = seed.rng();
    let node = Node::start(NodeConfig::new(env!("CARGO_BIN_EXE_s3-orchestrator"))).expect("the node starts");
    let client = node.client();
    let truth = Arc::new(Truth::new());
    fill(&client, truth.stable.iter().cloned().collect()).await;
    let stop = Arc::new(AtomicBool::new(false));
    let churners: Vec<_> =
        (0..4).map(|_| tokio::spawn(churn(client.clone(), rng.fork(), stop.clone()))).collect();
    let until = Instant::now() + FOR;
    let listers: Vec<_> = (0..LISTERS)
        .map(|_| tokio::spawn(list_for_ever(client.clone(), rng.fork(), truth.clone(), until)))
        .collect();
    let mut listings = 0;
    for lister in listers {
        listings += lister.await.expect("the listing is right");
    }
    stop.store(true, Ordering::SeqCst);
    for churner in churners {
        churner.await.expect("the churn goes on");
    }
    println!("{listings} listings under churn");
    assert!(listings >= 40, "only {listings} listings");
}

/// A listing that begins after an acknowledgement sees it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listing_sees_what_was_acknowledged() {
    let node = Node::start(NodeConfig::new(env!("CARGO_BIN_EXE_s3-orchestrator"))).expect("the node starts");
    let mut tasks = Vec::new();
    for worker in 0..8 {
        let client = node.client();
        tasks.push(tokio::spawn(async move {
            let prefix = format!("w{worker}-");
            let list = ListQuery { prefix: &prefix, ..ListQuery::default() };
            for n in 0..40 {
                let key = format!("{prefix}{n:03}");
                assert!(client.put(&key, "x").await.expect("an answer").is_success());
                assert_eq!(
                    client.list_all(&list).await.expect("a listing").entries.len(),
                    1,
                    "after PUT of {key}"
                );
                assert!(client.delete(&key).await.expect("an answer").is_success());
                assert_eq!(
                    client.list_all(&list).await.expect("a listing").entries.len(),
                    0,
                    "after DELETE of {key}"
                );
            }
        }));
    }
    for task in tasks {
        task.await.expect("every listing is current");
    }
}

/// A page's token is good after a restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_outlive_a_restart() {
    let mut node =
        Node::start(NodeConfig::new(env!("CARGO_BIN_EXE_s3-orchestrator"))).expect("the node starts");
    fill(&node.client(), (0..40).map(key).collect()).await;
    let mut keys = Vec::new();
    let mut after: Option<String> = None;
    for _ in 0..4 {
        let list = ListQuery { max_keys: Some(10), after: after.as_deref(), ..ListQuery::default() };
        let page = node.client().list_page(&list).await.expect("a page");
        keys.extend(page.entries.into_iter().map(|entry| entry.key));
        after = page.next;
        node.restart().expect("the node starts again");
    }
    let mut want: Vec<String> = (0..40).map(key).collect();
    want.sort();
    assert_eq!((keys, after), (want, None));
}
