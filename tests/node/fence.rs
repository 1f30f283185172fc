//! A sync that fails: nothing is written from then on, whatever later syncs say, until a restart. Reads go on.

use testkit::client::ListQuery;
use testkit::trace::{self, Injection, Trace};
use testkit::{Bodies, Content, Node, NodeConfig, S3Client, Seed, fsck};

const SMALL: u64 = 1000;
const LARGE: u64 = 200_000;
const REFUSED: &str = "503 ServiceUnavailable";

struct Kept {
    seed: Seed,
    objects: Vec<(&'static str, Content)>,
}

impl Kept {
    async fn put(client: &S3Client) -> Self {
        let seed = Seed::new();
        let mut objects = Vec::new();
        for (key, size) in [("small", SMALL), ("large", LARGE), ("doomed", SMALL)] {
            let content = Bodies::new(seed.value()).content(key, 1, size);
            let answer = client.put(key, content.bytes()).await.expect("an answer");
            assert_eq!(answer.status, 200, "{}", answer.brief());
            objects.push((key, content));
        }
        Self { seed, objects }
    }

    fn new_body(&self, size: u64) -> Content {
        Bodies::new(self.seed.value()).content("new", 2, size)
    }

    async fn check_reads(&self, client: &S3Client) {
        for (key, content) in &self.objects {
            let answer = client.get(key).await.expect("an answer");
            assert_eq!(answer.status, 200, "GET {key}: {}", answer.brief());
            content.verify(&answer.body).expect("the object is whole");
        }
        let listed = client.list_all(&ListQuery::default()).await.expect("a listing").entries;
        assert!(self.objects.iter().all(|(key, _)| listed.iter().any(|entry| entry.key == *key)));
    }
}

/// What the write that met the failure and the ones after it are told.
async fn refused(client: &S3Client, kept: &Kept, size: u64) -> String {
    let answer = client.put("new", kept.new_body(size).bytes()).await.expect("an answer");
    assert!(!answer.is_success(), "acknowledged after a failed sync");
    answer.brief()
}

async fn fail_once(calls: &str, size: u64, node: &Node, client: &S3Client, kept: &Kept) -> String {
    let trace = Trace::attach(node.pid(), calls, Injection::Error("EIO"), 1).expect("strace attaches");
    let said = refused(client, kept, size).await;
    // From here on every sync works.
    drop(trace);
    said
}

async fn a_failed_sync(calls: &str, size: u64, deletes_go_on: bool) {
    if let Err(why) = trace::availability() {
        return eprintln!("\n!!! SKIPPED: a failed sync: needs strace and the right to use it: {why:#}\n");
    }
    let mut node =
        Node::start(NodeConfig::new(env!("CARGO_BIN_EXE_s3-orchestrator"))).expect("the node starts");
    let client = node.client();
    let kept = Kept::put(&client).await;
    let first = fail_once(calls, size, &node, &client, &kept).await;
    assert!(["500 InternalError", REFUSED].contains(&first.as_str()), "{first}");
    for size in [SMALL, LARGE] {
        assert_eq!(refused(&client, &kept, size).await, REFUSED, "after EIO of {calls}");
    }
    kept.check_reads(&client).await;
    let deleted = client.delete("doomed").await.expect("an answer").brief();
    assert_eq!(deleted == REFUSED, !deletes_go_on, "DELETE: {deleted}");

    // What was refused may be there after all, but only whole.
    node.restart().expect("the node starts again");
    let client = node.client();
    let found = client.get("new").await.expect("an answer");
    if found.status != 404 {
        let sizes = [SMALL, LARGE].map(|size| kept.new_body(size).verify(&found.body));
        assert!(sizes.iter().any(Result::is_ok), "a torn object: {}", found.brief());
    }
    let answer = client.put("new", kept.new_body(LARGE).bytes()).await.expect("an answer");
    assert_eq!(answer.status, 200, "after a restart: {}", answer.brief());
    kept.check(&client, deletes_go_on).await;
    fsck::stop_and_check(&mut node).expect("nothing differs in the end");
}

impl Kept {
    async fn check(mut self, client: &S3Client, doomed_is_gone: bool) {
        if doomed_is_gone {
            self.objects.retain(|(key, _)| *key != "doomed");
            assert_eq!(client.get("doomed").await.expect("an answer").status, 404);
        }
        self.check_reads(client).await;
    }
}

/// Of the directory that a blob's file was linked into. The records are safe: deletes go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_cannot_be_synced_fences_the_backend() {
    a_failed_sync("fsync", LARGE, true).await;
}

/// Of the log of the records: nothing can be promised any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_cannot_be_synced_stops_all_writes() {
    a_failed_sync("fdatasync", SMALL, false).await;
}

/// Of the blob's file and of the log, whichever comes first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_cannot_be_synced_is_not_acknowledged() {
    a_failed_sync("fdatasync", LARGE, false).await;
}
