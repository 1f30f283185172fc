//! A node over several backends: its data directory, a disk, and providers, which are another node behind proxies
//! that fail on order.

use crate::asked::{json, run};
use crate::reload_backends::wait_until;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use testkit::client::Answer;
use testkit::load::{Fleet, Halt, Profile};
use testkit::proxy::{Fault, Proxy, Rule};
use testkit::rng::body;
use testkit::{BucketConfig, ListQuery, Node, NodeConfig, S3Client, Seed, backends, fsck};

const SMALL: usize = 3_000;
const LARGE: usize = 1_500_000;
/// What the node may take until a provider counts as dead: the tests wait for it often.
const STALL: &str = "1s";

pub struct World {
    provider: Node,
    pub proxies: Vec<Proxy>,
    pub node: Node,
    disk: tempfile::TempDir,
}

/// The providers come first, so that they are read from first among their like.
pub async fn world(copies: u32, acknowledge: &str, kinds: &[&str]) -> World {
    let mut buckets = NodeConfig::new(env!("CARGO_BIN_EXE_s3-orchestrator"));
    buckets.buckets = ["far-1", "far-2"].map(BucketConfig::new).to_vec();
    let provider = Node::start(buckets).expect("the provider starts");
    let disk = tempfile::tempdir().expect("a directory");
    let mut config = NodeConfig::new(env!("CARGO_BIN_EXE_s3-orchestrator"));
    config.buckets[0].more = vec![format!("copies = {copies}"), format!("acknowledge = {acknowledge}")];
    let mut proxies = Vec::new();
    for kind in kinds {
        let section = match *kind {
            "embedded" => "[[backends]]\nname = \"local\"\nkind = \"embedded\"".to_owned(),
            "disk" => backends::disk("disk", disk.path()),
            name => {
                let proxy = Proxy::start(provider.addr()).await.expect("a proxy");
                let credential = &BucketConfig::new(name).credentials[0];
                let section = backends::provider(name, &proxy.url(), name, credential);
                proxies.push(proxy);
                format!("{section}\nstall_timeout = \"{STALL}\"")
            }
        };
        config.more.push(section);
    }
    let node = Node::start(config).expect("the node starts");
    World { provider, proxies, node, disk }
}

