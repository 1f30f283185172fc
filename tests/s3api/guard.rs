//! The server against clients that are malformed, ambiguous, slow, too many, or gone.
//!
//! Everything is said on raw sockets, and the handler notes what reached it: a request that was
//! smuggled would be among its notes.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use s3api::{
    Answered, Audit, Edge, Handler, LiveOptions, Options, PollChunks, RequestBody, RequestId, ResponseBody,
};
use std::collections::HashMap;
use std::fmt::{self, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use store::StoreError;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use types::Timestamp;

const VICTIM: &str = "GET /victim HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
const PATIENCE: Duration = Duration::from_secs(10);

// ---- the handler and the node around it

#[derive(Default)]
struct Notes {
    seen: Mutex<Vec<String>>,
    running: Arc<AtomicUsize>,
}

struct Running(Arc<AtomicUsize>);

impl Running {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Zeros, until `fail_at` bytes are sent.
struct Zeros {
    sent: u64,
    fail_at: u64,
    _running: Running,
}

impl PollChunks for Zeros {
    fn poll_next(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, StoreError>>> {
        if self.sent >= self.fail_at {
            return Poll::Ready(Some(Err(StoreError::Corrupt("a flipped bit".to_owned()))));
        }
        self.sent += 65536;
        Poll::Ready(Some(Ok(Bytes::from_static(&[0; 65536]))))
    }
}

impl Handler for Notes {
    async fn handle(&self, request: Request<RequestBody>, _: RequestId, _: SocketAddr) -> Answered {
        let path = request.uri().path().to_owned();
        self.seen.lock().unwrap().push(format!("{} {path}", request.method()));
        let running = Running::new(&self.running);
        let zeros = |fail_at| Zeros { sent: 0, fail_at, _running: Running::new(&self.running) };
        let body = match path.as_str() {
            "/read" => match request.into_body().collect().await {
                Ok(body) => ResponseBody::from(format!("{} bytes", body.to_bytes().len())),
                Err(_) => {
                    let mut response = Response::new(ResponseBody::Empty);
                    *response.status_mut() = http::StatusCode::BAD_REQUEST;
                    return Answered { response, audit: Audit::of("Read"), toll: None };
                }
            },
            "/panic" => panic!("on purpose"),
            "/hang" => std::future::pending().await,
            "/wait" => {
                tokio::time::sleep(Duration::from_millis(200)).await;
                ResponseBody::from("waited".to_owned())
            }
            "/big" => ResponseBody::object(zeros(u64::MAX), 1 << 30),
            "/broken" => ResponseBody::object(zeros(65536), 1 << 20),
            "/head" => ResponseBody::Head(1234),
            "/empty" => ResponseBody::Empty,
            _ => ResponseBody::from("fine".to_owned()),
        };
        drop(running);
        let mut audit = Audit::of("Test");
        audit.key = Some(path);
        Answered { response: Response::new(body), audit, toll: None }
    }
}

fn options() -> Options {
    Options {
        credentials: HashMap::new(),
        buckets: HashMap::new(),
        domain: None,
        external_url: None,
        sigv2_presigned: true,
        max_head_bytes: 16 << 10,
        max_xml_bytes: 1 << 20,
        head_timeout: Duration::from_secs(5),
        idle_timeout: Duration::from_secs(5),
        body_timeout: Duration::from_secs(5),
        min_body_bytes_per_second: 1024,
        max_connections: 100,
        max_requests_in_flight: 100,
        rates: s3api::RateLimits::default(),
        proxies: s3api::Proxies::default(),
        max_buffer_bytes: 64 << 20,
        shutdown_grace: Duration::from_secs(5),
        clock: || Timestamp::from_secs(1_700_000_000),
    }
}

struct Node {
    address: SocketAddr,
    notes: Arc<Notes>,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<std::io::Result<()>>,
}

impl Node {
    async fn start() -> Self {
        Self::with(options()).await
    }

    async fn with(options: Options) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let notes = Arc::new(Notes::default());
        let (stop, stopped) = oneshot::channel();
        let handler = notes.clone();
        let served = tokio::spawn(async move {
            let shutdown = async move { drop(stopped.await) };
            s3api::serve(handler, listener, LiveOptions::new(options), Edge::default(), shutdown).await
        });
        Self { address, notes, stop: Some(stop), served }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends everything, and reads until the server closes.
    async fn say(&self, bytes: impl AsRef<[u8]>) -> Vec<Reply> {
        let mut socket = self.connect().await;
        // A server that has seen enough may close before all is sent.
        let _ = socket.write_all(bytes.as_ref()).await;
        replies(&read_to_end(&mut socket).await)
    }

    fn seen(&self) -> Vec<String> {
        std::mem::take(&mut self.notes.seen.lock().unwrap())
    }

    fn running(&self) -> usize {
        self.notes.running.load(Ordering::SeqCst)
    }

    async fn until_running(&self, count: usize) {
        within(async {
            while self.running() != count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("this should not take so long")
}

/// To the end of the stream, or to a reset.
async fn read_to_end(socket: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = within(socket.read_to_end(&mut bytes)).await;
    bytes
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Reply {
    status: u16,
    headers: String,
    body: String,
}

impl Reply {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    /// Every answer has these three.
    fn assert_signed(&self) {
        for name in ["x-amz-request-id", "server", "date"] {
            assert!(self.header(name).is_some(), "{name} is missing: {self:?}");
        }
    }
}

/// Takes apart what a connection answered, by the lengths that the answers state.
fn replies(mut bytes: &[u8]) -> Vec<Reply> {
    let mut replies = Vec::new();
    while let Some((reply, rest)) = first_reply(bytes) {
        if reply.status != 100 {
            replies.push(reply);
        }
        bytes = rest;
    }
    assert!(bytes.is_empty(), "not an answer: {}", bytes.escape_ascii());
    replies
}

fn first_reply(bytes: &[u8]) -> Option<(Reply, &[u8])> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let (head, rest) = bytes.split_at(end);
    let head = std::str::from_utf8(head).unwrap();
    let (line, headers) = head.split_once("\r\n").unwrap();
    let status = line.strip_prefix("HTTP/1.").unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let mut reply = Reply { status, headers: headers.to_owned(), body: String::new() };
    let length = reply.header("content-length").map_or(0, |text| text.parse().unwrap());
    let (body, rest) = rest.split_at_checked(length)?;
    reply.body = String::from_utf8_lossy(body).into_owned();
    Some((reply, rest))
}

async fn next_reply(socket: &mut TcpStream) -> Reply {
    let mut bytes = Vec::new();
    loop {
        if let Some((reply, rest)) = first_reply(&bytes) {
            assert!(rest.is_empty());
            return reply;
        }
        let mut piece = [0; 4096];
        let read = within(socket.read(&mut piece)).await.unwrap();
        assert!(read > 0, "closed after {}", bytes.escape_ascii());
        bytes.extend_from_slice(&piece[..read]);
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

// ---- one meaning per request

/// Heads that must be refused, with the status; `VICTIM` follows each on the same connection.
fn refused() -> Vec<(String, u16)> {
    let with = |lines: &str| format!("GET /x HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
    let post = |lines: &str, body: &str| format!("POST /x HTTP/1.1\r\nHost: a\r\n{lines}\r\n{body}");
    let mut heads: Vec<(String, u16)> = [
        // Host.
        "GET /x HTTP/1.1\r\n\r\n".to_owned(),
        "GET /x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_owned(),
        "GET /x HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n".to_owned(),
        "GET /x HTTP/1.1\r\nHost:\r\n\r\n".to_owned(),
        "GET /x HTTP/1.1\r\nHost: a b\r\n\r\n".to_owned(),
        "GET /x HTTP/1.1\r\nHost: a, b\r\n\r\n".to_owned(),
        "GET /x HTTP/1.1\r\nHost: a/b\r\n\r\n".to_owned(),
        "GET /x HTTP/1.1\r\nHost: user@a\r\n\r\n".to_owned(),
        "GET /x HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n".to_owned(),
        "GET http://b/x HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET http://a:81/x HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET http://user@a/x HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET ftp://a/x HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        // Framing.
        post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"),
        post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"),
        post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello"),
        post("Content-Length: 5, 5\r\n", "hello"),
        post("Content-Length: +5\r\n", "hello"),
        post("Content-Length: -5\r\n", "hello"),
        post("Content-Length: 5 5\r\n", "hello"),
        post("Content-Length: 0x5\r\n", "hello"),
        post("Content-Length: 5.0\r\n", "hello"),
        post("Content-Length:\r\n", ""),
        post("Content-Length: 99999999999999999999\r\n", "hello"),
        post("Content-Length: 18446744073709551615\r\n", "hello"),
        post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"),
        post("Transfer-Encoding: chunked, gzip\r\n", "0\r\n\r\n"),
        post("Transfer-Encoding: gzip\r\n", "0\r\n\r\n"),
        post("Transfer-Encoding: identity\r\n", "0\r\n\r\n"),
        post("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"),
        post("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n"),
        post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"),
        post("Transfer-Encoding: chunked;q=1\r\n", "0\r\n\r\n"),
        post("Transfer-Encoding: \"chunked\"\r\n", "0\r\n\r\n"),
        post("Transfer-Encoding:\r\n", "0\r\n\r\n"),
        post("Transfer-Encoding: \x0bchunked\r\n", "0\r\n\r\n"),
        post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\n"),
        "POST /x HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
        post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"),
        post("Content-Length : 5\r\n", "hello"),
        post("Content-Length\t: 5\r\n", "hello"),
        // Lines.
        "GET /x HTTP/1.1\nHost: a\n\n".to_owned(),
        "GET /x HTTP/1.1\r\nHost: a\n\r\n".to_owned(),
        "GET /x HTTP/1.1\r\nHost: a\r\n\n".to_owned(),
        "GET /x HTTP/1.1\r\nHost: a\r\nA: b\rContent-Length: 5\r\n\r\n".to_owned(),
        "GET /x HTTP/1.1\rHost: a\r\n\r\n".to_owned(),
        with("A: b\0c\r\n"),
        with("A\0: b\r\n"),
        with("A: b\x7f\r\n"),
        with("A: b\x01\r\n"),
        with("A: b\r\n folded\r\n"),
        with("A: b\r\n\tfolded\r\n"),
        " GET /x HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET /x HTTP/1.1\r\n Host: a\r\n\r\n".to_owned(),
        with("no colon\r\n"),
        with(": no name\r\n"),
        with("na me: x\r\n"),
        with("na(me): x\r\n"),
        with("n\u{e4}me: x\r\n"),
        // The request line.
        "GET /x\r\nHost: a\r\n\r\n".to_owned(),
        "GET\r\nHost: a\r\n\r\n".to_owned(),
        "GET  /x HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET /x  HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET /x HTTP/1.1 \r\nHost: a\r\n\r\n".to_owned(),
        "GET /x y HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET\t/x HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "G@T /x HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET /x HTTP/1.2\r\nHost: a\r\n\r\n".to_owned(),
        "GET /x HTTP/2.0\r\nHost: a\r\n\r\n".to_owned(),
        "GET /x http/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET /x HTTP/1.1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET x HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET * HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET /x#fragment HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET /x<y HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET /x\x7f HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        "\x16\x03\x01\x02\0\x01\0\x01\r\n\r\n".to_owned(),
        // Said twice.
        with("Authorization: a\r\nAuthorization: a\r\n"),
        with("authorization: a\r\nAUTHORIZATION: b\r\n"),
        with("X-Amz-Date: 20260101T000000Z\r\nx-amz-date: 20260101T000000Z\r\n"),
        with("x-amz-content-sha256: a\r\nX-Amz-Content-Sha256: b\r\n"),
        with("x-amz-decoded-content-length: 1\r\nx-amz-decoded-content-length: 2\r\n"),
        post("Content-Length: 5\r\nExpect: 100-continue\r\nExpect: 100-continue\r\n", "hello"),
        // Too much.
        with(&"A: b\r\n".repeat(100)),
        with(&format!("A: {}\r\n", "b".repeat(16 << 10))),
        format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(20 << 10)),
    ]
    .into_iter()
    .map(|head| (head, 400))
    .collect();
    heads.push(("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n".to_owned(), 405));
    heads.push((post("Content-Length: 5\r\nExpect: 200-ok\r\n", "hello"), 417));
    heads.push((post("Content-Length: 5\r\nExpect:\r\n", "hello"), 417));
    heads
}

/// Requests that are fine, and how many bytes a handler that reads them finds.
fn accepted() -> Vec<(String, usize)> {
    let put = |lines: &str, body: &str| format!("PUT /read HTTP/1.1\r\nHost: a\r\n{lines}\r\n{body}");
    vec![
        ("GET /read HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 0),
        ("GET /read HTTP/1.1\r\nhOsT:a\r\n\r\n".to_owned(), 0),
        ("GET /read HTTP/1.1\r\nHost: a \t\r\n\r\n".to_owned(), 0),
        ("\r\nGET /read HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 0),
        ("GET http://a/read HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 0),
        ("GET HTTP://A:9000/read HTTP/1.1\r\nHost: a:9000\r\n\r\n".to_owned(), 0),
        ("GET /read?list-type=2&prefix=a%2Fb&x={}|^` HTTP/1.1\r\nHost: [::1]:9000\r\n\r\n".to_owned(), 0),
        ("GET /read HTTP/1.1\r\nHost: a\r\nx-amz-meta-name: gr\u{fc}n\r\nEmpty:\r\n\r\n".to_owned(), 0),
        ("GET /read HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n".to_owned(), 0),
        ("PURGE /read HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 0),
        (put("Content-Length: 0\r\n", ""), 0),
        (put("Content-Length: 5\r\n", "hello"), 5),
        (put("Content-Length: 005\r\n", "hello"), 5),
        (put("Content-Length: 5\r\nExpect: 100-Continue\r\n", "hello"), 5),
        (put("Content-Length: 100000\r\n", &"x".repeat(100_000)), 100_000),
        (put("Transfer-Encoding: chunked\r\n", "0\r\n\r\n"), 0),
        (put("Transfer-Encoding: Chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"), 5),
        (put("Transfer-Encoding: chunked\r\n", "5;a=b;c=\"d\"\r\nhello\r\n0;e\r\nx-trailer: y\r\n\r\n"), 5),
        (put("Transfer-Encoding: chunked\r\n", "00005\r\nhello\r\nA\r\n0123456789\r\n000\r\n\r\n"), 15),
        (put(&"A: b\r\n".repeat(98), ""), 0),
        (put(&format!("A: {}\r\n", "b".repeat(15 << 10)), ""), 0),
    ]
}

#[tokio::test]
async fn ambiguous_requests_get_an_error_and_a_closed_connection() {
    let node = Node::start().await;
    for (head, status) in refused() {
        let name = head.as_bytes()[..head.len().min(120)].escape_ascii();
        let replies = node.say(format!("{head}{VICTIM}")).await;
        assert_eq!(node.seen(), Vec::<String>::new(), "{name}");
        assert_eq!(replies.iter().map(|reply| reply.status).collect::<Vec<_>>(), [status], "{name}");
        let reply = &replies[0];
        reply.assert_signed();
        assert!(
            reply.body.contains("<Error><Code>") && reply.body.contains("<RequestId>"),
            "{name}: {reply:?}"
        );
        assert_eq!(reply.header("connection"), Some("close"), "{name}");
    }
}

#[tokio::test]
async fn bytes_that_are_not_text_are_refused_or_passed_on_whole() {
    let node = Node::start().await;
    let replies = node.say(b"GET /\xff\xfe HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!((replies[0].status, node.seen().len()), (400, 0));
    let replies = node.say(b"GET /x HTTP/1.1\r\nHost: a\r\nA: \xff\xfe\r\nConnection: close\r\n\r\n").await;
    assert_eq!((replies[0].status, node.seen().len()), (200, 1));
}

#[tokio::test]
async fn what_is_clear_passes_and_the_next_request_is_found() {
    let node = Node::start().await;
    for (request, bytes) in accepted() {
        let name = request.as_bytes()[..request.len().min(120)].escape_ascii();
        let replies = node.say(format!("{request}{VICTIM}")).await;
        let seen = node.seen();
        assert_eq!(replies.len(), 2, "{name}: {replies:?}");
        assert_eq!(
            (replies[0].status, replies[0].body.as_str()),
            (200, format!("{bytes} bytes").as_str()),
            "{name}"
        );
        assert_eq!((seen.len(), seen[1].as_str()), (2, "GET /victim"), "{name}");
        replies.iter().for_each(Reply::assert_signed);
    }
}

/// Whatever one byte does to a head, it is ours to refuse: hyper's own 400 has no request id.
#[tokio::test]
async fn no_byte_makes_hyper_answer() {
    let node = Node::start().await;
    for byte in 0..=255u8 {
        for (front, back) in [
            ("GE", "T /x HTTP/1.1\r\nHost: a\r\n\r\n"),
            ("GET /x", "x HTTP/1.1\r\nHost: a\r\n\r\n"),
            ("GET /x?x", "x HTTP/1.1\r\nHost: a\r\n\r\n"),
            ("GET http://a", "/x HTTP/1.1\r\nHost: a\r\n\r\n"),
            ("GET /x HTTP/1.", "\r\nHost: a\r\n\r\n"),
            ("GET /x HTTP/1.1\r\nHost: a", "a\r\n\r\n"),
            ("GET /x HTTP/1.1\r\nHost: a\r\nNa", "me: value\r\n\r\n"),
            ("GET /x HTTP/1.1\r\nHost: a\r\nName: va", "lue\r\n\r\n"),
            ("GET /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0", "\r\n\r\n"),
        ] {
            let request = [front.as_bytes(), &[byte], back.as_bytes(), VICTIM.as_bytes()].concat();
            let replies = node.say(&request).await;
            assert!(!replies.is_empty(), "{}", request.escape_ascii());
            replies.iter().for_each(Reply::assert_signed);
        }
    }
}

/// curl sends the path as it was typed.
#[tokio::test]
async fn a_path_in_raw_utf8_passes() {
    let node = Node::start().await;
    let replies = node.say("GET /gr\u{fc}n/\u{1f600} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert_eq!((replies[0].status, node.seen()[0].as_str()), (200, "GET /gr\u{fc}n/\u{1f600}"));
}

#[tokio::test]
async fn a_refused_head_cuts_off_no_earlier_answer() {
    let node = Node::start().await;
    for first in ["/x", "/wait"] {
        let bad = "GET /bad HTTP/1.1\r\nX-Request-Id: the bad one\r\n\r\n";
        let replies = node.say(format!("{}{}{bad}{VICTIM}", get(first), get(first))).await;
        assert_eq!(replies.iter().map(|reply| reply.status).collect::<Vec<_>>(), [200, 200, 400]);
        assert_eq!(replies[2].header("x-amz-request-id"), Some("the bad one"));
        assert!(replies[2].body.contains("<Resource>/bad</Resource>"));
        assert_eq!(node.seen(), [format!("GET {first}"), format!("GET {first}")]);
    }
}

#[tokio::test]
async fn every_split_means_the_same() {
    let node = Node::start().await;
    let good = "PUT /read HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x\r\nhello\r\n0\r\nt: u\r\n\r\n";
    let bad = "GET /bad HTTP/1.1\r\nHost: a\r\nA : b\r\n\r\n";
    let whole = format!("{good}{}{bad}{VICTIM}", get("/second"));
    let mut socket;
    for split in 1..whole.len() {
        socket = node.connect().await;
        socket.set_nodelay(true).unwrap();
        let (first, second) = whole.as_bytes().split_at(split);
        socket.write_all(first).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
        let _ = socket.write_all(second).await;
        let replies = replies(&read_to_end(&mut socket).await);
        let statuses: Vec<u16> = replies.iter().map(|reply| reply.status).collect();
        assert_eq!(statuses, [200, 200, 400], "split at {split}");
        assert_eq!((replies[0].body.as_str(), node.seen().len()), ("5 bytes", 2), "split at {split}");
    }
}

#[tokio::test]
async fn byte_by_byte_is_slow_but_fine() {
    let node = Node::start().await;
    let mut socket = node.connect().await;
    socket.set_nodelay(true).unwrap();
    let request = "PUT /read HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
    for byte in request.as_bytes() {
        socket.write_all(&[*byte]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(replies(&read_to_end(&mut socket).await)[0].body, "5 bytes");
}

#[tokio::test]
async fn malformed_chunks_fail_the_body_and_hide_no_request() {
    let node = Node::start().await;
    for body in [
        "x\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "-1\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "ffffffffffffffffff\r\n",
        "0\r\n folded\r\n\r\n",
        "0\r\n\n",
    ] {
        let request =
            format!("PUT /read HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}{VICTIM}");
        let replies = node.say(request).await;
        assert_eq!(node.seen(), ["PUT /read"], "{body:?}");
        assert_eq!(replies.iter().map(|reply| reply.status).collect::<Vec<_>>(), [400], "{body:?}");
    }
}

#[tokio::test]
async fn many_requests_share_a_connection() {
    let node = Node::start().await;
    let mut socket = node.connect().await;
    for round in 0..50 {
        let request =
            format!("PUT /read HTTP/1.1\r\nHost: a\r\nContent-Length: {round}\r\n\r\n{}", "x".repeat(round));
        socket.write_all(request.as_bytes()).await.unwrap();
        assert_eq!(next_reply(&mut socket).await.body, format!("{round} bytes"));
    }
    // And all at once.
    let replies = node.say(format!("{}{VICTIM}", get("/x").repeat(100))).await;
    assert_eq!(replies.len(), 101);
}

#[tokio::test]
async fn answers_say_who_they_are_for() {
    let node = Node::start().await;
    let ask =
        |id: &str| format!("GET /x HTTP/1.1\r\nHost: a\r\nX-Request-Id: {id}\r\nConnection: close\r\n\r\n");
    let reply = &node.say(ask("trace-42")).await[0];
    assert_eq!(reply.header("x-amz-request-id"), Some("trace-42"));
    let reply = &node.say(ask(&"x".repeat(129))).await[0];
    assert_eq!(reply.header("x-amz-request-id").map(str::len), Some(16));
}

#[tokio::test]
async fn head_states_a_length_and_sends_nothing() {
    let node = Node::start().await;
    for (path, length) in [("/head", Some("1234")), ("/big", Some("1073741824")), ("/x", Some("4"))] {
        let mut socket = node.connect().await;
        let request = format!("HEAD {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let answer = String::from_utf8(read_to_end(&mut socket).await).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let reply = Reply { status: 200, headers: head.to_owned(), body: String::new() };
        assert_eq!((reply.header("content-length"), body), (length, ""), "{path}");
    }
    let reply = &node.say("GET /empty HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await[0];
    assert_eq!(reply.header("content-length"), Some("0"));
}

// ---- bodies that nobody reads

#[tokio::test]
async fn a_small_unread_body_is_drained_and_the_connection_lives_on() {
    let node = Node::start().await;
    let request =
        format!("PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n{}", "y".repeat(500_000));
    let replies = node.say(format!("{request}{VICTIM}")).await;
    assert_eq!(replies.iter().map(|reply| reply.status).collect::<Vec<_>>(), [200, 200]);
    assert_eq!(node.seen(), ["PUT /x", "GET /victim"]);
}

#[tokio::test]
async fn a_large_unread_body_gets_its_answer_and_a_closed_connection() {
    let node = Node::start().await;
    let replies = node.say("PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000000\r\n\r\nhello").await;
    assert_eq!((replies[0].status, replies[0].header("connection")), (200, Some("close")));
}

#[tokio::test]
async fn an_early_answer_sends_no_100_continue() {
    let node = Node::start().await;
    let expecting = |path: &str| {
        format!("PUT {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
    };
    let mut socket = node.connect().await;
    socket.write_all(expecting("/x").as_bytes()).await.unwrap();
    assert!(read_to_end(&mut socket).await.starts_with(b"HTTP/1.1 200"));

    let mut socket = node.connect().await;
    socket.write_all(expecting("/read").as_bytes()).await.unwrap();
    assert_eq!(next_reply(&mut socket).await.status, 100);
    socket.write_all(b"hello").await.unwrap();
    assert_eq!(next_reply(&mut socket).await.body, "5 bytes");
}

// ---- slow, silent and gone

#[tokio::test]
async fn slow_heads_are_told_and_closed() {
    let node = Node::with(Options { head_timeout: Duration::from_millis(200), ..options() }).await;
    let mut socket = node.connect().await;
    let started = Instant::now();
    let (mut read, mut write) = socket.split();
    let drip = async {
        for byte in "GET /x HTTP/1.1\r\nHost: a\r\n".bytes().chain(std::iter::repeat(b'x')) {
            if write.write_all(&[byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let mut answer = Vec::new();
    let listen = async { drop(within(read.read_to_end(&mut answer)).await) };
    tokio::select! { () = drip => {}, () = listen => {} }
    let elapsed = started.elapsed();
    assert!(elapsed >= Duration::from_millis(200) && elapsed < Duration::from_secs(2), "{elapsed:?}");
    assert!(String::from_utf8_lossy(&answer).contains("<Code>RequestTimeout</Code>"));
    assert!(node.seen().is_empty());
}

#[tokio::test]
async fn idle_connections_are_closed_and_busy_ones_are_not() {
    let idle = Duration::from_millis(150);
    let node = Node::with(Options { idle_timeout: idle, head_timeout: idle, ..options() }).await;
    let mut silent = node.connect().await;
    let mut served = node.connect().await;
    // The handler needs longer than the idle timeout.
    served.write_all(get("/wait").as_bytes()).await.unwrap();
    assert_eq!(next_reply(&mut served).await.body, "waited");
    assert_eq!(read_to_end(&mut silent).await, b"");
    assert_eq!(read_to_end(&mut served).await, b"");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off() {
    let slow =
        Options { body_timeout: Duration::from_millis(300), min_body_bytes_per_second: 100_000, ..options() };
    let node = Node::with(slow).await;
    let mut socket = node.connect().await;
    socket.write_all(get("/big").as_bytes()).await.unwrap();
    node.until_running(1).await;
    node.until_running(0).await;
    let received = read_to_end(&mut socket).await.len();
    assert!(received < 1 << 28, "{received} bytes came");
}

/// The kernel wakes a writer only when a third of its buffer is free, here after more than a second:
/// what the client acknowledged meanwhile must count.
#[tokio::test]
async fn a_client_that_reads_slowly_but_well_enough_is_served() {
    let slow =
        Options { body_timeout: Duration::from_millis(500), min_body_bytes_per_second: 40_000, ..options() };
    let node = Node::with(slow).await;
    let client = TcpSocket::new_v4().unwrap();
    client.set_recv_buffer_size(64 << 10).unwrap();
    let mut socket = client.connect(node.address).await.unwrap();
    socket.write_all(get("/big").as_bytes()).await.unwrap();
    let mut piece = vec![0; 4 << 10];
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(3) {
        assert!(within(socket.read(&mut piece)).await.unwrap() > 0);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(node.running(), 1);
}

#[tokio::test]
async fn hanging_up_drops_the_handler() {
    let node = Node::start().await;
    let mut socket = node.connect().await;
    socket.write_all(get("/hang").as_bytes()).await.unwrap();
    node.until_running(1).await;
    drop(socket);
    node.until_running(0).await;
}

#[tokio::test]
async fn a_body_that_fails_never_looks_whole() {
    let node = Node::start().await;
    let mut socket = node.connect().await;
    socket.write_all(get("/broken").as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    let end = within(socket.read_to_end(&mut bytes)).await;
    assert!(bytes.len() < 1 << 20, "{} bytes", bytes.len());
    assert!(end.is_err(), "a reset, not a clean end");
}

// ---- too many

#[tokio::test]
async fn connections_above_the_limit_are_turned_away() {
    let node = Node::with(Options { max_connections: 2, ..options() }).await;
    let mut first = node.connect().await;
    first.write_all(get("/x").as_bytes()).await.unwrap();
    assert_eq!(next_reply(&mut first).await.status, 200);
    let second = node.connect().await;
    let replies = node.say(get("/x")).await;
    assert_eq!((replies[0].status, replies[0].header("retry-after")), (503, Some("1")));
    assert!(replies[0].body.contains("<Code>SlowDown</Code>"));
    replies[0].assert_signed();

    drop(second);
    first.write_all(get("/x").as_bytes()).await.unwrap();
    assert_eq!(next_reply(&mut first).await.status, 200);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut third = node.connect().await;
    third.write_all(get("/x").as_bytes()).await.unwrap();
    assert_eq!(next_reply(&mut third).await.status, 200);
}

#[tokio::test]
async fn requests_above_the_limit_are_told_to_slow_down() {
    let node = Node::with(Options { max_requests_in_flight: 1, ..options() }).await;
    let mut busy = node.connect().await;
    busy.write_all(get("/hang").as_bytes()).await.unwrap();
    node.until_running(1).await;

    let mut socket = node.connect().await;
    socket.write_all(get("/x").as_bytes()).await.unwrap();
    let reply = next_reply(&mut socket).await;
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")));
    assert!(reply.body.contains("<Code>SlowDown</Code>"));
    let expecting = "PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    let replies = node.say(expecting).await;
    assert_eq!((replies[0].status, replies[0].header("connection")), (503, Some("close")));

    drop(busy);
    node.until_running(0).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    socket.write_all(get("/x").as_bytes()).await.unwrap();
    assert_eq!(next_reply(&mut socket).await.status, 200);
    // An answer that is still being sent counts.
    let mut sending = node.connect().await;
    sending.write_all(get("/big").as_bytes()).await.unwrap();
    node.until_running(1).await;
    socket.write_all(get("/x").as_bytes()).await.unwrap();
    assert_eq!(next_reply(&mut socket).await.status, 503);
}

#[tokio::test]
async fn a_panic_costs_one_request() {
    let node = Node::start().await;
    let mut socket = node.connect().await;
    for _ in 0..3 {
        socket.write_all(get("/panic").as_bytes()).await.unwrap();
        let reply = next_reply(&mut socket).await;
        assert_eq!(reply.status, 500);
        assert!(reply.body.contains("<Code>InternalError</Code>") && !reply.body.contains("on purpose"));
        reply.assert_signed();
        socket.write_all(get("/x").as_bytes()).await.unwrap();
        assert_eq!(next_reply(&mut socket).await.status, 200);
    }
    assert_eq!(node.running(), 0);
}

// ---- stopping

#[tokio::test]
async fn stopping_finishes_what_is_in_flight_and_closes_the_idle() {
    let mut node = Node::start().await;
    let mut idle = node.connect().await;
    let mut busy = node.connect().await;
    busy.write_all(get("/wait").as_bytes()).await.unwrap();
    node.until_running(1).await;
    node.stop.take().unwrap().send(()).unwrap();
    assert_eq!(read_to_end(&mut idle).await, b"");
    assert_eq!(node.running(), 1, "the idle one is closed at once");
    let replies = replies(&read_to_end(&mut busy).await);
    assert_eq!((replies[0].status, replies[0].body.as_str()), (200, "waited"));
    within(node.served).await.unwrap().unwrap();
    assert!(TcpStream::connect(node.address).await.is_err());
}

#[tokio::test]
async fn stopping_does_not_wait_for_ever() {
    let mut node = Node::with(Options { shutdown_grace: Duration::from_millis(200), ..options() }).await;
    let mut stuck = node.connect().await;
    stuck.write_all(get("/hang").as_bytes()).await.unwrap();
    node.until_running(1).await;
    let started = Instant::now();
    node.stop.take().unwrap().send(()).unwrap();
    within(node.served).await.unwrap().unwrap();
    assert!(started.elapsed() < Duration::from_secs(2));
    assert_eq!(node.notes.running.load(Ordering::SeqCst), 0);
}

// ---- the audit log

/// Keeps the events of one target as text.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

struct Fields(String);

impl tracing::field::Visit for Fields {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn fmt::Debug) {
        let _ = write!(self.0, "{}={value:?} ", field.name());
    }
}

impl tracing::Subscriber for Log {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "audit"
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut fields = Fields(String::new());
        event.record(&mut fields);
        self.0.lock().unwrap().push(fields.0);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test]
async fn every_request_has_exactly_one_audit_line() {
    let log = Log::default();
    let _default = tracing::subscriber::set_default(log.clone());
    let node = Node::start().await;
    let put = "PUT /read?X-Amz-Signature=secret HTTP/1.1\r\nHost: a\r\nX-Request-Id: one\r\nContent-Length: 5\r\n\r\nhello";
    let refused = "GET /x?X-Amz-Signature=secret HTTP/1.1\r\nX-Request-Id: two\r\n\r\n";
    node.say(format!("{put}{}{refused}", get("/panic"))).await;
    let mut socket = node.connect().await;
    socket.write_all(get("/hang").as_bytes()).await.unwrap();
    node.until_running(1).await;
    drop(socket);
    node.until_running(0).await;
    let mut socket = node.connect().await;
    socket.write_all(get("/broken").as_bytes()).await.unwrap();
    read_to_end(&mut socket).await;

    let lines = log.0.lock().unwrap().clone();
    assert_eq!(lines.len(), 5, "{lines:#?}");
    let holds = |line: &str, parts: &[&str]| parts.iter().all(|part| line.contains(part));
    let whole =
        ["request_id=\"one\"", "status=200", "bytes_in=5", "bytes_out=7", "aborted=false", "key=\"/read\""];
    assert!(holds(&lines[0], &whole), "{}", lines[0]);
    assert!(holds(&lines[1], &["status=500", "error=\"InternalError\""]), "{}", lines[1]);
    assert!(holds(&lines[2], &["request_id=\"two\"", "status=400", "error=\"BadRequest\""]), "{}", lines[2]);
    assert!(holds(&lines[3], &["status=499", "aborted=true"]), "{}", lines[3]);
    assert!(holds(&lines[4], &["status=200", "aborted=true", "error=\"InternalError\""]), "{}", lines[4]);
    assert!(lines.iter().all(|line| !line.contains("secret") && line.contains("duration_ms=")));
}
