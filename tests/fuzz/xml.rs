//! Documents that clients send: the list of parts, of keys to delete, of tags.
//!
//! Input: a document.

use s3api::fuzz::{parse_complete, parse_delete, parse_tagging};
use s3api::xml::{self, Writer};
use types::MAX_PARTS;

pub fn run(data: &[u8]) {
    if let Ok(parts) = parse_complete(data) {
        assert!((1..=usize::from(MAX_PARTS)).contains(&parts.len()));
        assert!(parts.iter().all(|part| (1..=MAX_PARTS).contains(&part.number)));
    }
    if let Ok(batch) = parse_delete(data) {
        assert!((1..=1000).contains(&batch.entries.len()));
        batch.entries.iter().for_each(|entry| survives(&entry.name));
    }
    if let Ok(tags) = parse_tagging(data) {
        for (key, value) in tags.pairs() {
            survives(key);
            survives(value);
        }
    }
    if let Some(root) = std::str::from_utf8(data).ok().and_then(root) {
        let _ = xml::parse(data, root);
    }
}

/// The name of the first element, so that any document is read to its end.
fn root(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once('<')?;
    rest.split(|c: char| !c.is_ascii_alphanumeric()).next()
}

/// What was read from a document is written so that it is read again.
fn survives(text: &str) {
    let mut writer = Writer::plain("Answer");
    writer.text("Key", text);
    let document = writer.finish("Answer").into_bytes();
    let read = xml::parse(&document, "Answer").expect("our own document");
    assert_eq!(read.text_of("Key").expect("our own element"), text);
}
