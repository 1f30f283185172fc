//! Power cuts: metadata and blobs on two ext4 file systems that are shut down under load.
//!
//! The process is stopped before the cut, and answers that come after it is stopped do not count: an fsync that
//! races with the shutdown may come back although nothing was synced. On two file systems, because on one the sync
//! of the metadata's log commits the journal and with it every directory entry: a missing sync of a directory would
//! never show. `POWER_CUTS` makes a longer run.
//!
//! The rig proves itself: a node that leaves a sync out must be caught.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use testkit::load::{Fleet, Halt, Profile};
use testkit::loopfs::{self, Cut, LoopFs};
use testkit::{Node, NodeConfig, Rng, Seed, backends, fsck};

const CUTS: u64 = 44;
/// A mutant that is not caught by then is not caught.
const MUTANT_CUTS: u64 = 15;
const DISK_BYTES: u64 = 512 << 20;

/// Fewer, since each is longer.
const CUTS_OF_MANY: u64 = 10;

struct Rig {
    node: Node,
    /// The metadata's is the last one.
    disks: Vec<LoopFs>,
    fleet: Fleet,
    rng: Rng,
    acknowledged: u64,
}

impl Rig {
    fn new(dir: &Path, seed: &Seed, profile: &Profile, omit_sync: Option<&str>) -> Self {
        let data = dir.join("data");
        let meta = LoopFs::create(dir, "meta", DISK_BYTES, &data.join("meta")).expect("a file system");
        let blobs = LoopFs::create(dir, "blobs", DISK_BYTES, &data.join("blobs")).expect("a file system");
        let mut config = NodeConfig::new(env!("CARGO_BIN_EXE_s3-orchestrator")).data_dir(data);
        if let Some(what) = omit_sync {
            config = config.env("S3O_TEST_OMIT_SYNC", what);
        }
        Self::over(vec![blobs, meta], config, seed, profile)
    }

    fn over(disks: Vec<LoopFs>, config: NodeConfig, seed: &Seed, profile: &Profile) -> Self {
        let node = Node::start(config).expect("the node starts");
        let fleet = Fleet::new(seed.value(), profile);
        Self { node, disks, fleet, rng: seed.rng(), acknowledged: 0 }
    }

    /// Two copies of each object on three backends, each on a disk of its own.
    fn of_three_backends(dir: &Path, seed: &Seed, profile: &Profile) -> Self {
        let data = dir.join("data");
        let mut config = NodeConfig::new(env!("CARGO_BIN_EXE_s3-orchestrator")).data_dir(&data);
        config.buckets[0].more =
            ["copies = 2", "acknowledge = 1", "placement = \"spread\""].map(str::to_owned).to_vec();
        config.more.push("[[backends]]\nname = \"local\"\nkind = \"embedded\"".to_owned());
        let mut disks = Vec::new();
        for name in ["one", "two"] {
            let path = dir.join(name);
            disks.push(LoopFs::create(dir, name, DISK_BYTES, &path).expect("a file system"));
            config.more.push(backends::disk(name, &path));
        }
        for name in ["blobs", "meta"] {
            disks.push(LoopFs::create(dir, name, DISK_BYTES, &data.join(name)).expect("a file system"));
        }
        Self::over(disks, config, seed, profile)
    }

    /// One round: load, cut, restart, and what was broken.
    async fn round(&mut self, cut: Cut) -> Vec<String> {
        let halt = Arc::new(Halt::default());
        let underway = std::mem::take(&mut self.fleet).start(&self.node.client(), &halt);
        self.wait_for_moment(&halt).await;
        self.node.freeze();
        halt.frozen.store(true, Ordering::SeqCst);
        halt.stop.store(true, Ordering::SeqCst);
        for disk in &mut self.disks {
            disk.cut(cut).expect("a file system can be shut down");
        }
        self.node.kill9();
        self.fleet = underway.join().await;
        self.acknowledged += halt.acknowledged.load(Ordering::SeqCst);
        for fs in &mut self.disks {
            fs.unmount().expect("nobody uses it any more");
            fs.mount().expect("ext4 recovers");
        }
        if let Err(error) = self.node.run() {
            return vec![format!("UNSTARTABLE: {error:#}")];
        }
        self.fleet.verify(&self.node.client()).await;
        self.fleet.take_violations()
    }

