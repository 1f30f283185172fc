//! Who made a request: the `Authorization` header, presigned URLs of both versions, and what the
//! signed head promises of the body.
//!
//! Input: a request as on the wire, body included. The time is what the request says it is, so
//! that recorded requests stay valid.

use crate::pieces::{self, Cut};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use s3api::auth::{Access, Authenticated, Head, SigningKeys, authenticate};
use s3api::body::{BodyLimits, open_body, open_manifest, read_all};
use s3api::fuzz::auth as known;
use s3api::{Credential, Options, S3Error, Secret};
use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::Duration;
use types::Timestamp;

/// Of the recorded requests.
pub const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfi...";
const LIMITS: BodyLimits = BodyLimits { timeout: Duration::from_secs(60), min_bytes_per_second: 1 };

static RIGHT: LazyLock<(Options, SigningKeys)> = LazyLock::new(|| options(SECRET));
static WRONG: LazyLock<(Options, SigningKeys)> = LazyLock::new(|| options("not the secret"));

fn options(secret: &str) -> (Options, SigningKeys) {
    let credential = Credential { secret: Secret::new(secret.to_owned()), ..known::credential() };
    let credentials = HashMap::from([(credential.access_key_id.clone(), credential)]);
    (Options { credentials, ..known::options() }, SigningKeys::new())
}

pub fn run(data: &[u8]) {
    let Some((request, body)) = parse(data) else { return };
    let now = request.says_when();
    let Ok(Access::Signed(who)) = request.judge(&RIGHT, now) else { return };
    assert!(request.judge(&WRONG, now).is_err(), "a signature that needs no secret");
    let whole = read(&request.headers, &who, body, 0);
    for size in [1, 7] {
        assert_eq!(code(&whole), code(&read(&request.headers, &who, body, size)));
    }
}

struct Request {
    method: Method,
    path: String,
    query: String,
    headers: HeaderMap,
}

/// The request, and the bytes behind its head.
fn parse(data: &[u8]) -> Option<(Request, &[u8])> {
    let mut lines = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Request::new(&mut lines);
    let httparse::Status::Complete(length) = head.parse(data).ok()? else { return None };
    let (path, query) = head.path?.split_once('?').unwrap_or((head.path?, ""));
    let mut headers = HeaderMap::new();
    for line in &*head.headers {
        headers.append(
            HeaderName::from_bytes(line.name.as_bytes()).ok()?,
            HeaderValue::from_bytes(line.value).ok()?,
        );
    }
    let method = Method::from_bytes(head.method?.as_bytes()).ok()?;
    Some((Request { method, path: path.to_owned(), query: query.to_owned(), headers }, &data[length..]))
}

impl Request {
    fn judge(&self, (options, keys): &(Options, SigningKeys), now: Timestamp) -> Result<Access, S3Error> {
        let head = Head {
            method: &self.method,
            path: &self.path,
            query: &self.query,
            headers: &self.headers,
            virtual_bucket: None,
        };
        authenticate(&head, options, keys, now)
    }

    fn says_when(&self) -> Timestamp {
        let header = self.headers.get("x-amz-date").and_then(|value| value.to_str().ok());
        let in_query = || self.query.split('&').find_map(|pair| pair.strip_prefix("X-Amz-Date="));
        let date = header.or_else(in_query).and_then(known::parse_date);
        date.map_or(known::NOW, Timestamp::from_secs)
    }
}

fn read(headers: &HeaderMap, who: &Authenticated, body: &[u8], size: usize) -> Result<Vec<u8>, S3Error> {
    let payload = Some(&who.payload);
    // The other reading of the head must not panic either.
    let _ = open_manifest(headers, payload, Cut::into_pieces_of(size, body), LIMITS);
    let (source, promised) = open_body(headers, payload, Cut::into_pieces_of(size, body), LIMITS)?;
    let content = pieces::run(read_all(source, 1 << 20))?;
    assert!(promised.size.is_none_or(|size| size == content.len() as u64));
    Ok(content)
}

fn code(outcome: &Result<Vec<u8>, S3Error>) -> Result<&[u8], s3api::Code> {
    outcome.as_deref().map_err(|error| error.code)
}
