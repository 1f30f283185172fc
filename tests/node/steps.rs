//! Every step of a write: the node dies at, or is refused, the k-th system call of each kind.
//!
//! Where SIGKILL at random moments finds what is often open, this finds what is open for a microsecond.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use testkit::load::{Fleet, Halt, Profile};
use testkit::trace::{self, Injection, Trace};
use testkit::{Node, NodeConfig, Seed, fsck};

/// What makes bytes durable or gives them a name, one kind at a time. strace ignores a name with `?` that the machine
/// does not have.
const CALLS: &[&str] = &[
    "fsync,fdatasync",
    "write,pwrite64,writev,pwritev,?pwritev2",
    "linkat,?link,renameat2,renameat,?rename",
    "unlinkat,?unlink",
    "openat",
    "ftruncate,fallocate",
];
const STEPS: u64 = 14;
/// A thread that does not come to its k-th call in this time has none.
const PATIENCE: Duration = Duration::from_millis(500);

fn skip(test: &str, why: &anyhow::Error) {
    eprintln!("\n!!! SKIPPED: {test}: needs strace and the right to use it: {why:#}\n");
}

struct Rig {
    node: Node,
    fleet: Fleet,
}

impl Rig {
    fn new(seed: &Seed) -> Self {
        let node =
            Node::start(NodeConfig::new(env!("CARGO_BIN_EXE_s3-orchestrator"))).expect("the node starts");
        let profile = Profile {
            workers: 2,
            keys_per_worker: 4,
            large_bytes: 100_000,
            large_percent: 50,
            two_parts: false,
            ..Profile::default()
        };
        Self { node, fleet: Fleet::new(seed.value(), &profile) }
    }

    /// Load with one injection, then SIGKILL if it lives, restart and questions. Whether the injection killed it.
    async fn round(&mut self, calls: &str, injection: Injection, nth: u64) -> (bool, Vec<String>) {
        let trace = Trace::attach(self.node.pid(), calls, injection, nth).expect("strace attaches");
        let halt = Arc::new(Halt::default());
        let underway = std::mem::take(&mut self.fleet).start(&self.node.client(), &halt);
        let deadline = Instant::now() + PATIENCE;
        while self.node.is_alive() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        let killed = !self.node.is_alive();
        self.node.kill9();
        trace.wait();
        halt.stop.store(true, Ordering::SeqCst);
        self.fleet = underway.join().await;
        let during = self.fleet.take_violations();
        self.node.run().expect("the node starts after it died at any step");
        self.fleet.verify(&self.node.client()).await;
        let mut violations = self.fleet.take_violations();
        violations.extend(during);
        (killed, violations)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_step_may_be_the_last() {
    if let Err(why) = trace::availability() {
        return skip("death at every step", &why);
    }
    let seed = Seed::new();
    let mut rig = Rig::new(&seed);
    let mut deaths = 0;
    for calls in CALLS {
        for nth in 1..=STEPS {
            let (killed, violations) = rig.round(calls, Injection::Kill, nth).await;
            assert!(violations.is_empty(), "death at {nth} of {calls}:\n{}", violations.join("\n"));
            if !killed {
                break;
            }
            deaths += 1;
        }
    }
    println!("{deaths} deaths at a step");
    assert!(deaths >= 10, "only {deaths} deaths: the calls are not those that the node makes");
    rig.fleet.abort_uploads(&rig.node.client()).await;
    fsck::stop_and_check(&mut rig.node).expect("nothing differs in the end");
}

/// A failed sync or write is an error to the client, never an acknowledgement of something that is not there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_step_loses_nothing() {
    if let Err(why) = trace::availability() {
        return skip("errors at every step", &why);
    }
    let seed = Seed::new();
    let mut rig = Rig::new(&seed);
    for (calls, error) in [
        ("fsync,fdatasync", "EIO"),
        ("pwrite64,pwritev,?pwritev2", "ENOSPC"),
        ("linkat,?link,renameat2,renameat,?rename", "EIO"),
    ] {
        for nth in 1..=5 {
            let (_, mut violations) = rig.round(calls, Injection::Error(error), nth).await;
            // An honest error is what is wanted here.
            violations.retain(|what| !what.starts_with("SERVER ERROR"));
            assert!(violations.is_empty(), "{error} at {nth} of {calls}:\n{}", violations.join("\n"));
        }
    }
    rig.fleet.abort_uploads(&rig.node.client()).await;
    fsck::stop_and_check(&mut rig.node).expect("nothing differs in the end");
}
