//! Objects whose bytes lie at a provider only: another node, behind a proxy that stalls, cuts and lies on order.

use crate::rig::Rig;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::process::Command;
use std::time::{Duration, Instant};
use testkit::proxy::{Fault, Proxy, Rule};
use testkit::rng::body;
use testkit::{BucketConfig, Node, Rng, backends};
use tokio::runtime::Runtime;

/// The node gives a provider up after three tries of a second each.
const STALL: &str = "1s";
/// What may be late for those who do not ask the provider that stalls for the same bytes.
const UNDISTURBED: Duration = Duration::from_secs(5);
/// What a read may take that comes to nothing.
const LONGEST: Duration = Duration::from_secs(35);

struct World {
    rig: Rig,
    proxy: Proxy,
    _provider: Node,
    _runtime: Runtime,
}

fn world() -> World {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut config = Rig::config();
    config.buckets = vec![BucketConfig::new("far")];
    let provider = Node::start(config).unwrap();
    let proxy = runtime.block_on(Proxy::start(provider.addr())).unwrap();
    let credential = &BucketConfig::new("far").credentials[0];
    let mut config = Rig::config();
    let section = backends::provider("far", &proxy.url(), "far", credential);
    config.more.push(format!("{section}\nstall_timeout = \"{STALL}\""));
    let rig = Rig::with(&["read_only = false"], config);
    World { rig, proxy, _provider: provider, _runtime: runtime }
}

/// In a process of its own: the watchdog looks at the test's.
fn cat(rig: &Rig, name: &str) -> (bool, Vec<u8>, String) {
    let ran = Command::new("cat").arg(rig.path(name)).output().unwrap();
    (ran.status.success(), ran.stdout, String::from_utf8_lossy(&ran.stderr).into_owned())
}

#[test]
fn what_lies_at_a_provider_is_read_as_if_it_lay_here() {
    let World { rig, proxy, .. } = &world();
    let (small, large) = (body(1, 3_000), body(2, 9_000_000));
    rig.put("small", small.clone());
    rig.put("large", large.clone());
    assert!(fs::read(rig.path("small")).unwrap() == small);
    proxy.take_seen();
    assert!(fs::read(rig.path("large")).unwrap() == large);
    // In windows that grow, not a call for each request of the kernel.
    let calls = proxy.take_seen().len();
    assert!((2..=12).contains(&calls), "{calls} calls");
    // Past the pages that the kernel has by now.
    rig.put("other", large.clone());
    let file = File::open(rig.path("other")).unwrap();
    let mut rng = Rng::new(7);
    for _ in 0..20 {
        let at = rng.next() as usize % large.len();
        let mut found = vec![0; 10_000.min(large.len() - at)];
        file.read_exact_at(&mut found, at as u64).unwrap();
        assert!(found == large[at..at + found.len()], "at {at}");
    }
    // Written here, it lies there as well.
    fs::write(rig.path("written"), &large).unwrap();
    assert!(rig.get("written").unwrap() == large);
    assert!(fs::read(rig.path("written")).unwrap() == large);
    assert_eq!(testkit::fsck::files_under(&rig.node.blobs_dir()).len(), 0);
}

#[test]
fn a_read_that_stalls_ends_with_an_error_and_other_files_go_on() {
    let World { rig, proxy, .. } = &world();
    let bytes = body(3, 2_000_000);
    for key in ["stuck", "other", "third"] {
        rig.put(key, bytes.clone());
    }
    for fault in [Fault::Stall, Fault::StallAfter(1000)] {
        proxy.rule(Rule::new(fault).method("GET").target("stuck"));
        let begun = Instant::now();
        let stuck: Vec<_> = (0..3)
            .map(|_| {
                let path = rig.path("stuck");
                std::thread::spawn(move || Command::new("cat").arg(path).output().unwrap())
            })
            .collect();
        std::thread::sleep(Duration::from_millis(300));
        // The kernel has no page of it.
        fs::write("/proc/sys/vm/drop_caches", "1").unwrap();
        let asked = Instant::now();
        assert!(fs::read(rig.path("other")).unwrap() == bytes);
        assert!(rig.names("").contains(&"third".to_owned()));
        assert!(asked.elapsed() < UNDISTURBED, "others waited {:?}", asked.elapsed());
        for reader in stuck {
            let ran = reader.join().unwrap();
            let said = String::from_utf8_lossy(&ran.stderr).into_owned();
            assert!(
                !ran.status.success() && (said.contains("Input/output") || said.contains("timed out")),
                "{said}"
            );
        }
        assert!(begun.elapsed() < LONGEST, "{:?}", begun.elapsed());
        proxy.clear();
        // When the provider is back, so is the file.
        let until = Instant::now() + LONGEST;
        while !cat(rig, "stuck").0 {
            assert!(Instant::now() < until, "{}", cat(rig, "stuck").2);
            std::thread::sleep(Duration::from_millis(200));
        }
        assert!(cat(rig, "stuck").1 == bytes);
        fs::write("/proc/sys/vm/drop_caches", "1").unwrap();
    }
}

#[test]
fn wrong_and_missing_bytes_never_reach_a_reader() {
    let World { rig, proxy, .. } = &world();
    let bytes = body(4, 500_000);
    for (number, fault) in
        [Fault::TruncateAfter(200_000), Fault::ResetAfter(200_000), Fault::WrongByte(300_000)]
            .into_iter()
            .enumerate()
    {
        let key = format!("key-{number}");
        rig.put(&key, bytes.clone());
        proxy.rule(Rule::new(fault).method("GET").target(&key));
        let (whole, found, said) = cat(rig, &key);
        assert!(bytes.starts_with(&found), "{fault:?}");
        assert!(whole == (found.len() == bytes.len()), "{fault:?}: {said}");
        proxy.clear();
    }
}
