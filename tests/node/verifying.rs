//! Copies that rot, vanish or lie about in a backend: a scrub, a reconciliation and an import find them, with
//! directories and with other people's S3 servers.

#![allow(clippy::unwrap_used)]

use crate::asked::{BINARY, json, run};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use testkit::backends::{disk, foreign};
use testkit::rng::body;
use testkit::servers::{self, Server};
use testkit::{ListQuery, Node, NodeConfig, fsck};

struct Two {
    node: Node,
    a: tempfile::TempDir,
    b: tempfile::TempDir,
}

fn two() -> Two {
    let (a, b) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let mut config = NodeConfig::new(BINARY);
    config.buckets[0].more = vec!["copies = 2".to_owned(), "acknowledge = \"all\"".to_owned()];
    config.more = vec![disk("a", a.path()), disk("b", b.path()), "[scrub]\nrate = \"1GB\"".to_owned()];
    Two { node: Node::start(config).expect("the node starts"), a, b }
}

fn blobs(dir: &Path) -> Vec<PathBuf> {
    let mut files = fsck::files_under(&dir.join("blobs"));
    files.sort();
    files.into_iter().map(PathBuf::from).collect()
}

/// Exit code 1, and what was found.
fn finds(node: &Node, command: &[&str]) -> Value {
    let finished = run(node, &[command, &["--json"]].concat());
    assert_eq!(finished.code, Some(1), "{command:?}: {finished:?}");
    serde_json::from_str(&finished.out).expect("a document")
}

fn whats(found: &Value) -> Vec<&str> {
    found["lines"].as_array().expect("lines").iter().map(|line| line["what"].as_str().unwrap()).collect()
}

