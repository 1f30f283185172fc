//! Continuation tokens, and the other parameters of listings.
//!
//! Input: lines: marker, prefix, delimiter.

use s3api::fuzz::{as_group, page_size, part_marker};
use s3api::token;
use store::ListStart;
use types::UploadId;

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lines = text.split('\n');
    let mut next = || lines.next().unwrap_or_default();
    let (marker, prefix, delimiter) = (next(), next(), next());
    read(marker);
    made(text);
    if let Some(group) = as_group(marker, prefix, Some(delimiter)) {
        assert!(group.starts_with(prefix) && group.ends_with(delimiter) && !delimiter.is_empty());
    }
}

fn read(text: &str) {
    if let Some(start) = token::decode("bucket", text) {
        assert_eq!(token::encode("bucket", &start).as_deref(), Some(text), "two tokens for one place");
    }
    if let Some(id) = UploadId::parse(text) {
        assert_eq!(id.to_string(), text);
    }
    if let Ok(size) = page_size("max-keys", Some(text)) {
        assert!(size <= 1000);
    }
    let _ = part_marker("part-number-marker", Some(text));
}

fn made(text: &str) {
    for start in [ListStart::After(text.to_owned()), ListStart::AfterGroup(text.to_owned())] {
        let Some(token) = token::encode("bucket", &start) else { panic!("a place has a token") };
        // Markers are keys and prefixes: longer ones are not read back.
        if text.len() <= types::MAX_KEY_BYTES {
            assert_eq!(token::decode("bucket", &token), Some(start));
        }
        assert_eq!(token::decode("bucket2", &token), None);
    }
}
