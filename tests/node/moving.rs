//! Objects on their way between backends while the node serves and dies: nothing is lost, nothing is left behind.

use crate::asked::{BINARY, json, run, text};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use testkit::{Node, NodeConfig, Rng, S3Client, backends, fsck};

pub const OBJECTS: u64 = 120;
const PATIENCE: Duration = Duration::from_secs(120);

struct World {
    node: Node,
    disks: Vec<(&'static str, tempfile::TempDir)>,
}

fn section(name: &str, disk: &tempfile::TempDir) -> String {
    format!("{}\nmax_copy_bandwidth = \"2MB\"", backends::disk(name, disk.path()))
}

fn world(copies: u32, names: &[&'static str], more: &[&str]) -> World {
    let disks: Vec<_> = names.iter().map(|name| (*name, tempfile::tempdir().expect("a directory"))).collect();
    let mut config = NodeConfig::new(BINARY);
    config.buckets[0].more = vec![format!("copies = {copies}"), "acknowledge = \"all\"".to_owned()];
    config.buckets[0].more.extend(more.iter().map(|line| (*line).to_owned()));
    config.more = disks.iter().map(|(name, disk)| section(name, disk)).collect();
    World { node: Node::start(config).expect("the node starts"), disks }
}

impl World {
    /// As an operator does it.
    fn delete_section(&self, name: &str) {
        let (_, disk) = self.disks.iter().find(|(known, _)| *known == name).expect("a disk");
        let file = self.node.config_path();
        let before = std::fs::read_to_string(&file).expect("the configuration");
        let after = before.replace(&section(name, disk), "");
        assert_ne!(before, after, "{before}");
        std::fs::write(&file, after).expect("the configuration is written");
    }

    /// How many objects a backend has when what was under way has ended.
    fn at_rest(&self, name: &str) -> u64 {
        let objects = || self.backend(name)["objects"].as_u64().expect("a number");
        let begun = Instant::now();
        let mut last = objects();
        loop {
            std::thread::sleep(Duration::from_secs(1));
            match objects() {
                now if now == last => return now,
                now => last = now,
            }
            assert!(begun.elapsed() < PATIENCE, "{name} does not come to rest");
        }
    }

    fn backend(&self, name: &str) -> Value {
        let usage = json(&self.node, &["usage"]);
        let backends = usage["backends"].as_array().cloned().unwrap_or_default();
        backends.into_iter().find(|backend| backend["name"] == name).expect("the backend")
    }

    fn job(&self, name: &str) -> Value {
        let jobs = json(&self.node, &["jobs"]);
        let jobs = jobs["jobs"].as_array().cloned().unwrap_or_default();
        jobs.into_iter().find(|job| job["name"] == name).expect("the job")
    }

    fn wait_for(&self, name: &str, state: &str) -> Value {
        let begun = Instant::now();
        loop {
            let job = self.job(name);
            if job["state"] == state {
                return job;
            }
            assert!(begun.elapsed() < PATIENCE && job["state"] == "running", "{job}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// SIGKILL as soon as something has moved, and a start.
    fn die_in_the_middle(&mut self, name: &str) {
        let begun = Instant::now();
        while self.job(name)["done"] == 0 && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.node.kill9();
        self.node.run().expect("the node starts after a kill");
    }
}

fn body(n: u64) -> Vec<u8> {
    let mut rng = Rng::new(n);
    let size = match n % 10 {
        0 => 0,
        9 => 400_000,
        _ => rng.below(60_000),
    };
    (0..size).map(|_| rng.next() as u8).collect()
}

pub async fn fill(client: &S3Client) {
    for n in 0..OBJECTS {
        let answer = client.put(&format!("dir/{n}"), body(n)).await.expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.brief());
    }
}

pub async fn check(client: &S3Client) {
    for n in 0..OBJECTS {
        let answer = client.get(&format!("dir/{n}")).await.expect("an answer");
        assert!(answer.status == 200 && answer.body == body(n), "dir/{n}: {}", answer.brief());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_is_emptied_over_a_crash_and_taken_out() {
    for copies in [1, 2] {
        let mut world = world(copies, &["a", "b", "c"], &[]);
        fill(&world.node.client()).await;
        assert_eq!(world.backend("a")["objects"], OBJECTS);
        let refused = run(&world.node, &["remove-backend", "a"]);
        assert!(refused.code == Some(1) && refused.err.contains("drain a"), "{refused:?}");
        let begun = text(&world.node, &["drain", "a"]);
        assert!(begun.starts_with("a is being emptied of "), "{begun}");
        world.die_in_the_middle("drain/a");
        let ended = run(&world.node, &["drain", "a", "--watch"]);
        let job = world.wait_for("drain/a", "done");
        assert!(ended.code == Some(0) && !ended.out.contains('\x1b'), "{ended:?}");
        assert_eq!(job["done_bytes"], job["total_bytes"], "{job}");
        let empty = world.backend("a");
        assert_eq!((&empty["bytes"], &empty["objects"]), (&json!(0), &json!(0)));
        check(&world.node.client()).await;
        let out = text(&world.node, &["remove-backend", "a"]);
        assert_eq!(out, "a is out: its section can be deleted from the configuration\n");
        fsck::stop_and_check(&mut world.node).expect("nothing differs");
        assert_eq!(
            fsck::files_under(&world.disks[0].1.path().join("blobs")).len(),
            0,
            "what is left on the disk"
        );
        world.delete_section("a");
        world.node.run().expect("the node starts without it");
        check(&world.node.client()).await;
        assert_eq!(json(&world.node, &["usage"])["backends"].as_array().map(Vec::len), Some(2));
        fsck::stop_and_check(&mut world.node).expect("nothing differs");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_is_held_over_a_restart_and_broken_off() {
    let mut world = world(1, &["a", "b"], &[]);
    fill(&world.node.client()).await;
    for bad in [&["drain", "x"][..], &["drain", "b", "--cancel"]] {
        assert_eq!(run(&world.node, bad).code, Some(1), "{bad:?}");
    }
    text(&world.node, &["drain", "a"]);
    let held = json(&world.node, &["jobs", "pause", "drain/a"]);
    assert_eq!(held["jobs"][0]["state"], "paused");
    let again = run(&world.node, &["drain", "a"]);
    assert!(again.code == Some(1) && again.err.contains("under way"), "{again:?}");
    world.node.kill9();
    world.node.run().expect("the node starts after a kill");
    assert_eq!(world.job("drain/a")["state"], "paused");
    assert_ne!(world.at_rest("a"), 0, "it moves while it is held");
    let cancelled = text(&world.node, &["drain", "a", "--cancel"]);
    assert!(cancelled.starts_with("a takes writes again; it holds "), "{cancelled}");
    assert_eq!(world.job("drain/a")["state"], "cancelled");
    let over = run(&world.node, &["jobs", "resume", "drain/a"]);
    assert!(over.code == Some(1) && over.err.contains("has ended"), "{over:?}");
    check(&world.node.client()).await;
    fsck::stop_and_check(&mut world.node).expect("nothing differs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebalancing_goes_on_after_a_crash() {
    let mut world = world(1, &["a", "b", "c"], &[]);
    fill(&world.node.client()).await;
    let plan = json(&world.node, &["rebalance", "--dry-run"]);
    assert_eq!((&plan["job"], &plan["backends"][0]["objects_in"]), (&Value::Null, &json!(0)), "{plan}");
    assert!(
        plan["objects"].as_u64() > Some(OBJECTS / 3) && plan["backends"][1]["calls"].as_u64() > Some(20),
        "{plan}"
    );
    assert_eq!(world.backend("a")["objects"], OBJECTS, "a dry run moves nothing");
    let begun = text(&world.node, &["rebalance", "--strategy", "spread", "--threshold", "5"]);
    assert!(begun.contains("are moved; `jobs` shows how far it is"), "{begun}");
    world.die_in_the_middle("rebalance");
    world.wait_for("rebalance", "done");
    check(&world.node.client()).await;
    let again = json(&world.node, &["rebalance", "--dry-run"]);
    assert!(again["objects"].as_u64() <= Some(3), "{again}");
    let held = |name| world.backend(name)["bytes"].as_u64().unwrap_or_default();
    let (least, most) = (held("a").min(held("b")).min(held("c")), held("a").max(held("b")).max(held("c")));
    assert!(most < least * 3 / 2, "{least} {most}");
    let begun = Instant::now();
    while world.backend("a")["awaiting_cleanup_bytes"] != 0 {
        assert!(begun.elapsed() < PATIENCE, "what was moved is not deleted");
        std::thread::sleep(Duration::from_millis(100));
    }
    let report = fsck::stop_and_check(&mut world.node).expect("nothing differs");
    assert_eq!(report.count("objects"), Some(OBJECTS), "{}", report.text);
}

#[tokio::test]
async fn objects_end_as_the_configuration_says() {
    let rule = ["[[buckets.lifecycle]]", "prefix = \"tmp/\"", "expire_after = \"1s\""];
    let world = world(1, &["a"], &rule);
    let client = world.node.client();
    for key in ["tmp/a", "tmp/b", "keep/a"] {
        assert_eq!(client.put(key, body(3)).await.expect("an answer").status, 200);
    }
    let begun = Instant::now();
    for key in ["tmp/a", "tmp/b"] {
        while client.get(key).await.expect("an answer").status != 404 {
            assert!(begun.elapsed() < PATIENCE, "{key} does not end");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    assert_eq!(client.get("keep/a").await.expect("an answer").status, 200);
    assert_eq!(world.job("lifecycle")["done_since_start"], 2);
}
