//! Headers that are stored with an object, and given back.
//!
//! Input: header lines.

use crate::text;
use http::HeaderMap;
use s3api::RequestId;
use s3api::fuzz::headers;

pub fn run(data: &[u8]) {
    let map = text::headers(data);
    let _ = headers::refuse_unsupported(&map);
    let _ = headers::checksum_kind(&map);
    let _ = headers::algorithm(&map, "x-amz-checksum-algorithm");
    assert!(!RequestId::choose(&map).as_str().is_empty());
    let Ok(object) = headers::object_headers(&map) else { return };
    let mut answer = HeaderMap::new();
    headers::put_object_headers(&object, &mut answer);
    assert!(!answer.contains_key("x-amz-missing-meta"), "metadata that came by HTTP goes by HTTP");
    let again = headers::object_headers(&answer).expect("our own headers");
    let sorted = |mut pairs: Vec<(String, String)>| {
        pairs.sort();
        pairs
    };
    assert_eq!(sorted(again.user_metadata), sorted(object.user_metadata));
    assert_eq!(again.cache_control, object.cache_control);
    assert_eq!(again.content_encoding, object.content_encoding);
    assert_eq!(again.expires, object.expires);
    assert_eq!(again.storage_class, object.storage_class);
}
