//! Clients that go away at any byte: nothing stays behind, nothing half-written is ever seen.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;
use testkit::client::ListQuery;
use testkit::{Content, Node, NodeConfig, Rng, S3Client, Seed, fsck};

const HANGUPS: u64 = 250;
const LARGE: u64 = 200_000;

fn start() -> Node {
    Node::start(NodeConfig::new(env!("CARGO_BIN_EXE_s3-orchestrator"))).expect("the node starts")
}

/// How a client goes.
#[derive(Clone, Copy)]
enum Goodbye {
    /// Says nothing more, but listens.
    HalfClose,
    Close,
    /// As a crashed host does: a reset.
    Reset,
}

/// Sends `sent` bytes of a request, reads up to `read` bytes of the answer, and is gone.
fn hang_up(client: &S3Client, request: &[u8], sent: usize, read: usize, how: Goodbye) {
    let mut socket = TcpStream::connect(client.addr()).expect("the node listens");
    socket.set_read_timeout(Some(Duration::from_millis(500))).expect("a timeout");
    // The node may answer and close before it has all: that is its right.
    let _ = socket.write_all(request.get(..sent).unwrap_or(request));
    let mut left = read;
    let mut buffer = [0; 8192];
    while left > 0 {
        match socket.read(&mut buffer[..left.min(8192)]) {
            Ok(0) | Err(_) => break,
            Ok(n) => left -= n,
        }
    }
    match how {
        Goodbye::HalfClose => {
            let _ = socket.shutdown(Shutdown::Write);
            let _ = socket.read(&mut buffer);
        }
        Goodbye::Close => {}
        Goodbye::Reset => reset_on_close(&socket),
    }
}

fn reset_on_close(socket: &TcpStream) {
    use std::os::fd::AsRawFd;
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    // SAFETY: the option's value is a `linger`, which lives until the call is back.
    unsafe {
        let size = size_of::<libc::linger>() as u32;
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size,
        );
    }
}

/// Anywhere, with the borders often: in the head, between head and body, in the body, before the last byte.
fn cut_at(rng: &mut Rng, head: usize, total: usize) -> usize {
    match rng.below(6) {
        0 => rng.below(head as u64) as usize,
        1 => head,
        2 => total - 1,
        3 => head + ((total - head) / 4096 * 4096).min(4096 * rng.below(50) as usize),
        _ => rng.between(head as u64, total as u64 - 1) as usize,
    }
}

fn goodbye(rng: &mut Rng) -> Goodbye {
    *rng.pick(&[Goodbye::HalfClose, Goodbye::Close, Goodbye::Reset])
}

fn request(client: &S3Client, method: &str, key: &str, query: &str, body: &[u8]) -> (usize, Vec<u8>) {
    let head = client.raw_head(method, &client.path_of(key), query, &[], body);
    (head.len(), [head.as_slice(), body].concat())
}

/// The objects and files that are left are those that should be: none too many, none too few.
async fn nothing_is_left(mut node: Node, client: &S3Client) {
    let listed = client.list_all(&ListQuery::default()).await.expect("the node still answers").entries;
    let report = fsck::stop_and_check(&mut node).expect("fsck is clean");
    let files = fsck::files_under(&node.blobs_dir());
    assert_eq!(report.count("objects"), Some(listed.len() as u64), "{}", report.text);
    assert_eq!(report.count("tasks"), Some(0), "{}", report.text);
    assert_eq!(report.count("files"), Some(files.len() as u64), "{files:?} {}", report.text);
}

