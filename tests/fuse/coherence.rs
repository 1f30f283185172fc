//! What was acknowledged over S3 is what the next system call sees.

use crate::rig::{Rig, names};
use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use testkit::{NodeConfig, S3Client};

/// Readers that keep the kernel's caches warm and its requests in flight.
struct Busy {
    stop: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Busy {
    fn start(count: usize, work: impl Fn() + Clone + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let thread = || {
            let (stop, work) = (Arc::clone(&stop), work.clone());
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    work();
                }
            })
        };
        let threads = (0..count).map(|_| thread()).collect();
        Self { stop, threads }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }
}

fn rounds(default: usize) -> usize {
    std::env::var("S3O_FUSE_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

/// A body that says which round it is of, in every byte of every page.
fn body(round: usize) -> Vec<u8> {
    let size = [10, 5000, 20_000, 140_000][round % 4] + round % 97;
    format!("{round:09}\n").into_bytes().into_iter().cycle().take(size).collect()
}

async fn put(client: &S3Client, key: &str, body: Vec<u8>) {
    assert!(client.put(key, body).await.unwrap().is_success());
}

fn read_whole(path: &Path) -> Vec<u8> {
    let mut found = Vec::new();
    File::open(path).unwrap().read_to_end(&mut found).unwrap();
    found
}

/// What is raced for is what the faces see, not what survives: a round costs no sync.
fn quick() -> NodeConfig {
    NodeConfig { durability: Some("process-crash".to_owned()), ..Rig::config() }
}

#[test]
fn a_put_is_seen_by_the_next_stat_open_and_read() {
    let rig = Rig::with(&[""], quick());
    let client = rig.client();
    let (dir, path) = (rig.path("d"), rig.path("d/key"));
    rig.put("d/key", body(0));
    let (busy_dir, busy_path) = (dir.clone(), path.clone());
    let busy = Busy::start(3, move || {
        let _ = fs::metadata(&busy_path);
        let _ = fs::metadata(busy_dir.join("missing"));
        let found = fs::read(&busy_path).unwrap_or_default();
        assert_whole(&found);
        let _ = fs::read_dir(&busy_dir).map(Iterator::count);
    });
    for round in 1..rounds(10_000) {
        let wanted = body(round);
        rig.runtime.block_on(put(&client, "d/key", wanted.clone()));
        if round % 2 == 0 {
            assert_eq!(fs::metadata(&path).unwrap().len(), wanted.len() as u64, "round {round}");
        }
        assert!(read_whole(&path) == wanted, "round {round}");
    }
    drop(busy);
    rig.finish();
}

/// Never a mix: every line is of one round.
fn assert_whole(found: &[u8]) {
    let first = found.get(..10).unwrap_or_default();
    assert!(found.chunks(10).all(|line| first.starts_with(line)), "mixed");
}

#[test]
fn what_close_rename_and_unlink_did_is_seen_by_the_next_get() {
    let rig = Rig::with(&["read_only = false"], quick());
    let (key, other) = (rig.path("key"), rig.path("other"));
    let (client, runtime) = (rig.client(), rig.runtime.handle().clone());
    let busy = Busy::start(1, move || {
        let answer = runtime.block_on(client.get("key")).unwrap();
        if answer.is_success() {
            assert_whole(&answer.body);
        }
    });
    for round in 0..rounds(10_000) {
        let wanted = body(round);
        fs::write(&key, &wanted).unwrap();
        assert!(rig.get("key").unwrap() == wanted, "round {round}");
        if round % 4 == 0 {
            fs::rename(&key, &other).unwrap();
            assert_eq!(rig.get("key"), None, "round {round}");
            assert!(rig.get("other").unwrap() == wanted, "round {round}");
        }
        if round % 4 == 1 {
            fs::remove_file(&key).unwrap();
            assert_eq!(rig.get("key"), None, "round {round}");
        }
    }
    drop(busy);
    rig.finish();
}

#[test]
fn names_that_were_absent_and_directories_come_and_go_at_once() {
    let rig = Rig::with(&[""], quick());
    let client = rig.client();
    let root = rig.root();
    let watched = root.clone();
    let busy = Busy::start(2, move || {
        for name in ["x", "x/y", "x/y/z", "x/y/other"] {
            let _ = fs::metadata(watched.join(name));
        }
        for name in ["", "x", "x/y"] {
            let _ = fs::read_dir(watched.join(name)).map(Iterator::count);
        }
    });
    for round in 0..rounds(10_000) {
        assert!(fs::metadata(root.join("x/y/z")).is_err(), "round {round}");
        assert_eq!(names(&root), Vec::<String>::new(), "round {round}");
        rig.runtime.block_on(put(&client, "x/y/z", body(round)));
        let found = fs::metadata(root.join("x/y/z"));
        assert!(found.is_ok(), "round {round}: {found:?}");
        assert_eq!(names(&root), ["x"], "round {round}");
        assert_eq!(names(&root.join("x/y")), ["z"], "round {round}");
        if round % 3 == 0 {
            rig.put("x/y/other", "");
            assert_eq!(names(&root.join("x/y")), ["other", "z"], "round {round}");
            let both = ["x/y/other".to_owned(), "x/y/z".to_owned()];
            assert!(rig.runtime.block_on(client.delete_many(&both)).unwrap().is_success());
        } else {
            rig.delete("x/y/z");
        }
        assert!(fs::metadata(root.join("x")).is_err(), "round {round}");
    }
    drop(busy);
    rig.finish();
}

#[test]
fn copies_completes_and_tags_are_seen_too() {
    let rig = Rig::read_only();
    let client = rig.client();
    rig.put("from", "one");
    for round in 0..200 {
        let to = format!("to-{}", round % 5);
        assert!(round < 5 || fs::metadata(rig.path(&to)).is_ok());
        rig.put("from", format!("body {round}"));
        rig.runtime.block_on(async {
            assert!(client.copy("from", &to, &[]).await.unwrap().is_success());
        });
        assert_eq!(fs::read_to_string(rig.path(&to)).unwrap(), format!("body {round}"));
        assert!(fs::metadata(rig.path("done")).is_err());
        rig.runtime.block_on(async {
            let begun = client.create_upload("done").await.unwrap();
            let id = begun.xml().unwrap().text_of("UploadId").to_owned();
            let part = client.put_part("done", &id, 1, format!("part {round}")).await.unwrap();
            assert!(client.complete("done", &id, &[(1, part.etag())], &[]).await.unwrap().is_success());
        });
        assert_eq!(fs::read_to_string(rig.path("done")).unwrap(), format!("part {round}"));
        rig.delete("done");
    }
    rig.finish();
}

#[test]
fn several_mounts_of_a_bucket_see_the_same() {
    let rig = Rig::with(&["", "prefix = \"p\""], Rig::config());
    let (whole, part) = (rig.mount(0), rig.mount(1));
    for round in 0..500 {
        assert!(fs::metadata(part.join("k")).is_err());
        rig.put("p/k", body(round));
        assert!(fs::read(whole.join("p/k")).unwrap() == body(round));
        assert!(fs::read(part.join("k")).unwrap() == body(round));
        rig.delete("p/k");
        assert!(fs::metadata(whole.join("p/k")).is_err());
    }
    rig.finish();
}

#[test]
fn the_table_of_inodes_goes_with_the_kernels_caches() {
    let rig = Rig::read_only();
    for number in 0..500 {
        rig.put(&format!("d{}/f{number}", number % 7), "x");
    }
    assert_eq!(names(&rig.root()).len(), 7);
    for number in 0..500 {
        fs::metadata(rig.path(&format!("d{}/f{number}", number % 7))).unwrap();
    }
    // What the kernel drops it forgets, and so does the node: an overwritten version is then cleaned up.
    let blob = vec![1; 100_000];
    for number in 0..20 {
        rig.put(&format!("big{number}"), blob.clone());
        fs::read(rig.path(&format!("big{number}"))).unwrap();
        rig.delete(&format!("big{number}"));
    }
    fs::write("/proc/sys/vm/drop_caches", "2").unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !testkit::fsck::files_under(&rig.node.blobs_dir()).is_empty() {
        assert!(std::time::Instant::now() < deadline, "blobs of deleted objects stay");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    rig.finish();
}
