//! Requests as bytes, signed beforehand so that the client costs little, and just enough HTTP to see
//! where an answer ends.

use anyhow::{Context as _, Result, bail, ensure};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant, SystemTime};
use testkit::Node;
use testkit::sign::{Unsigned, encode, signed_headers};

/// What a request of a bench is made of.
pub struct Spec<'a> {
    pub method: &'a str,
    /// `bucket/key` or `bucket`, not encoded.
    pub path: &'a str,
    pub query: &'a str,
    pub payload_hash: &'a str,
    pub length: u64,
    pub headers: &'a [(&'a str, &'a str)],
}

impl<'a> Spec<'a> {
    pub fn new(method: &'a str, path: &'a str) -> Self {
        Self {
            method,
            path,
            query: "",
            payload_hash: testkit::sign::UNSIGNED_PAYLOAD,
            length: 0,
            headers: &[],
        }
    }
}

/// The head of a request, signed for the node's `bucket`th bucket.
pub fn head(node: &Node, bucket: usize, spec: &Spec<'_>) -> Result<Vec<u8>> {
    let host = node.addr().to_string();
    let path = format!("/{}", encode(spec.path, true));
    let request = Unsigned {
        method: spec.method,
        host: &host,
        path: &path,
        query: spec.query,
        headers: spec.headers,
        payload_hash: spec.payload_hash,
    };
    let bucket = node.config().buckets.get(bucket).context("a bucket of the node")?;
    let credential = bucket.credentials.first().context("a credential of the bucket")?;
    let target = if spec.query.is_empty() { path.clone() } else { format!("{path}?{}", spec.query) };
    let mut head = format!("{} {target} HTTP/1.1\r\n", spec.method);
    for (name, value) in signed_headers(&request, credential, SystemTime::now()) {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if spec.length > 0 || spec.method != "GET" {
        head.push_str(&format!("content-length: {}\r\n", spec.length));
    }
    head.push_str("\r\n");
    Ok(head.into_bytes())
}

/// What an answer's head says: the head's length, and its body's.
pub struct Answer {
    pub status: u16,
    pub head: usize,
    pub body: usize,
}

/// `None`: there is more to come.
pub fn answer(bytes: &[u8]) -> Result<Option<Answer>> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let text = std::str::from_utf8(bytes.get(..end).unwrap_or_default())?;
    let status = text.get(9..12).context("a status line")?.parse()?;
    let value_of = |wanted: &str| {
        text.split("\r\n").find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case(wanted).then(|| value.trim())
        })
    };
    let head = end + 4;
    if value_of("transfer-encoding") == Some("chunked") {
        let body = last_chunk(bytes.get(head..).unwrap_or_default());
        return Ok(body.map(|body| Answer { status, head, body }));
    }
    let body = value_of("content-length").with_context(|| format!("no length in {text}"))?.parse()?;
    Ok(Some(Answer { status, head, body }))
}

/// Where a body in chunks ends, if it is all there: such answers are short.
fn last_chunk(body: &[u8]) -> Option<usize> {
    const LAST: &[u8] = b"\r\n0\r\n\r\n";
    body.windows(LAST.len()).position(|bytes| bytes == LAST).map(|at| at + LAST.len())
}

/// A blocking connection, one request at a time.
pub struct Connection(TcpStream);

impl Connection {
    pub fn open(addr: SocketAddr) -> Result<Self> {
        let socket = TcpStream::connect(addr)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(Duration::from_secs(120)))?;
        Ok(Self(socket))
    }

    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.0.write_all(bytes)?)
    }

    /// Takes in an answer and keeps nothing of it but the beginning.
    pub fn receive(&mut self) -> Result<(u16, Vec<u8>)> {
        let mut buffer = vec![0; 256 << 10];
        let mut filled = 0;
        let answer = loop {
            let read = self.0.read(buffer.get_mut(filled..).context("room for an answer's head")?)?;
            ensure!(read > 0, "the connection ended before the answer");
            filled += read;
            if let Some(answer) = answer(buffer.get(..filled).unwrap_or_default())? {
                break answer;
            }
        };
        let kept = buffer.get(answer.head..filled).unwrap_or_default().to_vec();
        let mut left = answer.body - kept.len();
        while left > 0 {
            match self.0.read(&mut buffer)? {
                0 => bail!("the connection ended {left} bytes early"),
                read => left -= read,
            }
        }
        Ok((answer.status, kept))
    }

    /// From the first byte sent to the last received.
    pub fn timed(&mut self, head: &[u8], body: &[u8]) -> Result<(Duration, u16, Vec<u8>)> {
        let begun = Instant::now();
        self.send(head)?;
        self.send(body)?;
        let (status, text) = self.receive()?;
        Ok((begun.elapsed(), status, text))
    }

    /// As [`Self::timed`], where nothing but 200 will do.
    pub fn expect_ok(&mut self, head: &[u8], body: &[u8]) -> Result<Duration> {
        let (took, status, text) = self.timed(head, body)?;
        ensure!(status == 200, "answered {status}: {}", String::from_utf8_lossy(&text));
        Ok(took)
    }
}