fn content(seed: &Seed, generation: u64, size: u64) -> Content {
    testkit::Bodies::new(seed.value()).content("k", generation, size)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_put_cut_short_changes_nothing() {
    let seed = Seed::new();
    let mut rng = seed.rng();
    let node = start();
    let client = node.client();
    let old = content(&seed, 1, LARGE);
    assert!(client.put("kept", old.bytes()).await.expect("an answer").is_success());
    for n in 0..HANGUPS {
        let key = if n.is_multiple_of(2) { "kept" } else { "never" };
        let body = content(&seed, 2 + n, *rng.pick(&[1, 5000, 20_000, LARGE])).bytes();
        let (head, bytes) = request(&client, "PUT", key, "", &body);
        hang_up(&client, &bytes, cut_at(&mut rng, head, bytes.len()), 0, goodbye(&mut rng));
    }
    let kept = client.get("kept").await.expect("an answer");
    old.verify(&kept.body).expect("the old object is untouched");
    assert_eq!(client.get("never").await.expect("an answer").status, 404);
    nothing_is_left(node, &client).await;
}

/// The whole request arrives, but the client does not wait: done or not done, and whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_wait_for_the_answer_leaves_whole_objects() {
    let seed = Seed::new();
    let mut rng = seed.rng();
    let node = start();
    let client = node.client();
    for n in 0..HANGUPS / 2 {
        let content = content(&seed, n, *rng.pick(&[1, 5000, LARGE]));
        let key = format!("k{n}");
        let (_, bytes) = request(&client, "PUT", &key, "", &content.bytes());
        hang_up(&client, &bytes, bytes.len(), 0, goodbye(&mut rng));
        if rng.chance(50) {
            tokio::time::sleep(Duration::from_millis(rng.below(10))).await;
        }
        let answer = client.get(&key).await.expect("an answer");
        match answer.status {
            200 => content.verify(&answer.body).expect("a whole object"),
            404 => {}
            _ => panic!("{}", answer.brief()),
        }
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    nothing_is_left(node, &client).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_completes_and_copies_cut_short_leave_nothing() {
    let seed = Seed::new();
    let mut rng = seed.rng();
    let node = start();
    let client = node.client();
    for n in 0..HANGUPS / 5 {
        let key = format!("k{n}");
        let content = content(&seed, n, LARGE);
        let created = client.create_upload(&key).await.expect("an answer");
        let id = created.xml().expect("XML").text_of("UploadId").to_owned();
        let part_query = testkit::sign::query(&[("partNumber", "1"), ("uploadId", &id)]);
        let (head, bytes) = request(&client, "PUT", &key, &part_query, &content.bytes());
        hang_up(&client, &bytes, cut_at(&mut rng, head, bytes.len()), 0, goodbye(&mut rng));
        assert_eq!(client.list_parts(&key, &id).await, Ok(Vec::new()), "a part that was cut short");
        let part = client.put_part(&key, &id, 1, content.bytes()).await.expect("an answer");
        let manifest = testkit::client::manifest(&[(1, part.etag())]);
        let query = testkit::sign::query(&[("uploadId", &id)]);
        let (_, bytes) = request(&client, "POST", &key, &query, manifest.as_bytes());
        hang_up(&client, &bytes, bytes.len(), 0, goodbye(&mut rng));
        copy_without_waiting(&client, &key, &mut rng);
        tokio::time::sleep(Duration::from_millis(rng.below(20))).await;
        let answer = client.get(&key).await.expect("an answer");
        match answer.status {
            200 => content.verify(&answer.body).expect("a whole object"),
            // Not done, or not yet; either way Abort ends it.
            404 => {}
            _ => panic!("{}", answer.brief()),
        }
        let _ = client.abort(&key, &id).await;
    }
    assert_eq!(client.list_uploads().await, Ok(Vec::new()));
    tokio::time::sleep(Duration::from_millis(300)).await;
    nothing_is_left(node, &client).await;
}

fn copy_without_waiting(client: &S3Client, key: &str, rng: &mut Rng) {
    let source = client.path_of(key);
    let head = client.raw_head(
        "PUT",
        &client.path_of(&format!("{key}-copy")),
        "",
        &[("x-amz-copy-source", &source)],
        b"",
    );
    hang_up(client, &head, head.len(), 0, goodbye(rng));
}

/// Readers that go do not hold their blobs: after an overwrite, the old bytes go too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_get_cut_short_holds_nothing() {
    let seed = Seed::new();
    let mut rng = seed.rng();
    let node = start();
    let client = node.client();
    let big = content(&seed, 1, 4 << 20);
    assert!(client.put("big", big.bytes()).await.expect("an answer").is_success());
    for _ in 0..HANGUPS / 5 {
        let (head, bytes) = request(&client, "GET", "big", "", b"");
        let read = rng.below(big.size) as usize;
        hang_up(&client, &bytes, head, read, *rng.pick(&[Goodbye::Close, Goodbye::Reset]));
    }
    let new = content(&seed, 2, 100_000);
    assert!(client.put("big", new.bytes()).await.expect("an answer").is_success());
    new.verify(&client.get("big").await.expect("an answer").body).expect("the new object");
    nothing_is_left(node, &client).await;
}
