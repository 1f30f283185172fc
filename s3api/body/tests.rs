#![allow(clippy::unwrap_used)]

use super::*;
use http_body::Frame;
use http_body_util::Full;
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::time::Sleep;

const LIMITS: BodyLimits = BodyLimits { timeout: Duration::from_secs(5), min_bytes_per_second: 1 };

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(*name, value.parse().unwrap());
    }
    headers
}

fn full(text: &str) -> Full<Bytes> {
    Full::new(Bytes::copy_from_slice(text.as_bytes()))
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

/// An anonymous body read as a whole.
fn read(pairs: &[(&'static str, &str)], text: &str) -> std::result::Result<Vec<u8>, Code> {
    run(async {
        let (source, _) = open_body(&headers(pairs), None, full(text), LIMITS)?;
        read_all(source, 1000).await
    })
    .map_err(|error: S3Error| error.code)
}

const CHUNKED: (&str, &str) = ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER");

#[test]
fn plain_bodies() {
    assert_eq!(read(&[("content-length", "5")], "hello").unwrap(), b"hello");
    assert_eq!(read(&[("transfer-encoding", "chunked")], "hello").unwrap(), b"hello");
    assert_eq!(read(&[], "hello"), Err(Code::MissingContentLength));
    assert_eq!(read(&[("content-length", "6")], "hello"), Err(Code::IncompleteBody));
    assert_eq!(read(&[("content-length", "4")], "hello"), Err(Code::IncompleteBody));
    assert_eq!(read(&[("content-length", "1001")], "hello"), Err(Code::MaxMessageLengthExceeded));
    assert_eq!(
        read(&[("transfer-encoding", "chunked")], &"a".repeat(1001)),
        Err(Code::MaxMessageLengthExceeded)
    );
}

#[test]
fn digests() {
    let with = |name, value| read(&[("content-length", "5"), (name, value)], "hello");
    assert!(with("content-md5", "XUFAKrxLKna5cZ2REBfFkg==").is_ok());
    assert_eq!(with("content-md5", "AAAAAAAAAAAAAAAAAAAAAA=="), Err(Code::BadDigest));
    for bad in ["", "AAAA", "!"] {
        assert_eq!(with("content-md5", bad), Err(Code::InvalidDigest));
    }
    assert!(with("x-amz-checksum-crc64nvme", "M3eFcAZSQlc=").is_ok());
    assert_eq!(with("x-amz-checksum-crc32", "AAAAAA=="), Err(Code::BadDigest));
    assert_eq!(with("x-amz-checksum-crc32", "AAAA"), Err(Code::InvalidRequest));
    assert_eq!(with("x-amz-checksum-md6", "AAAA"), Err(Code::InvalidRequest));
    assert!(with("x-amz-checksum-mode", "ENABLED").is_ok());
    assert_eq!(with("x-amz-content-sha256", &"0".repeat(64)), Err(Code::XAmzContentSHA256Mismatch));
}

#[test]
fn checksum_headers_must_agree() {
    let with = |more: &[(&'static str, &str)]| {
        let mut pairs = vec![("content-length", "5")];
        pairs.extend_from_slice(more);
        read(&pairs, "hello")
    };
    let crc = ("x-amz-checksum-crc32", "NhCmhg==");
    assert!(with(&[crc, ("x-amz-sdk-checksum-algorithm", "crc32")]).is_ok());
    for bad in [
        vec![crc, crc],
        vec![crc, ("x-amz-checksum-crc32c", "mnG7TA==")],
        vec![crc, ("x-amz-sdk-checksum-algorithm", "SHA1")],
        vec![crc, ("x-amz-sdk-checksum-algorithm", "MD6")],
        vec![("x-amz-sdk-checksum-algorithm", "CRC32")],
        vec![("x-amz-trailer", "x-amz-checksum-crc32")],
    ] {
        assert_eq!(with(&bad), Err(Code::InvalidRequest), "{bad:?}");
    }
}

#[test]
fn an_asked_algorithm_is_handed_on() {
    let pairs = [("content-length", "5"), ("x-amz-checksum-algorithm", "SHA1")];
    let (_, promised) = open_body(&headers(&pairs), None, full("hello"), LIMITS).unwrap();
    assert_eq!((promised.algorithm, promised.size), (Some(types::Algorithm::Sha1), Some(5)));
}

#[test]
fn chunked_bodies() {
    let length = ("x-amz-decoded-content-length", "5");
    let trailer = ("x-amz-trailer", "x-amz-checksum-crc32");
    let text = "5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n";
    assert_eq!(read(&[CHUNKED, length, trailer], text).unwrap(), b"hello");
    assert_eq!(read(&[CHUNKED, length], "5\r\nhello\r\n0\r\n\r\n").unwrap(), b"hello");
    assert_eq!(read(&[CHUNKED, trailer], text), Err(Code::MissingContentLength));
    assert_eq!(read(&[CHUNKED, length, trailer], &text.replace("hello", "HELLO")), Err(Code::BadDigest));
    assert_eq!(read(&[CHUNKED, length, ("x-amz-trailer", "x-amz-meta-a")], text), Err(Code::InvalidRequest));
    let header = ("x-amz-checksum-crc32", "NhCmhg==");
    assert!(read(&[CHUNKED, length, trailer, header], text).is_ok());
    assert_eq!(
        read(&[CHUNKED, length, trailer, ("x-amz-checksum-crc32", "AAAAAA==")], text),
        Err(Code::BadDigest)
    );
    assert_eq!(
        read(&[CHUNKED, length, trailer, ("x-amz-checksum-crc32c", "mnG7TA==")], text),
        Err(Code::InvalidRequest)
    );
    let signed = ("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD");
    assert_eq!(read(&[signed, length], text), Err(Code::InvalidRequest));
}

/// The trailer is asked for after the end only.
#[test]
fn the_trailer_comes_behind_the_content() {
    let pairs = [CHUNKED, ("x-amz-decoded-content-length", "5"), ("x-amz-trailer", "x-amz-checksum-crc32")];
    let text = "5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n";
    let (mut source, promised) = open_body(&headers(&pairs), None, full(text), LIMITS).unwrap();
    assert_eq!((promised.size, promised.algorithm), (Some(5), Some(types::Algorithm::Crc32)));
    run(async {
        assert_eq!(source.next().await.unwrap().unwrap(), "hello");
        assert_eq!(source.trailer(), None);
        assert!(source.next().await.unwrap().is_none());
        assert_eq!(source.trailer().unwrap().to_base64(), "NhCmhg==");
        assert!(source.next().await.unwrap().is_none());
    });
}

#[test]
fn a_manifest_has_the_checksum_of_its_object() {
    let pairs = [("content-length", "5"), ("x-amz-checksum-crc32", "AAAAAA==-2")];
    let (source, promised) = open_manifest(&headers(&pairs), None, full("hello"), LIMITS).unwrap();
    assert_eq!(promised.checksum, None);
    assert_eq!(run(read_all(source, 10)).unwrap(), b"hello");
}

/// Frames, each after a wait.
struct Slow {
    frames: VecDeque<std::result::Result<&'static str, std::io::Error>>,
    wait: Duration,
    sleep: Pin<Box<Sleep>>,
    polled: bool,
}

impl Slow {
    fn new(frames: impl IntoIterator<Item = &'static str>, wait: Duration) -> Self {
        let sleep = Box::pin(tokio::time::sleep(wait));
        Self { frames: frames.into_iter().map(Ok).collect(), wait, sleep, polled: false }
    }
}

impl Body for Slow {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<std::io::Result<Frame<Bytes>>>> {
        self.polled = true;
        if self.sleep.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        let again = tokio::time::Instant::now() + self.wait;
        self.sleep.as_mut().reset(again);
        let frame = self.frames.pop_front();
        Poll::Ready(frame.map(|frame| frame.map(|text| Frame::data(Bytes::from_static(text.as_bytes())))))
    }
}

fn slow(frames: usize, wait_ms: u64, limits: BodyLimits) -> std::result::Result<Vec<u8>, Code> {
    run(async {
        let body = Slow::new(std::iter::repeat_n("0123456789", frames), Duration::from_millis(wait_ms));
        let (source, _) = open_body(&headers(&[("transfer-encoding", "chunked")]), None, body, limits)?;
        read_all(source, 1000).await
    })
    .map_err(|error: S3Error| error.code)
}

#[test]
fn opening_does_not_poll() {
    run(async {
        let (source, _) =
            open_body(&headers(&[("content-length", "0")]), None, Slow::new([], Duration::ZERO), LIMITS)
                .unwrap();
        assert!(!source.incoming.polled);
    });
}

#[test]
fn progress_counts_and_not_total_time() {
    let limits = BodyLimits { timeout: Duration::from_millis(100), min_bytes_per_second: 100 };
    assert_eq!(slow(30, 10, limits).unwrap().len(), 300);
    assert_eq!(
        slow(30, 10, BodyLimits { min_bytes_per_second: 10_000, ..limits }),
        Err(Code::RequestTimeout)
    );
    assert_eq!(slow(2, 300, limits), Err(Code::RequestTimeout));
}

#[test]
fn a_broken_connection_is_an_incomplete_body() {
    let code = run(async {
        let mut body = Slow::new(["hello"], Duration::ZERO);
        body.frames.push_back(Err(std::io::Error::other("gone")));
        let (source, _) = open_body(&headers(&[("content-length", "10")]), None, body, LIMITS)?;
        read_all(source, 1000).await
    });
    assert_eq!(code.map_err(|error: S3Error| error.code), Err(Code::IncompleteBody));
}

#[test]
fn an_error_is_for_good() {
    let pairs = [CHUNKED, ("x-amz-decoded-content-length", "0")];
    let text = "0\r\nrubbish\r\n\r\n";
    let (mut source, _) = open_body(&headers(&pairs), None, full(text), LIMITS).unwrap();
    run(async {
        assert!(source.next().await.is_err());
        assert!(source.next().await.is_err());
    });
}

/// The store hands our own errors back untouched.
#[test]
fn errors_survive_the_store() {
    let error = run(async {
        let (mut source, _) =
            open_body(&headers(&[("content-length", "9")]), None, full("hello"), LIMITS).unwrap();
        source.next().await.unwrap();
        source.next().await.unwrap_err()
    });
    assert_eq!(S3Error::from(StoreError::Source(error)).code, Code::IncompleteBody);
}
