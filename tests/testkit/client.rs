//! A small S3 client that signs, keeps connections, and knows what it does not know.
//!
//! A request ends in an [`Answer`], or in a [`RequestError`] that says whether the node may have acted on it: that
//! difference is what the crash rigs live on. Nothing is ever sent twice behind the caller's back.

use crate::node::Credential;
use crate::sign::{self, Unsigned};
use crate::xml::{self, Element};
use base64::Engine;
use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::net::TcpStream;

/// Bodies up to this size are signed with their hash; larger ones as `UNSIGNED-PAYLOAD`, to spare the test's own CPU.
const HASHED_BODY_BYTES: usize = 64 * 1024;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// A request that got no whole answer.
#[derive(Debug)]
pub enum RequestError {
    /// The node never saw it.
    NotSent(String),
    /// The node may or may not have acted on it.
    Unknown(String),
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSent(why) => write!(f, "not sent: {why}"),
            Self::Unknown(why) => write!(f, "no answer: {why}"),
        }
    }
}

impl std::error::Error for RequestError {}

#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The ETag of the header, or of a body that has one (Complete, Copy).
    pub fn etag(&self) -> String {
        if let Some(etag) = self.header("etag") {
            return etag.to_owned();
        }
        self.xml().map(|root| root.text_of("ETag").to_owned()).unwrap_or_default()
    }

    pub fn xml(&self) -> Result<Element, String> {
        xml::parse(&String::from_utf8_lossy(&self.body))
    }

    /// The error code. Complete and Copy may send one behind a 200
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html>).
    pub fn code(&self) -> Option<String> {
        let root = self.xml().ok()?;
        (root.name == "Error").then(|| root.text_of("Code").to_owned())
    }

    /// `200`, or `404 NoSuchKey`: for messages.
    pub fn brief(&self) -> String {
        match self.code() {
            Some(code) => format!("{} {code}", self.status),
            None => self.status.to_string(),
        }
    }
}

pub type Outcome = Result<Answer, RequestError>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub key: String,
    pub size: u64,
    pub etag: String,
}

#[derive(Debug, Clone, Default)]
pub struct ListPage {
    pub entries: Vec<Entry>,
    pub prefixes: Vec<String>,
    /// What to ask the next page with.
    pub next: Option<String>,
}

/// One page of a listing. `after` is the token of version 2 or the marker of version 1.
#[derive(Debug, Clone, Default)]
pub struct ListQuery<'a> {
    pub version_1: bool,
    pub prefix: &'a str,
    pub delimiter: &'a str,
    pub start_after: &'a str,
    pub after: Option<&'a str>,
    pub max_keys: Option<u64>,
}

type Sender = SendRequest<Full<Bytes>>;

#[derive(Clone)]
pub struct S3Client {
    addr: SocketAddr,
    bucket: String,
    credential: Credential,
    idle: Arc<Mutex<Vec<Sender>>>,
    timeout: Duration,
}

impl S3Client {
    pub fn new(addr: SocketAddr, bucket: &str, credential: Credential) -> Self {
        let idle = Arc::new(Mutex::new(Vec::new()));
        Self { addr, bucket: bucket.to_owned(), credential, idle, timeout: REQUEST_TIMEOUT }
    }

    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// `/bucket/key`, encoded.
    pub fn path_of(&self, key: &str) -> String {
        format!("/{}/{}", self.bucket, sign::encode(key, true))
    }

