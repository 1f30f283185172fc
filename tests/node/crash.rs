//! SIGKILL at random moments: what was acknowledged is there, what was deleted stays away, nothing leaks.
//!
//! One data directory lives through all rounds. `CRASH_ROUNDS` makes a longer run.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use testkit::load::{Fleet, Halt, Profile};
use testkit::{Node, NodeConfig, Rng, Seed, fsck};

const ROUNDS: u64 = 110;
/// Every so many rounds the node is stopped in good order and everything is counted.
const CENSUS_EVERY: u64 = 22;

fn config() -> NodeConfig {
    NodeConfig::new(env!("CARGO_BIN_EXE_s3-orchestrator"))
}

fn rounds() -> u64 {
    std::env::var("CRASH_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(ROUNDS)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_survives_kill_9() {
    let seed = Seed::new();
    let mut rng = seed.rng();
    let mut node = Node::start(config()).expect("the node starts");
    let mut fleet = Fleet::new(seed.value(), &Profile::default());
    let mut acknowledged = 0;
    for round in 1..=rounds() {
        let halt = Arc::new(Halt::default());
        let underway = fleet.start(&node.client(), &halt);
        tokio::time::sleep(Duration::from_millis(rng.between(1, 250))).await;
        node.kill9();
        halt.stop.store(true, Ordering::SeqCst);
        fleet = underway.join().await;
        acknowledged += halt.acknowledged.load(Ordering::SeqCst);
        recover(&mut node, &mut rng);
        fleet.verify(&node.client()).await;
        let violations = fleet.take_violations();
        assert!(violations.is_empty(), "round {round}:\n{}", violations.join("\n"));
        if round % CENSUS_EVERY == 0 {
            fsck::stop_and_check(&mut node).expect("nothing differs after a clean stop");
            node.run().expect("the node starts again");
        }
    }
    census(&mut node, &mut fleet).await;
    println!("{} kills, {acknowledged} acknowledged changes", rounds());
    assert!(acknowledged > rounds() * 10, "only {acknowledged} changes: the load does not load");
}

/// Starts again; now and then it is killed during its recovery too.
fn recover(node: &mut Node, rng: &mut Rng) {
    while rng.chance(15) {
        node.run_and_kill(Duration::from_millis(rng.between(0, 60))).expect("the node can be begun");
    }
    node.run().expect("the node starts after a kill");
}

/// Without uploads, every file of a blob is some object's, and the other way round.
async fn census(node: &mut Node, fleet: &mut Fleet) {
    fleet.abort_uploads(&node.client()).await;
    assert_eq!(fleet.take_violations(), Vec::<String>::new());
    let report = fsck::stop_and_check(node).expect("nothing differs in the end");
    let files = testkit::fsck::files_under(&node.blobs_dir()).len() as u64;
    assert_eq!(report.count("uploads"), Some(0), "{}", report.text);
    assert_eq!(report.count("tasks"), Some(0), "{}", report.text);
    assert_eq!(report.count("objects"), Some(fleet.objects() as u64), "{}", report.text);
    assert_eq!(report.count("files"), Some(files), "{}", report.text);
}

/// The relaxed setting gives up power loss only, never the death of the process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_relaxed_setting_survives_kill_9_too() {
    let seed = Seed::new();
    let mut rng = seed.rng();
    let mut relaxed = config();
    relaxed.durability = Some("process-crash".to_owned());
    let mut node = Node::start(relaxed).expect("the node starts");
    let profile = Profile { workers: 4, ..Profile::default() };
    let mut fleet = Fleet::new(seed.value(), &profile);
    for round in 1..=15 {
        let halt = Arc::new(Halt::default());
        let underway = fleet.start(&node.client(), &halt);
        tokio::time::sleep(Duration::from_millis(rng.between(1, 150))).await;
        node.kill9();
        halt.stop.store(true, Ordering::SeqCst);
        fleet = underway.join().await;
        node.run().expect("the node starts after a kill");
        fleet.verify(&node.client()).await;
        let violations = fleet.take_violations();
        assert!(violations.is_empty(), "round {round}:\n{}", violations.join("\n"));
    }
    census(&mut node, &mut fleet).await;
}

/// SIGTERM under load: what is in flight ends well, and the exit code says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_under_load_loses_nothing() {
    let seed = Seed::new();
    let mut rng = seed.rng();
    let mut node = Node::start(config()).expect("the node starts");
    let mut fleet = Fleet::new(seed.value(), &Profile { workers: 4, ..Profile::default() });
    for _ in 0..4 {
        let halt = Arc::new(Halt::default());
        let underway = fleet.start(&node.client(), &halt);
        tokio::time::sleep(Duration::from_millis(rng.between(50, 250))).await;
        let status = node.sigterm().expect("the node stops in time");
        assert!(status.success(), "{status}");
        halt.stop.store(true, Ordering::SeqCst);
        fleet = underway.join().await;
        let report = fsck::run(&node).expect("fsck runs");
        assert!(report.clean, "{}", report.text);
        node.run().expect("the node starts again");
        fleet.verify(&node.client()).await;
        assert_eq!(fleet.take_violations(), Vec::<String>::new());
    }
}
