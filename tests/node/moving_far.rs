//! A provider that is emptied or filled, an import and repairs, each killed in the middle: the next node goes on,
//! nothing is lost, nothing is left behind.

use crate::asked::{BINARY, json, run, start};
use crate::moving::{OBJECTS, check, fill};
use crate::reload_backends::{backend, disk, provider, wait_until};
use serde_json::{Value, json};
use std::fs;
use std::time::{Duration, Instant};
use testkit::{ListQuery, Node, NodeConfig, Rng, Seed, fsck};

const PATIENCE: Duration = Duration::from_secs(120);
/// Slow enough to be killed in the middle.
const CAP: &str = "max_copy_calls = 60\n";

fn world(copies: u32, sections: &[String]) -> Node {
    let mut config = NodeConfig::new(BINARY);
    config.buckets[0].more = vec![format!("copies = {copies}"), "acknowledge = \"all\"".to_owned()];
    config.more = sections.to_vec();
    Node::start(config).expect("the node starts")
}

pub fn job(node: &Node, name: &str) -> Value {
    let jobs = json(node, &["jobs"]);
    let jobs = jobs["jobs"].as_array().cloned().unwrap_or_default();
    jobs.into_iter().find(|job| job["name"] == name).unwrap_or(Value::Null)
}

fn wait_for_end(node: &Node, name: &str) {
    let begun = Instant::now();
    while job(node, name)["state"] != "done" {
        assert!(begun.elapsed() < PATIENCE, "{}", job(node, name));
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// SIGKILL in the middle of a job, more than once, each time after a while of its own.
fn die_again_and_again(node: &mut Node, name: &str, seed: &Seed) {
    let mut rng = Rng::new(seed.value());
    for _ in 0..3 {
        let begun = Instant::now();
        while job(node, name)["done"] == 0 && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(rng.below(400)));
        node.kill9();
        node.run().expect("the node starts after a kill");
        if job(node, name)["state"] != "running" {
            return;
        }
    }
}

async fn names_at(provider: &Node) -> usize {
    provider.client().list_all(&ListQuery::default()).await.expect("a listing").entries.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_is_emptied_over_crashes_and_taken_out() {
    let seed = Seed::new();
    let (far, near) = (start(), tempfile::tempdir().expect("a directory"));
    let mut node = world(1, &[format!("{}{CAP}", provider("far", &far)), disk("near", near.path())]);
    fill(&node.client()).await;
    assert_eq!((names_at(&far).await as u64, &backend(&node, "far")["objects"]), (OBJECTS, &json!(OBJECTS)));
    let begun = run(&node, &["drain", "far"]);
    assert_eq!(begun.code, Some(0), "{begun:?}");
    die_again_and_again(&mut node, "drain/far", &seed);
    wait_for_end(&node, "drain/far");
    check(&node.client()).await;
    assert_eq!(backend(&node, "far")["objects"], 0);
    assert_eq!(names_at(&far).await, 0, "what is left at the provider");
    let out = run(&node, &["remove-backend", "far"]);
    // After a crash a write that was given up may still arrive there; then it has to wait.
    assert!(out.code == Some(0) || out.err.contains("may still arrive there"), "{out:?}");
    fsck::stop_and_check(&mut node).expect("nothing differs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_is_filled_by_a_rebalancing_over_crashes() {
    let seed = Seed::new();
    let (far, near) = (start(), tempfile::tempdir().expect("a directory"));
    let mut node = world(1, &[disk("near", near.path()), format!("{}{CAP}", provider("far", &far))]);
    fill(&node.client()).await;
    assert_eq!(names_at(&far).await, 0);
    let begun = run(&node, &["rebalance", "--strategy", "spread", "--threshold", "5"]);
    assert_eq!(begun.code, Some(0), "{begun:?}");
    die_again_and_again(&mut node, "rebalance", &seed);
    wait_for_end(&node, "rebalance");
    check(&node.client()).await;
    wait_until("what was moved is not deleted", || backend(&node, "near")["awaiting_cleanup_bytes"] == 0);
    let held = |name| backend(&node, name)["bytes"].as_u64().unwrap_or_default();
    assert!(held("far") > held("near") / 2, "{} {}", held("far"), held("near"));
    let report = fsck::stop_and_check(&mut node).expect("nothing differs");
    assert_eq!(report.count("objects"), Some(OBJECTS), "{}", report.text);
    node.run().expect("a start");
    assert_eq!(backend(&node, "far")["objects"], names_at(&far).await, "what the provider has");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_is_gone_on_with_after_every_crash() {
    let seed = Seed::new();
    let far = start();
    fill(&far.client()).await;
    let mut node = world(1, &[format!("{}{CAP}", provider("far", &far))]);
    let mut command = node.command("import");
    let asked = command.args(["far", "test-bucket"]).stdout(std::process::Stdio::null()).spawn();
    let mut asked = asked.expect("the command starts");
    wait_until("the import begins", || !job(&node, "import/far").is_null());
    die_again_and_again(&mut node, "import/far", &seed);
    let _ = asked.kill();
    let _ = asked.wait();
    wait_for_end(&node, "import/far");
    check(&node.client()).await;
    let again = json(&node, &["import", "far", "test-bucket"]);
    assert_eq!(again["tally"]["adopted"], Value::Null, "{again}");
    assert_eq!(names_at(&far).await as u64, OBJECTS, "nothing was moved");
    let report = fsck::stop_and_check(&mut node).expect("nothing differs");
    assert_eq!(report.count("objects"), Some(OBJECTS), "{}", report.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repairs_of_a_scrub_are_gone_on_with_after_every_crash() {
    let seed = Seed::new();
    let (a, b) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let sections = [format!("{}{CAP}", disk("a", a.path())), disk("b", b.path())];
    let mut node = world(2, &sections);
    fill(&node.client()).await;
    for (n, file) in fsck::files_under(&a.path().join("blobs")).iter().enumerate() {
        let mut bytes = fs::read(file).expect("a blob");
        match (n % 3, bytes.len()) {
            (0, _) => fs::remove_file(file).expect("removed"),
            (1, len) if len > 0 => {
                bytes[len / 2] ^= 1;
                fs::write(file, bytes).expect("damaged");
            }
            _ => {}
        }
    }
    let mut rng = Rng::new(seed.value());
    for _ in 0..4 {
        let mut asked = node.command("scrub");
        let asked = asked.arg("--now").stdout(std::process::Stdio::null()).spawn();
        let mut asked = asked.expect("the command starts");
        std::thread::sleep(Duration::from_millis(300 + rng.below(1200)));
        node.kill9();
        let _ = asked.wait();
        node.run().expect("the node starts after a kill");
    }
    let begun = Instant::now();
    // One that is under way is gone on with first; then everything is good.
    while run(&node, &["scrub", "--now"]).code != Some(0) {
        assert!(begun.elapsed() < PATIENCE, "there is damage left");
        std::thread::sleep(Duration::from_millis(500));
    }
    check(&node.client()).await;
    wait_until("damaged copies are not deleted", || backend(&node, "a")["awaiting_cleanup_bytes"] == 0);
    fsck::stop_and_check(&mut node).expect("nothing differs");
    // Each disk has all by itself.
    assert_eq!(fsck::files_under(&a.path().join("blobs")).len() as u64, OBJECTS);
}