    /// Half of the cuts fall anywhere, half right behind an acknowledgement, before a later sync covers for it.
    async fn wait_for_moment(&mut self, halt: &Halt) {
        tokio::time::sleep(Duration::from_millis(self.rng.between(1, 250))).await;
        if self.rng.chance(50) {
            return;
        }
        let before = halt.acknowledged.load(Ordering::SeqCst);
        let deadline = Instant::now() + Duration::from_secs(1);
        while halt.acknowledged.load(Ordering::SeqCst) == before && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_micros(50)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_survives_power_cuts() {
    if let Err(why) = loopfs::availability() {
        return loopfs::skip_loudly("power cuts", &why);
    }
    let seed = Seed::new();
    let dir = tempfile::tempdir().expect("a directory");
    let cuts = std::env::var("POWER_CUTS").ok().and_then(|text| text.parse().ok()).unwrap_or(CUTS);
    let profile = Profile { large_bytes: 256 << 10, two_parts: false, ..Profile::default() };
    let mut rig = Rig::new(dir.path(), &seed, &profile, None);
    for round in 1..=cuts {
        let cut = if round % 2 == 0 { Cut::LogFlush } else { Cut::NoLogFlush };
        let violations = rig.round(cut).await;
        assert!(violations.is_empty(), "cut {round}, {cut:?}:\n{}", violations.join("\n"));
        if round % 11 == 0 {
            fsck::stop_and_check(&mut rig.node).expect("nothing differs after a clean stop");
            rig.node.run().expect("the node starts again");
        }
    }
    rig.fleet.abort_uploads(&rig.node.client()).await;
    assert_eq!(rig.fleet.take_violations(), Vec::<String>::new());
    fsck::stop_and_check(&mut rig.node).expect("nothing differs in the end");
    println!("{cuts} power cuts, {} acknowledged changes", rig.acknowledged);
    assert!(rig.acknowledged > cuts * 10, "only {} changes: the load does not load", rig.acknowledged);
}

/// Work that moves bytes is under way at every cut. Each copy that the records name is there afterwards, whole, and
/// nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_on_three_disks_survive_power_cuts() {
    if let Err(why) = loopfs::availability() {
        return loopfs::skip_loudly("power cuts with three backends", &why);
    }
    let seed = Seed::new();
    let dir = tempfile::tempdir().expect("a directory");
    let profile = Profile { workers: 4, large_bytes: 256 << 10, two_parts: false, ..Profile::default() };
    let mut rig = Rig::of_three_backends(dir.path(), &seed, &profile);
    for round in 1..=CUTS_OF_MANY {
        let order: &[&str] = match round % 4 {
            0 => &["drain", "one"],
            1 => &["rebalance"],
            2 => &["drain", "one", "--cancel"],
            _ => &["reconcile", "two"],
        };
        // It may be under way from the round before.
        let (first, rest) = order.split_first().expect("a command");
        let _ = rig.node.command(first).args(rest).output().expect("the command runs");
        let cut = if round % 2 == 0 { Cut::LogFlush } else { Cut::NoLogFlush };
        let violations = rig.round(cut).await;
        assert!(violations.is_empty(), "cut {round}, {cut:?}:\n{}", violations.join("\n"));
    }
    rig.fleet.abort_uploads(&rig.node.client()).await;
    assert_eq!(rig.fleet.take_violations(), Vec::<String>::new());
    fsck::stop_and_check(&mut rig.node).expect("nothing differs in the end");
    println!("{CUTS_OF_MANY} power cuts, {} acknowledged changes", rig.acknowledged);
    assert!(
        rig.acknowledged > CUTS_OF_MANY * 10,
        "only {} changes: the load does not load",
        rig.acknowledged
    );
}

/// A node that leaves out the sync of `what` must lose something that it acknowledged.
async fn mutant_is_caught(what: &str) {
    if let Err(why) = loopfs::availability() {
        return loopfs::skip_loudly(&format!("power cuts without the sync of {what}"), &why);
    }
    let seed = Seed::new();
    let dir = tempfile::tempdir().expect("a directory");
    // One worker and large objects: with many, the next one's sync covers for the missing one.
    let workers = if what == "dir" { 1 } else { 4 };
    let profile =
        Profile { workers, small_bytes: 128 << 10, large_percent: 0, two_parts: false, ..Profile::default() };
    let mut rig = Rig::new(dir.path(), &seed, &profile, Some(what));
    for round in 1..=MUTANT_CUTS {
        let violations = rig.round(Cut::NoLogFlush).await;
        if violations.iter().any(|what| is_loss(what)) {
            println!("without the sync of {what}: caught by cut {round}: {}", violations.join("; "));
            return;
        }
        assert!(violations.is_empty(), "not a loss, but wrong: {}", violations.join("\n"));
    }
    panic!("a node that does not sync its {what} lost nothing in {MUTANT_CUTS} cuts: the rig is blind");
}

/// What a missing sync causes, as opposed to a rig or a node that does not work at all.
fn is_loss(violation: &str) -> bool {
    ["LOST", "TORN", "UNREADABLE", "UNDELETED", "WRONG VERSION", "UNSTARTABLE"]
        .iter()
        .any(|kind| violation.starts_with(kind))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_sync_of_files_is_caught() {
    mutant_is_caught("file").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_sync_of_directories_is_caught() {
    mutant_is_caught("dir").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_sync_of_the_log_is_caught() {
    mutant_is_caught("wal").await;
}
