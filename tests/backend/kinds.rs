//! The suite, over every kind.

use crate::suite::{PART, Traits, conforms};
use backend::{
    Backend, Disk, DiskOptions, Faulty, Lacks, Layout, Local, Memory, S3, S3Options, Script, Signing,
    SyncRule,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use testkit::servers::{self, Server};
use testkit::{BucketConfig, Node, NodeConfig};

pub const SYNC: SyncRule = SyncRule { file: true, directory: true };
const FILES: Traits = Traits { part_bytes: 1 << 20, describes: true, readable: false, describes_large: true };
const READABLE: Traits = Traits { readable: true, ..FILES };
const PROVIDER: Traits = Traits { part_bytes: PART, ..READABLE };

/// Chance enough for backoffs.
pub fn random() -> u64 {
    static STATE: AtomicU64 = AtomicU64::new(0x1234_5678_9abc_def0);
    testkit::Rng::new(STATE.fetch_add(0x9e37, Ordering::Relaxed)).next()
}

pub fn s3_options(endpoint: String, bucket: &str, key: &str, secret: &str) -> S3Options {
    S3Options {
        endpoint,
        bucket: bucket.to_owned(),
        signing: Signing {
            access_key_id: key.to_owned(),
            secret_access_key: secret.to_owned(),
            region: servers::REGION.to_owned(),
        },
        path_style: true,
        layout: Layout::Readable,
        lacks: Lacks::default(),
        stall: Duration::from_secs(20),
        connect_timeout: Duration::from_secs(5),
        attempts: 3,
        part_bytes: PART,
        kept_bytes: backend::KEPT_BYTES,
        random,
    }
}

/// A node of ours as somebody's provider.
pub fn node() -> Node {
    let binary = env!("CARGO_BIN_EXE_s3-orchestrator");
    Node::start(NodeConfig::new(binary)).expect("the node starts")
}

pub fn of_node(node: &Node) -> S3Options {
    let bucket = BucketConfig::new("test-bucket");
    let credential = &bucket.credentials[0];
    let endpoint = format!("http://{}", node.addr());
    s3_options(endpoint, &bucket.name, &credential.access_key, &credential.secret)
}

pub fn of_server(server: &Server) -> S3Options {
    s3_options(server.endpoint(), servers::BUCKET, servers::ACCESS_KEY, servers::SECRET)
}

/// `None`, said loudly, where the machine has no such server.
pub fn available(started: anyhow::Result<Server>) -> Option<Server> {
    match started {
        Ok(server) => Some(server),
        Err(why) => {
            eprintln!("SKIPPED: {why:#}");
            None
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memory() {
    conforms(Arc::new(Memory::default()), READABLE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_behind_a_silent_script() {
    conforms(Arc::new(Faulty::new(Memory::default(), Script::default())), READABLE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn local() {
    let dir = tempfile::tempdir().unwrap();
    conforms(Arc::new(Local::open(&dir.path().join("blobs"), SYNC).unwrap()), FILES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn disk() {
    let dir = tempfile::tempdir().unwrap();
    let options = DiskOptions {
        path: dir.path().to_owned(),
        node: "node-1".to_owned(),
        backend: "usb".to_owned(),
        initialised: false,
        sync: SYNC,
    };
    conforms(Arc::new(Disk::new(options)), FILES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_at_a_node_of_ours() {
    let node = node();
    conforms(Arc::new(S3::new(of_node(&node))), PROVIDER).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_with_opaque_names() {
    let node = node();
    let options = S3Options { layout: Layout::Opaque, ..of_node(&node) };
    conforms(Arc::new(S3::new(options)), Traits { readable: false, ..PROVIDER }).await;
}

/// No room to keep anything: every body of known size is passed on as it comes.
#[tokio::test(flavor = "multi_thread")]
async fn s3_with_hardly_any_memory() {
    let node = node();
    let options = S3Options { kept_bytes: usize::try_from(PART).unwrap(), ..of_node(&node) };
    let s3: Arc<dyn Backend> = Arc::new(S3::new(options));
    conforms(Arc::clone(&s3), PROVIDER).await;
    let bodies = (0..6_u64).map(|nth| {
        let s3 = Arc::clone(&s3);
        async move {
            let blob = crate::suite::new_blob();
            let size = 2 * PART + nth;
            let bytes = crate::suite::body(blob, size);
            let new = backend::NewReplica { size: Some(size), ..backend::NewReplica::of(blob) };
            let stored = crate::suite::put(&*s3, new, &bytes).await.unwrap();
            let range = types::ByteRange::whole(size);
            assert!(crate::suite::get(&*s3, &stored.location, range).await.unwrap() == bytes);
        }
    });
    futures_util::future::join_all(bodies).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_at_a_provider_that_lacks_much() {
    let node = node();
    let lacks = Lacks { batch_delete: true, list_v2: true, list_uploads: true, multipart: false };
    conforms(Arc::new(S3::new(S3Options { lacks, ..of_node(&node) })), PROVIDER).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_at_moto() {
    let Some(server) = available(Server::moto()) else { return };
    conforms(Arc::new(S3::new(of_server(&server))), PROVIDER).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_at_rclone() {
    let Some(server) = available(Server::rclone()) else { return };
    conforms(Arc::new(S3::new(of_server(&server))), PROVIDER).await;
}
