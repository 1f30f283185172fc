//! A full disk: writes are refused as full, everything else goes on, also after a restart, and room ends it.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use testkit::client::ListQuery;
use testkit::loopfs::{self, LoopFs};
use testkit::{Bodies, Content, Node, NodeConfig, S3Client, Seed, fsck};

const DISK_BYTES: u64 = 256 << 20;
const OBJECT_BYTES: u64 = 2 << 20;

struct Filled {
    node: Node,
    disk: LoopFs,
    objects: Vec<(String, Content)>,
}

impl Filled {
    fn filler(&self) -> PathBuf {
        self.disk.path().join("filler")
    }

    /// Somebody else's file takes what is left, to the last block.
    fn fill_to_the_brim(&self) {
        // The cleanup of what was deleted gives room a little later.
        std::thread::sleep(Duration::from_millis(500));
        let mut file = File::options().append(true).create(true).open(self.filler()).expect("a file");
        let block = vec![1; 1 << 16];
        for size in [1 << 16, 1 << 12, 1 << 9, 1] {
            while file.write_all(&block[..size]).is_ok() {}
        }
        let _ = file.sync_all();
    }

    async fn check_reads(&self, client: &S3Client) {
        for (key, content) in &self.objects {
            let answer = client.get(key).await.expect("an answer");
            assert_eq!(answer.status, 200, "GET {key} on a full disk: {}", answer.brief());
            content.verify(&answer.body).expect("the object is whole");
        }
        let listed = client.list_all(&ListQuery::default()).await.expect("a listing").entries.len();
        assert_eq!(listed, self.objects.len());
    }

    async fn delete_one(&mut self, client: &S3Client) {
        let (key, _) = self.objects.pop().expect("there are objects");
        let answer = client.delete(&key).await.expect("an answer");
        assert_eq!(answer.status, 204, "DELETE on a full disk: {}", answer.brief());
        assert_eq!(client.get(&key).await.expect("an answer").status, 404);
    }
}

async fn assert_full(client: &S3Client, what: &str, size: u64) {
    let begun = Instant::now();
    let answer = client.put("too-much", vec![b'x'; size as usize]).await.expect("an answer");
    assert_eq!(answer.brief(), "507 InsufficientStorage", "{what}: PUT of {size} bytes");
    assert!(begun.elapsed() < Duration::from_secs(2), "{what}: refused only after {:?}", begun.elapsed());
    assert_eq!(client.get("too-much").await.expect("an answer").status, 404);
}

/// Writes until the node says that it is full.
async fn fill(dir: &tempfile::TempDir, seed: &Seed) -> Filled {
    let mount_point = dir.path().join("disk");
    let disk = LoopFs::create(dir.path(), "disk", DISK_BYTES, &mount_point).expect("a file system");
    let config = NodeConfig::new(env!("CARGO_BIN_EXE_s3-orchestrator")).data_dir(mount_point.join("data"));
    let node = Node::start(config).expect("the node starts");
    let client = node.client();
    let mut objects = Vec::new();
    for n in 0..DISK_BYTES / OBJECT_BYTES {
        let key = format!("object-{n:03}");
        let content = Bodies::new(seed.value()).content(&key, n, OBJECT_BYTES);
        let answer = client.put(&key, content.bytes()).await.expect("an answer");
        if !answer.is_success() {
            assert_eq!(answer.brief(), "507 InsufficientStorage");
            break;
        }
        objects.push((key, content));
    }
    assert!(objects.len() >= 10, "only {} objects fit in {DISK_BYTES} bytes", objects.len());
    assert!((objects.len() as u64) < DISK_BYTES / OBJECT_BYTES, "the disk did not become full");
    Filled { node, disk, objects }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_writes_and_harms_nothing() {
    if let Err(why) = loopfs::availability() {
        return loopfs::skip_loudly("full disk", &why);
    }
    let seed = Seed::new();
    let dir = tempfile::tempdir().expect("a directory");
    let mut filled = fill(&dir, &seed).await;
    let client = filled.node.client();
    filled.check_reads(&client).await;
    filled.delete_one(&client).await;

    // Somebody takes the rest while the node is down.
    filled.node.kill9();
    filled.fill_to_the_brim();
    filled.node.run().expect("the node starts on a full disk");
    let client = filled.node.client();
    filled.check_reads(&client).await;
    filled.delete_one(&client).await;
    assert_full(&client, "after a start", OBJECT_BYTES).await;
    assert_full(&client, "after a start", 1000).await;

    fs::remove_file(filled.filler()).expect("the filler goes");
    // The node itself had filled the disk to its limit before the neighbour came.
    for _ in 0..8 {
        filled.delete_one(&client).await;
    }
    writes_resume(&client).await;
    filled.objects.push(resumed());
    filled.check_reads(&client).await;
    fsck::stop_and_check(&mut filled.node).expect("nothing differs");
    drop(filled);
}

/// The neighbour goes on and takes what the node gives up, too: there is not one block left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_without_one_free_block_is_read_and_restarted() {
    if let Err(why) = loopfs::availability() {
        return loopfs::skip_loudly("full disk", &why);
    }
    let seed = Seed::new();
    let dir = tempfile::tempdir().expect("a directory");
    let mut filled = fill(&dir, &seed).await;
    let client = filled.node.client();
    for _ in 0..3 {
        filled.fill_to_the_brim();
    }
    filled.check_reads(&client).await;
    assert_full(&client, "at the brim", OBJECT_BYTES).await;
    assert_full(&client, "at the brim", 1000).await;
    filled.node.restart().expect("the node starts without one free block");
    let client = filled.node.client();
    filled.check_reads(&client).await;
    assert_full(&client, "after a restart", OBJECT_BYTES).await;
    filled.delete_one(&client).await;

    fs::remove_file(filled.filler()).expect("the filler goes");
    // The node itself had filled the disk to its limit before the neighbour came.
    for _ in 0..8 {
        filled.delete_one(&client).await;
    }
    writes_resume(&client).await;
    filled.objects.push(resumed());
    filled.check_reads(&client).await;
    fsck::stop_and_check(&mut filled.node).expect("nothing differs");
    drop(filled);
}

fn resumed() -> (String, Content) {
    ("resumed".to_owned(), Bodies::new(1).content("resumed", 1, OBJECT_BYTES))
}

/// Without a restart, and soon.
async fn writes_resume(client: &S3Client) {
    let (key, content) = resumed();
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let answer = client.put(&key, content.bytes()).await.expect("an answer");
        if answer.is_success() {
            return;
        }
        assert!(Instant::now() < deadline, "writes do not resume: {}", answer.brief());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