impl World {
    /// The provider is well, and the node has found it so.
    pub async fn answers_again(&self, backend: &str) {
        let begun = Instant::now();
        loop {
            // Its exit code says that something is wrong.
            let shown = run(&self.node, &["status", "--json"]);
            let status: serde_json::Value = serde_json::from_str(&shown.out).expect("a document");
            let all = status["backend_conditions"].as_array().cloned().unwrap_or_default();
            if all.iter().any(|one| one["name"] == backend && one["circuit"] == "closed") {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "{all:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What a backend really has, by the places that the records would name.
    pub async fn listed(&self, backend: &str) -> BTreeSet<String> {
        if backend == "disk" {
            let root = self.disk.path();
            let files = fsck::files_under(&root.join("blobs")).into_iter();
            let place =
                |file: String| Some(file.strip_prefix(root.to_str()?)?.trim_start_matches('/').to_owned());
            return files.filter_map(place).collect();
        }
        let credential = BucketConfig::new(backend).credentials.remove(0);
        let client = S3Client::new(self.provider.addr(), backend, credential);
        let listed = client.list_all(&ListQuery::default()).await.expect("a listing");
        listed.entries.into_iter().map(|entry| entry.key).collect()
    }
}

pub fn faults() -> Vec<Fault> {
    vec![
        Fault::Reset,
        Fault::Stall,
        Fault::Status(500),
        Fault::Status(503),
        Fault::ResetUpload(1000),
        Fault::StallUpload(1000),
        Fault::WrongUpload(1000),
        Fault::DoneThenReset,
        Fault::DoneThenStall,
        Fault::DoneThenStatus(500),
        Fault::ResetAfter(1000),
        Fault::TruncateAfter(1000),
        Fault::StallAfter(1000),
        Fault::WrongByte(1000),
        Fault::Slow(20_000),
    ]
}

/// Success, or an error that S3 clients try again after.
pub fn success(answer: &Answer) -> bool {
    assert!(answer.status == 200 || answer.status >= 500, "{}", answer.brief());
    answer.status == 200
}

/// Waits until nothing is left to be done, and holds every backend against the records.
pub async fn at_rest(world: &mut World) {
    let begun = Instant::now();
    loop {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        world.node.sigterm().expect("the node stops");
        let report = fsck::run(&world.node).expect("fsck runs");
        if report.clean && report.count("tasks") == Some(0) {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(90), "{}", report.text);
        world.node.run().expect("the node starts again");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_get_survives_whatever_one_of_two_providers_does() {
    let mut world = world(2, "\"all\"", &["far-1", "far-2"]).await;
    let client = world.node.client();
    let (small, large) = (body(1, SMALL), body(2, LARGE));
    assert_eq!(client.put("small", small.clone()).await.expect("an answer").status, 200);
    assert_eq!(client.put("large", large.clone()).await.expect("an answer").status, 200);
    for fault in faults() {
        for after in [0, 2] {
            world.proxies[0].rule(Rule::new(fault).after(after));
            for (key, body) in [("small", &small), ("large", &large)] {
                let answer = client.get(key).await.unwrap_or_else(|e| panic!("{fault:?} {key}: {e:?}"));
                assert!(answer.status == 200 && answer.body == *body, "{fault:?} {key}: {}", answer.brief());
                let range = client.get_with(key, &[("range", "bytes=1500-2499")]).await.expect("an answer");
                assert!(range.status == 206 && range.body == body[1500..2500], "{fault:?} {key}");
            }
            world.proxies[0].clear();
        }
    }
    at_rest(&mut world).await;
    assert!(world.provider.is_running());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_succeeds_or_says_so_whatever_a_provider_does_and_nothing_leaks() {
    let mut world = world(2, "\"all\"", &["far-1", "embedded", "disk"]).await;
    let client = world.node.client();
    let mut expected = std::collections::BTreeMap::new();
    for (n, fault) in faults().into_iter().enumerate() {
        world.proxies[0].always(fault);
        for (key, len) in [("small", SMALL), ("large", LARGE), ("gone", SMALL)] {
            let bytes = body(n as u64 * 10 + len as u64, len);
            let answer = client.put(key, bytes.clone()).await.expect("an answer");
            if success(&answer) {
                expected.insert(key, bytes);
            }
        }
        assert_eq!(client.delete("gone").await.expect("an answer").status, 204, "{fault:?}");
        expected.remove("gone");
        for (key, bytes) in &expected {
            let answer = client.get(key).await.expect("an answer");
            assert!(answer.status == 200 && answer.body == *bytes, "{fault:?} {key}: {}", answer.brief());
        }
        world.proxies[0].clear();
    }
    assert_eq!(expected.len(), 2, "other backends took what the provider did not");
    at_rest(&mut world).await;
}

/// What the circuit breaker does is told: in `status`, and over again when it is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_fails_is_seen_in_status() {
    let world = world(2, "1", &["far-1", "embedded"]).await;
    let status = || {
        let shown = run(&world.node, &["status", "--json"]);
        serde_json::from_str::<serde_json::Value>(&shown.out).expect("a document")
    };
    let condition = || status()["backend_conditions"][0].clone();
    assert_eq!((&condition()["name"], &condition()["circuit"]), (&"far-1".into(), &"closed".into()));
    world.proxies[0].always(Fault::Status(500));
    let client = world.node.client();
    for n in 0..4 {
        assert_eq!(client.put(&format!("k{n}"), body(n, SMALL)).await.expect("an answer").status, 200);
    }
    wait_until("it is left alone", || condition()["circuit"] != "closed");
    let screen = run(&world.node, &["status"]).out;
    assert!(screen.starts_with("ERROR: the backend far-1 does not answer\n"), "{screen}");
    assert!(screen.contains("  active, fails for "), "{screen}");
    let replica = json(&world.node, &["locate", "test-bucket/k0"])["pieces"][0]["replicas"][0].clone();
    assert_eq!(replica["backend"], "local", "what would be read now");
    world.proxies[0].clear();
    wait_until("it is used again", || {
        condition()["circuit"] == "closed" && condition()["down_seconds"].is_null()
    });
    assert_eq!(status()["findings"], serde_json::json!([]));
}

/// SIGKILL at random moments; what was acknowledged is there, and every backend has what the records say.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_with_three_backends_and_two_copies() {
    let seed = Seed::new();
    let mut rng = seed.rng();
    let mut world = world(2, "1", &["embedded", "disk", "far-1"]).await;
    let mut fleet = Fleet::new(seed.value(), &Profile { workers: 4, ..Profile::default() });
    for round in 1..=12 {
        let halt = Arc::new(Halt::default());
        let underway = fleet.start(&world.node.client(), &halt);
        tokio::time::sleep(Duration::from_millis(rng.between(20, 400))).await;
        world.node.kill9();
        halt.stop.store(true, Ordering::SeqCst);
        fleet = underway.join().await;
        world.node.run().expect("the node starts after a kill");
        fleet.verify(&world.node.client()).await;
        let violations = fleet.take_violations();
        assert!(violations.is_empty(), "round {round}:\n{}", violations.join("\n"));
    }
    fleet.abort_uploads(&world.node.client()).await;
    at_rest(&mut world).await;
}
