//! The data directory is lost while the node runs: killed, wiped, restored from its backends, and every object held
//! against what was written.

#![allow(clippy::unwrap_used)]

use crate::asked::{BINARY, json, run};
use crate::moving_far::job;
use std::collections::BTreeMap;
use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};
use testkit::rng::body;
use testkit::servers::Server;
use testkit::{ListQuery, Node, NodeConfig, S3Client, Seed, backends, fsck};

const METADATA: &[(&str, &str)] = &[
    ("content-type", "text/plain; charset=utf-8"),
    ("cache-control", "max-age=60"),
    ("x-amz-meta-camera", "m6"),
    ("x-amz-tagging", "colour=dark%20red&year=1999"),
];
const COMPARED: &[&str] =
    &["etag", "content-type", "cache-control", "content-length", "x-amz-meta-camera", "x-amz-tagging-count"];

/// What a client sees of an object.
type Seen = (Vec<u8>, Vec<Option<String>>);

async fn look(client: &S3Client) -> BTreeMap<String, Seen> {
    let mut seen = BTreeMap::new();
    for entry in client.list_all(&ListQuery::default()).await.expect("a listing").entries {
        let answer = client.get(&entry.key).await.expect("an answer");
        assert_eq!(answer.status, 200, "{}: {}", entry.key, answer.brief());
        let headers = COMPARED.iter().map(|name| answer.header(name).map(str::to_owned)).collect();
        seen.insert(entry.key, (answer.body.to_vec(), headers));
    }
    seen
}

fn assert_same(seen: &BTreeMap<String, Seen>, expected: &BTreeMap<String, Seen>) {
    let names = |all: &BTreeMap<String, Seen>| all.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(seen), names(expected));
    for (name, (bytes, headers)) in expected {
        assert_eq!(seen[name].1, *headers, "{name}");
        assert!(seen[name].0 == *bytes, "{name}: other bytes");
    }
}

async fn put(client: &S3Client, key: &str, seed: u64, len: usize) {
    let answer = client.put_with(key, body(seed, len), METADATA).await.expect("an answer");
    assert_eq!(answer.status, 200, "{key}: {}", answer.brief());
}

fn wait_for_cleanup(node: &Node) {
    let begun = Instant::now();
    while json(node, &["status"])["queues"][0]["waiting"] != 0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "cleanup does not end");
        std::thread::sleep(Duration::from_millis(100));
    }
}

struct Upload {
    key: &'static str,
    id: String,
}

async fn begin(client: &S3Client, key: &'static str) -> Upload {
    let answer = client.create_upload(key).await.expect("an upload");
    Upload { key, id: answer.xml().expect("XML").text_of("UploadId").to_owned() }
}

impl Upload {
    async fn part(&self, client: &S3Client, number: u16, len: usize) -> (u16, String) {
        let answer = client.put_part(self.key, &self.id, number, body(u64::from(number), len)).await;
        (number, answer.expect("an answer").etag())
    }

    async fn complete(&self, client: &S3Client, parts: &[(u16, String)]) {
        assert_eq!(client.complete(self.key, &self.id, parts, &[]).await.expect("an answer").status, 200);
    }

    async fn end(&self, client: &S3Client, parts: &[(u16, usize)]) {
        let mut sent = Vec::new();
        for (number, len) in parts {
            sent.push(self.part(client, *number, *len).await);
        }
        self.complete(client, &sent).await;
    }
}