    /// A signed request; path and query go over the wire as they are given.
    pub async fn request(
        &self,
        method: &str,
        path: &str,
        query: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Outcome {
        let body = body.into();
        let signed = self.sign(method, path, query, headers, &body);
        let request = build(method, &target(path, query), &signed, body)?;
        match tokio::time::timeout(self.timeout, self.send(request)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(RequestError::Unknown(format!("nothing within {:?}", self.timeout))),
        }
    }

    fn sign(
        &self,
        method: &str,
        path: &str,
        query: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Vec<(String, String)> {
        let hashed = (body.len() <= HASHED_BODY_BYTES).then(|| sign::payload_hash(body));
        let payload_hash = hashed.as_deref().unwrap_or(sign::UNSIGNED_PAYLOAD);
        let host = self.addr.to_string();
        let unsigned = Unsigned { method, host: &host, path, query, headers, payload_hash };
        sign::signed_headers(&unsigned, &self.credential, SystemTime::now())
    }

    /// The bytes of a signed request's head, for tests that hold the socket themselves.
    pub fn raw_head(
        &self,
        method: &str,
        path: &str,
        query: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Vec<u8> {
        let mut out = format!("{method} {} HTTP/1.1\r\n", target(path, query));
        for (name, value) in self.sign(method, path, query, headers, body) {
            out.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() || matches!(method, "PUT" | "POST") {
            out.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        out.push_str("\r\n");
        out.into_bytes()
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Outcome {
        let mut request = request;
        while let Some(mut sender) = self.take_idle() {
            if sender.ready().await.is_err() {
                continue;
            }
            match self.exchange(sender, request).await {
                Ok(outcome) => return outcome,
                // Closed while it lay idle, and the request came back unsent: another connection may have it.
                Err(unsent) => request = unsent,
            }
        }
        let sender = self.connect().await.map_err(RequestError::NotSent)?;
        match self.exchange(sender, request).await {
            Ok(outcome) => outcome,
            Err(_) => Err(RequestError::NotSent("the connection was closed at once".to_owned())),
        }
    }

    async fn exchange(
        &self,
        mut sender: Sender,
        request: Request<Full<Bytes>>,
    ) -> Result<Outcome, Request<Full<Bytes>>> {
        let response = match sender.try_send_request(request).await {
            Ok(response) => response,
            Err(mut error) => {
                return match error.take_message() {
                    Some(unsent) => Err(unsent),
                    None => Ok(Err(RequestError::Unknown(error.into_error().to_string()))),
                };
            }
        };
        let (head, body) = response.into_parts();
        let body = match body.collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => {
                return Ok(Err(RequestError::Unknown(format!("status {}, then {error}", head.status))));
            }
        };
        if let Ok(()) = sender.ready().await {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        }
        Ok(Ok(Answer { status: head.status.as_u16(), headers: head.headers, body }))
    }

    fn take_idle(&self) -> Option<Sender> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    async fn connect(&self) -> Result<Sender, String> {
        let stream = TcpStream::connect(self.addr).await.map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let (sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        tokio::spawn(connection);
        Ok(sender)
    }

    // The verbs.

    pub async fn put(&self, key: &str, body: impl Into<Bytes>) -> Outcome {
        self.put_with(key, body, &[]).await
    }

    pub async fn put_with(&self, key: &str, body: impl Into<Bytes>, headers: &[(&str, &str)]) -> Outcome {
        self.request("PUT", &self.path_of(key), "", headers, body).await
    }

    pub async fn get(&self, key: &str) -> Outcome {
        self.get_with(key, &[]).await
    }

    pub async fn get_with(&self, key: &str, headers: &[(&str, &str)]) -> Outcome {
        self.request("GET", &self.path_of(key), "", headers, "").await
    }

    pub async fn head(&self, key: &str) -> Outcome {
        self.request("HEAD", &self.path_of(key), "", &[], "").await
    }

    pub async fn delete(&self, key: &str) -> Outcome {
        self.delete_with(key, &[]).await
    }

    pub async fn delete_with(&self, key: &str, headers: &[(&str, &str)]) -> Outcome {
        self.request("DELETE", &self.path_of(key), "", headers, "").await
    }

    /// DeleteObjects; S3 asks for `Content-MD5` (or a checksum) with it.
    pub async fn delete_many(&self, keys: &[String]) -> Outcome {
        let objects: String =
            keys.iter().map(|key| format!("<Object><Key>{}</Key></Object>", xml::escape(key))).collect();
        let body = format!("<Delete>{objects}</Delete>");
        let digest = base64::engine::general_purpose::STANDARD.encode(md5(body.as_bytes()));
        self.request("POST", &format!("/{}", self.bucket), "delete=", &[("content-md5", &digest)], body).await
    }

    pub async fn copy(&self, from: &str, to: &str, headers: &[(&str, &str)]) -> Outcome {
        let source = self.path_of(from);
        let mut headers = headers.to_vec();
        headers.push(("x-amz-copy-source", &source));
        self.request("PUT", &self.path_of(to), "", &headers, "").await
    }

    pub async fn create_upload(&self, key: &str) -> Outcome {
        self.request("POST", &self.path_of(key), "uploads=", &[], "").await
    }

    pub async fn put_part(&self, key: &str, upload: &str, number: u16, body: impl Into<Bytes>) -> Outcome {
        let query = sign::query(&[("partNumber", &number.to_string()), ("uploadId", upload)]);
        self.request("PUT", &self.path_of(key), &query, &[], body).await
    }

    pub async fn complete(
        &self,
        key: &str,
        upload: &str,
        parts: &[(u16, String)],
        headers: &[(&str, &str)],
    ) -> Outcome {
        let query = sign::query(&[("uploadId", upload)]);
        self.request("POST", &self.path_of(key), &query, headers, manifest(parts)).await
    }

    pub async fn abort(&self, key: &str, upload: &str) -> Outcome {
        self.request("DELETE", &self.path_of(key), &sign::query(&[("uploadId", upload)]), &[], "").await
    }

    /// The parts of an upload: number, size, ETag.
    pub async fn list_parts(&self, key: &str, upload: &str) -> Result<Vec<(u16, u64, String)>, String> {
        let answer =
            self.request("GET", &self.path_of(key), &sign::query(&[("uploadId", upload)]), &[], "").await;
        let root = read_xml(answer)?;
        let part = |part: &Element| {
            let number = part.text_of("PartNumber").parse().map_err(|_| "no part number".to_owned())?;
            let size = part.text_of("Size").parse().map_err(|_| "no size".to_owned())?;
            Ok((number, size, part.text_of("ETag").to_owned()))
        };
        root.all("Part").map(part).collect()
    }

    /// The running uploads (first page): key and id.
    pub async fn list_uploads(&self) -> Result<Vec<(String, String)>, String> {
        let root = read_xml(self.request("GET", &format!("/{}", self.bucket), "uploads=", &[], "").await)?;
        let upload =
            |upload: &Element| (upload.text_of("Key").to_owned(), upload.text_of("UploadId").to_owned());
        Ok(root.all("Upload").map(upload).collect())
    }

    pub async fn list_page(&self, list: &ListQuery<'_>) -> Result<ListPage, String> {
        let max_keys = list.max_keys.map(|n| n.to_string());
        let mut pairs = Vec::new();
        if list.version_1 {
            pairs.extend(list.after.or(non_empty(list.start_after)).map(|marker| ("marker", marker)));
        } else {
            pairs.push(("list-type", "2"));
            pairs.extend(list.after.map(|token| ("continuation-token", token)));
            pairs.extend(non_empty(list.start_after).map(|start| ("start-after", start)));
        }
        pairs.extend(non_empty(list.prefix).map(|prefix| ("prefix", prefix)));
        pairs.extend(non_empty(list.delimiter).map(|delimiter| ("delimiter", delimiter)));
        pairs.extend(max_keys.as_deref().map(|n| ("max-keys", n)));
        let root =
            read_xml(self.request("GET", &format!("/{}", self.bucket), &sign::query(&pairs), &[], "").await)?;
        list_page(&root, list)
    }

    /// Every page of a listing.
    pub async fn list_all(&self, list: &ListQuery<'_>) -> Result<ListPage, String> {
        let mut whole = ListPage::default();
        loop {
            let after = whole.next.take();
            let page = self.list_page(&ListQuery { after: after.as_deref(), ..list.clone() }).await?;
            whole.entries.extend(page.entries);
            whole.prefixes.extend(page.prefixes);
            match page.next {
                None => return Ok(whole),
                next if next == after => {
                    return Err(format!("the listing does not move on from {next:?}"));
                }
                next => whole.next = next,
            }
        }
    }
}

fn non_empty(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

fn target(path: &str, query: &str) -> String {
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

fn build(
    method: &str,
    target: &str,
    headers: &[(String, String)],
    body: Bytes,
) -> Result<Request<Full<Bytes>>, RequestError> {
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    // hyper leaves the length out of an empty PUT, which S3 answers with 411.
    if body.is_empty() && !request.headers_ref().is_some_and(|h| h.contains_key("content-length")) {
        request = request.header("content-length", "0");
    }
    request.body(Full::new(body)).map_err(|error| RequestError::NotSent(error.to_string()))
}

/// The manifest of a Complete.
pub fn manifest(parts: &[(u16, String)]) -> String {
    let part = |(number, etag): &(u16, String)| {
        format!("<Part><PartNumber>{number}</PartNumber><ETag>{}</ETag></Part>", xml::escape(etag))
    };
    format!(
        "<CompleteMultipartUpload>{}</CompleteMultipartUpload>",
        parts.iter().map(part).collect::<String>()
    )
}

pub fn md5(bytes: &[u8]) -> [u8; 16] {
    use md5::Digest;
    md5::Md5::digest(bytes).into()
}

fn read_xml(outcome: Outcome) -> Result<Element, String> {
    let answer = outcome.map_err(|error| error.to_string())?;
    if answer.status != 200 {
        return Err(answer.brief());
    }
    answer.xml()
}

fn list_page(root: &Element, list: &ListQuery<'_>) -> Result<ListPage, String> {
    let entry = |entry: &Element| {
        let size = entry.text_of("Size").parse().map_err(|_| "an entry without a size".to_owned())?;
        Ok(Entry { key: entry.text_of("Key").to_owned(), size, etag: entry.text_of("ETag").to_owned() })
    };
    let entries: Vec<Entry> = root.all("Contents").map(entry).collect::<Result<_, String>>()?;
    let prefixes: Vec<String> = root.all("CommonPrefixes").map(|p| p.text_of("Prefix").to_owned()).collect();
    if !list.version_1 && root.text_of("KeyCount").parse() != Ok(entries.len() + prefixes.len()) {
        return Err(format!("KeyCount is {:?}", root.text_of("KeyCount")));
    }
    let next = match root.text_of("IsTruncated") {
        "false" => None,
        "true" if list.version_1 => Some(next_marker(root, &entries)?),
        "true" => Some(
            non_empty(root.text_of("NextContinuationToken")).ok_or("truncated without a token")?.to_owned(),
        ),
        other => return Err(format!("IsTruncated is {other:?}")),
    };
    Ok(ListPage { entries, prefixes, next })
}

/// NextMarker comes only with a delimiter; without one the last key is the marker
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjects.html>).
fn next_marker(root: &Element, entries: &[Entry]) -> Result<String, String> {
    match (non_empty(root.text_of("NextMarker")), entries.last()) {
        (Some(marker), _) => Ok(marker.to_owned()),
        (None, Some(last)) => Ok(last.key.clone()),
        (None, None) => Err("truncated without a marker".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    fn client(addr: SocketAddr) -> S3Client {
        let credential = Credential { access_key: "AK".to_owned(), secret: "S".to_owned(), rights: None };
        S3Client::new(addr, "b", credential)
    }

    /// A server that answers `answer` to whatever comes, `per_connection` times a connection.
    async fn server(answer: &'static str, per_connection: usize) -> (SocketAddr, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        tokio::spawn(async move {
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    for _ in 0..per_connection {
                        let mut buffer = [0; 4096];
                        if socket.read(&mut buffer).await.unwrap_or(0) == 0 {
                            return;
                        }
                        let _ = socket.write_all(answer.as_bytes()).await;
                    }
                });
            }
        });
        (addr, connections)
    }

    #[tokio::test]
    async fn connections_are_kept() {
        let (addr, connections) =
            server("HTTP/1.1 404 x\r\ncontent-length: 34\r\n\r\n<Error><Code>NoSuchKey</Code></Err", 9).await;
        let client = client(addr);
        for _ in 0..3 {
            assert_eq!(client.get("k").await.unwrap().status, 404);
        }
        assert_eq!(connections.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_closed_idle_connection_is_replaced() {
        let (addr, connections) = server("HTTP/1.1 200 x\r\ncontent-length: 0\r\n\r\n", 1).await;
        let client = client(addr);
        for _ in 0..3 {
            assert!(client.get("k").await.unwrap().is_success());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(connections.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn what_is_not_known_is_said() {
        let (addr, _) = server("HTTP/1.1 200 x\r\ncontent-length: 10\r\n\r\n123", 1).await;
        assert!(matches!(client(addr).get("k").await, Err(RequestError::Unknown(_))));
        let nobody = "127.0.0.1:1".parse().unwrap();
        assert!(matches!(client(nobody).get("k").await, Err(RequestError::NotSent(_))));
    }

    #[test]
    fn a_page_is_read() {
        let text = "<ListBucketResult><KeyCount>2</KeyCount><IsTruncated>true</IsTruncated>\
            <NextContinuationToken>t</NextContinuationToken>\
            <Contents><Key>a&amp;b</Key><Size>3</Size><ETag>&quot;e&quot;</ETag></Contents>\
            <CommonPrefixes><Prefix>p/</Prefix></CommonPrefixes></ListBucketResult>";
        let page = list_page(&xml::parse(text).unwrap(), &ListQuery::default()).unwrap();
        assert_eq!(page.entries, [Entry { key: "a&b".to_owned(), size: 3, etag: "\"e\"".to_owned() }]);
        assert_eq!((page.prefixes, page.next), (vec!["p/".to_owned()], Some("t".to_owned())));
        let wrong = xml::parse(&text.replace("<KeyCount>2", "<KeyCount>3")).unwrap();
        assert!(list_page(&wrong, &ListQuery::default()).is_err());
    }
}
