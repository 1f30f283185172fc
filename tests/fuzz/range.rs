//! `Range`, `x-amz-copy-source-range`, conditions and dates: short texts with a grammar each.
//!
//! Input: a line with the object's size, then the header's text.

use crate::text::first_line;
use http::{HeaderMap, HeaderName, HeaderValue};
use s3api::fuzz::{conditions, dates};
use s3api::range::{self, Ranged};
use types::{ETag, Timestamp};

const NOW: Timestamp = Timestamp(1_795_485_000_000);

pub fn run(data: &[u8]) {
    let (size, text) = first_line(data);
    let size = std::str::from_utf8(size).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(1000);
    if let Ok(value) = HeaderValue::from_bytes(text) {
        conditions(&value);
    }
    let Ok(text) = std::str::from_utf8(text) else { return };
    if let Ranged::Part(part) = range::parse(text, size) {
        assert!(part.start < part.end && part.end <= size);
    }
    if let Some(part) = range::parse_copy(text) {
        assert!(part.start < part.end);
    }
    if let Some(date) = dates::parse(text) {
        let seconds = Timestamp::from_secs(date.secs());
        assert_eq!(dates::parse(&dates::http_date(date)), Some(seconds));
    }
    if let Some(tag) = ETag::parse(text) {
        assert_eq!(ETag::parse(&tag.to_string()), Some(tag));
    }
}

fn conditions(value: &HeaderValue) {
    let mut headers = HeaderMap::new();
    for name in ["if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range"] {
        headers.insert(name, value.clone());
        if let Ok(name) = HeaderName::try_from(format!("x-amz-copy-source-{name}")) {
            headers.insert(name, value.clone());
        }
    }
    let _ = conditions::read(&headers, NOW);
    let _ = conditions::copy_source(&headers, NOW);
    let _ = conditions::write(&headers);
    let _ = conditions::range_applies(&headers, &ETag::single([1; 16]), NOW);
}