/// Until as many files lie there, and none of those that were bad.
fn wait_for_repair(dir: &Path, count: usize, bad: &Path) {
    let begun = Instant::now();
    while blobs(dir).len() != count || bad.exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", blobs(dir));
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Files of both copies are gone: the object is told as lost, and is given up only on order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_without_a_copy_is_lost_until_it_is_forgotten() {
    let Two { mut node, a, b } = two();
    let client = node.client();
    assert_eq!(client.put("gone", body(1, 200_000)).await.expect("an answer").status, 200);
    for file in [blobs(a.path()), blobs(b.path())].concat() {
        fs::remove_file(file).unwrap();
    }
    assert_eq!(client.put("kept", body(2, 200_000)).await.expect("an answer").status, 200);
    assert_eq!(json(&node, &["lost"])["tally"]["objects"], 2, "nobody has noticed yet");
    finds(&node, &["scrub", "--now"]);
    let found = finds(&node, &["lost"]);
    assert_eq!((whats(&found), &found["lines"][0]["location"]), (vec!["lost"], &"test-bucket/gone".into()));
    assert!(client.get("gone").await.expect("an answer").status >= 500, "it stays on record");
    let forgotten = json(&node, &["lost", "--forget"]);
    assert_eq!(forgotten["tally"]["forgotten"], 1, "{forgotten}");
    assert_eq!(client.get("gone").await.expect("an answer").status, 404);
    let kept = client.get("kept").await.expect("an answer");
    assert!(kept.status == 200 && kept.body == body(2, 200_000), "{}", kept.brief());
    fsck::stop_and_check(&mut node).expect("nothing differs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_byte_and_a_removed_file_are_found_and_made_good() {
    let Two { mut node, a, b: _b } = two();
    let client = node.client();
    for n in 0..4_u64 {
        let answer = client.put(&format!("k{n}"), body(n, 200_000)).await.expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.brief());
    }
    let all = blobs(a.path());
    assert_eq!(all.len(), 4);
    let mut bytes = fs::read(&all[0]).unwrap();
    bytes[150_000] ^= 1;
    fs::write(&all[0], bytes).unwrap();
    let found = finds(&node, &["scrub", "a", "--now"]);
    assert_eq!((whats(&found), &found["tally"]["verified"]), (vec!["bad"], &3.into()), "{found}");
    wait_for_repair(a.path(), 4, &all[0]);
    assert!(run(&node, &["scrub", "--now"]).code == Some(0), "all eight are good");
    let shown = json(&node, &["scrub"]);
    assert_eq!((&shown["mismatches"], &shown["verified_copies"]), (&1.into(), &11.into()), "{shown}");

    let gone = blobs(a.path()).remove(1);
    fs::remove_file(&gone).unwrap();
    let found = finds(&node, &["reconcile", "a", "--dry-run"]);
    assert_eq!(whats(&found), ["missing"], "{found}");
    let found = finds(&node, &["reconcile", "a"]);
    assert!(gone.ends_with(found["lines"][0]["location"].as_str().unwrap()), "{found}");
    wait_for_repair(a.path(), 4, &gone);
    assert_eq!(run(&node, &["reconcile", "a"]).code, Some(0));
    for n in 0..4_u64 {
        assert_eq!(client.get(&format!("k{n}")).await.expect("an answer").body, body(n, 200_000));
    }
    let unknown = run(&node, &["reconcile", "c"]);
    assert!(unknown.code == Some(1) && unknown.err.contains("there are: a, b"), "{unknown:?}");
    fsck::stop_and_check(&mut node).expect("nothing differs");
}

const FOREIGN: [(&str, usize); 4] =
    [("photos/2026/ü 1+2.jpg", 300_000), ("photos/empty", 0), ("photos/small", 12), ("letter.txt", 40)];

async fn is_imported(node: &Node, names: &[(&str, usize)]) {
    for (n, (name, len)) in names.iter().enumerate() {
        let answer = node.client().get(name).await.expect("an answer");
        assert!(answer.status == 200 && answer.body == body(n as u64, *len), "{name}: {}", answer.brief());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_is_imported_where_it_lies_and_a_second_time_nothing_changes() {
    let Two { mut node, a, b: _b } = two();
    for (n, (name, len)) in FOREIGN.iter().enumerate() {
        let path = a.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, body(n as u64, *len)).unwrap();
    }
    let answer = node.client().put("own", body(9, 100_000)).await.expect("an answer");
    assert_eq!(answer.status, 200);
    let planned = json(&node, &["import", "a", "test-bucket", "--dry-run"]);
    assert_eq!((&planned["tally"]["adopted"], whats(&planned).len()), (&4.into(), 4), "{planned}");
    let done = json(&node, &["import", "a", "test-bucket", "--prefix", "photos/"]);
    assert_eq!(done["tally"]["adopted"], 3, "{done}");
    is_imported(&node, &FOREIGN[..3]).await;
    assert_eq!(node.client().get("letter.txt").await.expect("an answer").status, 404);
    // SIGKILL, and the rest.
    node.kill9();
    node.run().expect("the node starts");
    let done = json(&node, &["import", "a", "test-bucket"]);
    assert_eq!(done["tally"]["adopted"], 1, "{done}");
    is_imported(&node, &FOREIGN).await;
    let before = node.client().list_all(&ListQuery::default()).await.expect("a listing");
    let again = json(&node, &["import", "a", "test-bucket"]);
    assert_eq!((&again["tally"]["adopted"], whats(&again).len()), (&Value::Null, 0), "{again}");
    let after = node.client().list_all(&ListQuery::default()).await.expect("a listing");
    assert_eq!(after.entries, before.entries);
    assert!(FOREIGN.iter().all(|(name, _)| a.path().join(name).exists()), "nothing was moved");
    // What was adopted is deleted with its object.
    assert_eq!(node.client().delete("photos/small").await.expect("an answer").status, 204);
    let begun = Instant::now();
    while a.path().join("photos/small").exists() {
        assert!(begun.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(50));
    }
    fsck::stop_and_check(&mut node).expect("nothing differs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_s_bucket_is_imported_with_what_it_says_of_its_objects() {
    let server = match Server::moto() {
        Ok(server) => server,
        Err(why) => return eprintln!("SKIPPED: {why:#}"),
    };
    let provider = testkit::S3Client::new(server.address, servers::BUCKET, servers::credential());
    let mut etags = Vec::new();
    for (n, (name, len)) in FOREIGN.iter().enumerate() {
        let headers = [("content-type", "image/jpeg"), ("x-amz-meta-camera", "m6")];
        let path = provider.path_of(name);
        let answer = provider.request("PUT", &path, "", &headers, body(n as u64, *len)).await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.brief());
        etags.push(answer.etag());
    }
    let mut config = NodeConfig::new(BINARY);
    config.more = vec![foreign("far", &server)];
    let mut node = Node::start(config).expect("the node starts");
    assert_eq!(node.client().put("photos/own", body(9, 100_000)).await.expect("an answer").status, 200);
    let done = json(&node, &["import", "far", "test-bucket", "--prefix", "photos/"]);
    assert_eq!(done["tally"]["adopted"], 3, "{done}");
    is_imported(&node, &FOREIGN[..3]).await;
    for ((name, _), etag) in FOREIGN[..3].iter().zip(&etags) {
        let path = node.client().path_of(name);
        let head = node.client().request("HEAD", &path, "", &[], Vec::new()).await.expect("an answer");
        assert_eq!(head.header("etag"), Some(etag.as_str()), "{name}");
        assert_eq!(head.header("content-type"), Some("image/jpeg"), "{name}");
        assert_eq!(head.header("x-amz-meta-camera"), Some("m6"), "{name}");
    }
    let again = json(&node, &["import", "far", "test-bucket", "--prefix", "photos/"]);
    assert_eq!(again["tally"]["adopted"], Value::Null, "{again}");
    assert_eq!(run(&node, &["scrub", "far", "--now"]).code, Some(0));
    is_imported(&node, &FOREIGN[..3]).await;
    fsck::stop_and_check(&mut node).expect("nothing differs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_is_refused_and_not_begun() {
    let node = Node::start(NodeConfig::new(BINARY)).expect("the node starts");
    let (client, bytes) = (node.client(), body(7, 400_000));
    assert_eq!(client.put("k", bytes.clone()).await.expect("an answer").status, 200);
    let [file] = &blobs(&node.data_dir())[..] else { panic!("one file") };
    let mut damaged = bytes.clone();
    damaged[10] ^= 1;
    fs::write(file, damaged).unwrap();
    assert_eq!(client.get("k").await.expect("an answer").brief(), "500 InternalError");
    // Behind the damage it is good.
    let rest = client.get_with("k", &[("range", "bytes=300000-")]).await.expect("an answer");
    assert!(rest.status == 206 && rest.body == bytes[300_000..], "{}", rest.brief());
    fs::remove_file(file).unwrap();
    assert_eq!(client.get("k").await.expect("an answer").brief(), "500 InternalError");
    assert_eq!(client.head("k").await.expect("an answer").status, 200);
}
