//! A quota under many writers at once: used to the limit, never over it, and room comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use testkit::client::ListQuery;
use testkit::{BucketConfig, Node, NodeConfig, Rng, S3Client, Seed, fsck};

const QUOTA_BYTES: u64 = 4_000_000;
const LARGEST: u64 = 100_000;
const WRITERS: u64 = 16;

fn start() -> Node {
    let bucket = BucketConfig::new("limited").quota("4MB");
    Node::start(NodeConfig::new(env!("CARGO_BIN_EXE_s3-orchestrator")).bucket(bucket))
        .expect("the node starts")
}

async fn used(client: &S3Client) -> u64 {
    let whole = client.list_all(&ListQuery::default()).await.expect("a listing");
    whole.entries.iter().map(|entry| entry.size).sum()
}

/// Writes new keys, overwrites and uploads until nothing of a kilobyte fits any more.
async fn fill(client: S3Client, writer: u64, mut rng: Rng) {
    let mut max = LARGEST;
    let mut n = 0;
    while max > 1000 {
        n += 1;
        let key = if rng.chance(20) { format!("{writer}-0") } else { format!("{writer}-{n}") };
        let body = vec![b'x'; rng.between(max / 2, max) as usize];
        let answer = match rng.below(10) {
            0 => upload(&client, &key, body).await,
            _ => client.put(&key, body).await.expect("an answer"),
        };
        match (answer.status, answer.code().as_deref()) {
            (200, None) => {}
            (_, Some("QuotaExceeded")) => max /= 2,
            _ => panic!("{}", answer.brief()),
        }
    }
}

async fn upload(client: &S3Client, key: &str, body: Vec<u8>) -> testkit::Answer {
    let created = client.create_upload(key).await.expect("an answer");
    let id = created.xml().expect("XML").text_of("UploadId").to_owned();
    let part = client.put_part(key, &id, 1, body).await.expect("an answer");
    let answer = match part.status {
        200 => client.complete(key, &id, &[(1, part.etag())], &[]).await.expect("an answer"),
        _ => part,
    };
    if answer.status != 200 {
        assert_eq!(client.abort(key, &id).await.expect("an answer").status, 204);
    }
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parallel_fill_ends_at_the_quota_and_never_over() {
    let seed = Seed::new();
    let mut rng = seed.rng();
    let mut node = start();
    let client = node.client();
    let stop = Arc::new(AtomicBool::new(false));
    let watch = {
        let (client, stop) = (client.clone(), stop.clone());
        tokio::spawn(async move {
            while !stop.load(Ordering::SeqCst) {
                let used = used(&client).await;
                assert!(used <= QUOTA_BYTES, "{used} bytes during the fill");
            }
        })
    };
    let writers: Vec<_> = (0..WRITERS).map(|n| tokio::spawn(fill(client.clone(), n, rng.fork()))).collect();
    for writer in writers {
        writer.await.expect("every answer is a success or QuotaExceeded");
    }
    stop.store(true, Ordering::SeqCst);
    watch.await.expect("never over the quota");
    wait_until_filled(&client).await;
    room_returns(&client).await;
    fsck::stop_and_check(&mut node).expect("the ledger is exact");
}

/// What was overwritten may count until it is cleaned up; after that there is no room of a kilobyte left but for that.
async fn wait_until_filled(client: &S3Client) {
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut n = 0;
    loop {
        n += 1;
        let answer = client.put(&format!("last-{n}"), vec![b'x'; 1000]).await.expect("an answer");
        let used = used(client).await;
        assert!(used <= QUOTA_BYTES, "{used} bytes");
        if !answer.is_success() && used > QUOTA_BYTES - 1000 {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "only {used} bytes of {QUOTA_BYTES} can be used: {}",
            answer.brief()
        );
    }
}

async fn room_returns(client: &S3Client) {
    let before = used(client).await;
    for entry in client.list_all(&ListQuery::default()).await.expect("a listing").entries {
        assert_eq!(client.delete(&entry.key).await.expect("an answer").status, 204);
    }
    assert!(before > 0 && used(client).await == 0);
    let deadline = Instant::now() + Duration::from_secs(10);
    let whole = vec![b'z'; QUOTA_BYTES as usize];
    loop {
        let answer = client.put("whole", whole.clone()).await.expect("an answer");
        if answer.is_success() {
            break;
        }
        assert_eq!(answer.code().as_deref(), Some("QuotaExceeded"));
        assert!(Instant::now() < deadline, "deleted bytes still count after 10 s");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let one_more = client.put("one", "x").await.expect("an answer");
    assert_eq!(one_more.code().as_deref(), Some("QuotaExceeded"), "{}", one_more.brief());
}

/// The limit is exact: as many bytes as it says, not one more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_byte_fits_and_the_next_does_not() {
    let node = start();
    let client = node.client();
    let over = client.put("over", vec![b'x'; QUOTA_BYTES as usize + 1]).await.expect("an answer");
    assert_eq!(over.code().as_deref(), Some("QuotaExceeded"), "{}", over.brief());
    let exact = client.put("exact", vec![b'x'; QUOTA_BYTES as usize]).await.expect("an answer");
    assert!(exact.is_success(), "{}", exact.brief());
    let copy = client.copy("exact", "copy", &[]).await.expect("an answer");
    assert_eq!(copy.code().as_deref(), Some("QuotaExceeded"), "a copy counts too: {}", copy.brief());
    assert_eq!(used(&client).await, QUOTA_BYTES);
}
