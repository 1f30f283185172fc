//! Requests of real clients, valid and tampered with, judged as a server would: signature, then the
//! body's framing, length and digests. Says nothing of the operation.

#![allow(clippy::unwrap_used)]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use http_body_util::Full;
use s3api::auth::{Access, ChunkSigning, Head, Payload, SigningKeys, authenticate};
use s3api::body::{BodyLimits, open_body, open_manifest, read_all};
use s3api::{Anonymous, Bucket, Code, Credential, Options, Rights, S3Error, Secret};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use types::{BucketId, BucketName, Timestamp};

const FILE: &str = include_str!("sigv4-vectors.json");

/// Where we answer otherwise than the file says, and why.
const OTHERWISE: [(&[&str], Code, &str); 1] = [(
    &["0272", "0273", "0516", "0518"],
    Code::InvalidRequest,
    "version 2 in the Authorization header is off for good: the vectors' note names this answer",
)];

#[test]
fn every_vector_gets_its_answer() {
    let file: Value = serde_json::from_str(FILE).unwrap();
    let vectors = file["vectors"].as_array().unwrap();
    assert_eq!(vectors.len(), 548);
    let keys = SigningKeys::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let mut wrong = Vec::new();
    let mut depth: BTreeMap<&str, usize> = BTreeMap::new();
    for vector in vectors {
        let vector = Vector(vector);
        let got = runtime.block_on(vector.judge(&keys));
        let answer = match &got {
            Ok(checked) => {
                *depth.entry(checked).or_default() += 1;
                "valid".to_owned()
            }
            Err(error) => format!("{} {}", error.code.name(), error.code.status().as_u16()),
        };
        if answer != vector.expected() {
            let cause = got.err().and_then(|error| error.cause).unwrap_or_default();
            wrong.push(format!(
                "{} {}: {answer} ({cause}), not {}",
                vector.text("id"),
                vector.text("snippet"),
                vector.expected()
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), vectors.len(), wrong.join("\n"));
    // So that no change here lets the bodies go unread unseen.
    let expected = [
        ("all", 308),
        ("all, without a body", 132),
        ("the chain of chunks", 13),
        ("the head, and the hash of a body not kept", 9),
    ];
    assert_eq!(depth, BTreeMap::from(expected));
}

struct Vector<'a>(&'a Value);

impl Vector<'_> {
    fn text(&self, name: &str) -> &str {
        self.0[name].as_str().unwrap()
    }

    fn expected(&self) -> String {
        if let Some((_, code, _)) = OTHERWISE.iter().find(|(ids, _, _)| ids.contains(&self.text("id"))) {
            return format!("{} {}", code.name(), code.status().as_u16());
        }
        match &self.0["expected"] {
            Value::String(text) => text.clone(),
            error => format!("{} {}", error["code"].as_str().unwrap(), error["status"]),
        }
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for pair in self.0["headers"].as_array().unwrap() {
            let (name, value) = (pair[0].as_str().unwrap(), pair[1].as_str().unwrap());
            headers.append(
                HeaderName::try_from(name).unwrap(),
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        }
        headers
    }

    fn options(&self) -> Options {
        let bucket = Arc::new(Bucket {
            name: BucketName::new("app1-files").unwrap(),
            id: BucketId(1),
            created: Timestamp(0),
            anonymous: Anonymous::default(),
            anonymous_prefixes: Vec::new(),
            cors: Vec::new(),
        });
        let credential = Credential {
            access_key_id: self.text("access_key").into(),
            secret: Secret::new(self.text("secret").into()),
            rights: Rights::ALL,
            rate: None,
            bucket,
        };
        let second = Duration::from_secs(1);
        Options {
            credentials: HashMap::from([(credential.access_key_id.clone(), credential)]),
            buckets: HashMap::new(),
            domain: None,
            external_url: None,
            sigv2_presigned: true,
            max_head_bytes: 1 << 16,
            max_xml_bytes: 1 << 20,
            head_timeout: second,
            idle_timeout: second,
            body_timeout: second,
            min_body_bytes_per_second: 1,
            max_connections: 1,
            max_requests_in_flight: 1,
            rates: s3api::RateLimits::default(),
            proxies: s3api::Proxies::default(),
            max_buffer_bytes: 64 << 20,
            shutdown_grace: second,
            clock: || Timestamp(0),
        }
    }

    /// How much of it could be checked.
    async fn judge(&self, keys: &SigningKeys) -> Result<&'static str, S3Error> {
        let (headers, method) = (self.headers(), Method::try_from(self.text("method")).unwrap());
        let (path, query) = (self.text("path"), self.text("query"));
        let head = Head { method: &method, path, query, headers: &headers, virtual_bucket: None };
        let now = Timestamp::from_secs(self.0["now"].as_u64().unwrap());
        let Access::Signed(who) = authenticate(&head, &self.options(), keys, now)? else {
            return Err(S3Error::access_denied());
        };
        if method != Method::PUT {
            who.payload.refuse_chunked()?;
        }
        self.judge_body(&headers, &who.payload).await
    }

    async fn judge_body(&self, headers: &HeaderMap, payload: &Payload) -> Result<&'static str, S3Error> {
        let Some(wire) = self.wire() else {
            return self.judge_what_was_kept(headers, payload);
        };
        let length = headers.contains_key("content-length") || headers.contains_key("transfer-encoding");
        if wire.is_empty() && !length {
            return Ok("all, without a body");
        }
        let limits = BodyLimits { timeout: Duration::from_secs(1), min_bytes_per_second: 1 };
        let is_complete = self.text("method") == "POST" && self.text("query").starts_with("uploadId=");
        let open = if is_complete { open_manifest } else { open_body };
        let (source, promised) = open(headers, Some(payload), Full::new(wire), limits)?;
        let content = read_all(source, 1 << 30).await?;
        assert_eq!(promised.size.unwrap_or(content.len() as u64), content.len() as u64);
        if let Some(hash) = self.0["body"]["decoded_sha256"].as_str() {
            assert_eq!(hex(&Sha256::digest(&content)), hash);
        }
        Ok("all")
    }

    /// The body as it came, where it was kept or can be made again.
    fn wire(&self) -> Option<Bytes> {
        let body = &self.0["body"];
        if let Some(text) = body["b64"].as_str() {
            return Some(STANDARD.decode(text).unwrap().into());
        }
        let content = match body.get("decoded") {
            Some(decoded) => filled(decoded)?,
            None => return filled(body).map(Bytes::from),
        };
        let (mut wire, mut rest) = (Vec::new(), content.as_slice());
        for chunk in body["chunked"].as_array()? {
            let (data, behind) = rest.split_at(usize::try_from(chunk["size"].as_u64()?).ok()?);
            wire.extend_from_slice(chunk["hdr"].as_str()?.as_bytes());
            wire.extend_from_slice(b"\r\n");
            wire.extend_from_slice(data);
            if !data.is_empty() {
                wire.extend_from_slice(b"\r\n");
            }
            rest = behind;
        }
        wire.extend_from_slice(body["tail"].as_str()?.as_bytes());
        assert_eq!(Some(hex(&Sha256::digest(&wire)).as_str()), body["wire_sha256"].as_str());
        Some(wire.into())
    }

    /// Bodies of which only hashes were kept: the promises of the head, and the signatures.
    fn judge_what_was_kept(&self, headers: &HeaderMap, payload: &Payload) -> Result<&'static str, S3Error> {
        let limits = BodyLimits { timeout: Duration::from_secs(1), min_bytes_per_second: 1 };
        let (_, promised) = open_body(headers, Some(payload), Full::new(Bytes::new()), limits)?;
        let body = &self.0["body"];
        let Some(chunks) = body["chunked"].as_array() else {
            assert_eq!(promised.size, body["len"].as_u64());
            if let Some(hash) = promised.payload_sha256 {
                assert_eq!(Some(hex(&hash).as_str()), body["sha256"].as_str());
            }
            return Ok("the head, and the hash of a body not kept");
        };
        assert_eq!(promised.size, body["decoded_len"].as_u64());
        if let Payload::SignedChunks { signing, trailer } = payload {
            follow(signing, *trailer, chunks, body["tail"].as_str().unwrap());
        }
        Ok("the chain of chunks")
    }
}

fn follow(signing: &ChunkSigning, trailer: bool, chunks: &[Value], tail: &str) {
    let mut previous = signing.seed().to_owned();
    for chunk in chunks {
        let hash = chunk["sha256"].as_str().unwrap();
        previous = signing.chunk(&previous, hash);
        assert_eq!(chunk["hdr"].as_str().unwrap().split_once("chunk-signature=").unwrap().1, previous);
    }
    if trailer {
        let (line, signature) = tail.split_once("x-amz-trailer-signature:").unwrap();
        let hash = hex(&Sha256::digest(format!("{}\n", line.trim_end())));
        assert_eq!(signature.trim_end(), signing.trailer(&previous, &hash));
    }
}

fn filled(body: &Value) -> Option<Vec<u8>> {
    let fill = u8::try_from(body["fill"].as_u64()?).ok()?;
    Some(vec![fill; usize::try_from(body["len"].as_u64()?).ok()?])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
