//! From a request's target to bucket, key and operation; percent-encoding; encoded words.
//!
//! Input: a line with the host, a line with the method, then the target.

use crate::text::first_line;
use http::{HeaderMap, Method};
use meta::keyspace;
use s3api::fuzz::{Query, percent, rfc2047};
use s3api::operation::Operation;
use s3api::router::{route, target};
use types::{BucketId, BucketName, Key, UploadId};

pub fn run(data: &[u8]) {
    let (host, rest) = first_line(data);
    let (method, uri) = first_line(rest);
    texts(uri);
    let (Ok(host), Ok(uri)) = (std::str::from_utf8(host), std::str::from_utf8(uri)) else { return };
    let method = Method::from_bytes(method).unwrap_or(Method::PUT);
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    let Ok(target) = target(path, Some(host), Some("s3.example.org")) else { return };
    if let Some(key) = &target.key {
        stays(key);
    }
    if let Ok(query) = Query::parse(query) {
        let mut headers = HeaderMap::new();
        let plain = route(&method, &target, &query, &headers);
        headers.insert("x-amz-copy-source", http::HeaderValue::from_static("b/k"));
        let copy = route(&method, &target, &query, &headers);
        for operation in [plain, copy].into_iter().flatten() {
            is_what_was_asked(operation, &query);
        }
    }
}

/// A sub-resource never falls through to the plain verb.
fn is_what_was_asked(operation: Operation, query: &Query<'_>) {
    let subs = ["acl", "delete", "partNumber", "policy", "tagging", "uploadId", "uploads", "versions"];
    let plain = matches!(operation, Operation::PutObject | Operation::CopyObject | Operation::DeleteObject);
    for (name, _) in query.iter() {
        let part_number_alone = name == "partNumber" && operation == Operation::DeleteObject;
        assert!(!plain || part_number_alone || !subs.contains(&name), "{operation:?} with {name}");
    }
}

/// A key comes back from every form that it is given.
fn stays(key: &Key) {
    let path = format!("/b/{}", percent::encode_path(key.as_str()));
    let again = target(&path, None, None).ok().and_then(|target| target.key);
    assert_eq!(again.as_ref(), Some(key), "{path}");
    let id = UploadId { sequence: 1, secret: 2 };
    let stored = keyspace::upload(BucketId(7), key, id);
    assert_eq!(keyspace::split_upload(&stored), Ok((BucketId(7), key.clone(), id)));
}

fn texts(bytes: &[u8]) {
    let _ = percent::decode(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for encoded in [percent::encode_path(text).to_string(), percent::encode_value(text).to_string()] {
        assert_eq!(percent::decode_text(&encoded).as_deref(), Some(text));
    }
    let encoded = rfc2047::encode(text);
    assert!(encoded.bytes().all(|byte| matches!(byte, 0x20..=0x7e)));
    assert_eq!(rfc2047::decode(&encoded), text, "{encoded}");
    let _ = BucketName::new(text);
}