/// Lives through the loss of its data directory.
async fn loses_its_data_directory(backends: Vec<String>, copies: usize) {
    let names: Vec<&str> = if copies == 2 { vec!["disk", "far"] } else { vec!["far"] };
    let mut config = NodeConfig::new(BINARY);
    config.buckets[0].more = vec![format!("copies = {copies}"), "acknowledge = \"all\"".to_owned()];
    config.more = backends;
    let mut node = Node::start(config).expect("the node starts");
    let client = node.client();
    for (n, key) in ["small", "a/b//c", "odd/ü +%&?#.txt", "empty"].iter().enumerate() {
        put(&client, key, n as u64, if *key == "empty" { 0 } else { 1000 * (n + 1) }).await;
    }
    put(&client, "large", 10, 9 << 20).await;
    for n in 0..6 {
        put(&client, &format!("k{n}"), 20 + n, 40_000).await;
    }
    let whole = begin(&client, "parts").await;
    whole.end(&client, &[(1, 5 << 20), (2, 1000)]).await;
    let begun = begin(&client, "parts begun before").await;
    let early = begun.part(&client, 1, 5 << 20).await;
    let first = json(&node, &["snapshot"]);
    assert_eq!(first["tally"]["stored"], names.len(), "{first}");
    put(&client, "k9", 30, 100).await;
    let second = json(&node, &["snapshot"]);
    assert!(second["tally"]["sent bytes"].as_u64() < first["tally"]["sent bytes"].as_u64(), "{second}");
    assert_eq!(json(&node, &["snapshot", "--list"])["snapshots"].as_array().unwrap().len(), 2 * names.len());
    // What the snapshot does not know.
    put(&client, "k0", 40, 50_000).await;
    put(&client, "later", 41, 70_000).await;
    put(&client, "later/large", 42, 10 << 20).await;
    let late = begun.part(&client, 2, 2000).await;
    begun.complete(&client, &[early, late]).await;
    begin(&client, "later/parts").await.end(&client, &[(1, 6 << 20), (9, 3000)]).await;
    for key in ["k1", "k2"] {
        assert_eq!(client.delete(key).await.expect("an answer").status, 204);
    }
    wait_for_cleanup(&node);
    let expected = look(&client).await;
    assert_eq!(run(&node, &["restore"]).code, Some(1), "a node runs, and there are records");
    node.kill9();
    fs::remove_dir_all(node.data_dir()).expect("wiped");
    let restored = json(&node, &["restore"]);
    assert_eq!(
        (restored["recovered"].as_u64(), restored["deleted_since"].as_u64()),
        (Some(5), Some(2)),
        "{restored}"
    );
    assert_eq!(restored["lost"].as_array().unwrap().len(), 0, "{restored}");
    assert_eq!(run(&node, &["restore"]).code, Some(1), "it never replaces records");
    node.run().expect("the node starts");
    assert_same(&look(&node.client()).await, &expected);
    for name in &names {
        assert_eq!(run(&node, &["scrub", name, "--now"]).code, Some(0));
        let reconciled = json(&node, &["reconcile", name, "--clean"]);
        assert_eq!(reconciled["tally"]["foreign"].as_u64().unwrap_or(0), 0, "{reconciled}");
        assert_eq!(reconciled["tally"]["unnamed"].as_u64().unwrap_or(0), 0, "{reconciled}");
    }
    wait_for_cleanup(&node);
    assert_same(&look(&node.client()).await, &expected);
    put(&node.client(), "new", 50, 100_000).await;
    fsck::stop_and_check(&mut node).expect("nothing differs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_and_a_provider_bring_everything_back() {
    let (dir, server) = (tempfile::tempdir().unwrap(), Server::moto().expect("moto"));
    loses_its_data_directory(vec![backends::disk("disk", dir.path()), backends::foreign("far", &server)], 2)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_alone_brings_everything_back() {
    let server = Server::rclone().expect("rclone");
    loses_its_data_directory(vec![backends::foreign("far", &server)], 1).await;
}

/// SIGKILL at any moment of a snapshot: what is there of it is no snapshot, or a whole one, the next one goes on from it,
/// and a node is built from what is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_is_killed_again_and_again_and_a_restore_finds_whole_ones_only() {
    let seed = Seed::new();
    let mut rng = seed.rng();
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let mut config = NodeConfig::new(BINARY);
    config.buckets[0].more = vec!["copies = 2".to_owned(), "acknowledge = \"all\"".to_owned()];
    // Slow enough to be killed in the middle.
    config.more = ["one", "two"]
        .iter()
        .zip(&dirs)
        .map(|(name, dir)| format!("{}\nmax_copy_calls = 20", backends::disk(name, dir.path())))
        .collect();
    let mut node = Node::start(config).expect("the node starts");
    let mut in_the_middle = 0;
    for round in 0..6 {
        put(&node.client(), &format!("k{round}"), round, 20_000).await;
        let mut asked = node.command("snapshot");
        let mut asked =
            asked.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the command starts");
        std::thread::sleep(Duration::from_millis(rng.between(300, 1500)));
        in_the_middle += u32::from(job(&node, "snapshot/all")["state"] == "running");
        node.kill9();
        let _ = asked.wait();
        node.run().expect("the node starts after a kill");
        let known = json(&node, &["snapshot", "--list"]);
        let whole = |found: &serde_json::Value| found["whole"] == true;
        assert!(known["snapshots"].as_array().unwrap().iter().all(whole), "{known}");
    }
    assert!(in_the_middle > 2, "no snapshot was killed");
    // What was under way is gone on with by the node that came after.
    let begun = Instant::now();
    while json(&node, &["snapshot", "--list"])["snapshots"].as_array().unwrap().len() < 2 {
        assert!(begun.elapsed() < Duration::from_secs(60), "no snapshot comes to both");
        std::thread::sleep(Duration::from_millis(200));
    }
    let expected = look(&node.client()).await;
    node.kill9();
    fs::remove_dir_all(node.data_dir()).expect("wiped");
    let restored = json(&node, &["restore"]);
    assert_eq!(restored["lost"].as_array().unwrap().len(), 0, "{restored}");
    node.run().expect("the node starts");
    assert_same(&look(&node.client()).await, &expected);
    fsck::stop_and_check(&mut node).expect("nothing differs");
}
