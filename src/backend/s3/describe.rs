//! What S3 keeps beside a replica: the client's headers and metadata as its own, and our identity.
//!
//! S3 metadata travels in headers, is limited to 2 KB, and its values should be ASCII
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html>). Other values are written in base64.

use crate::{NewReplica, Pairs};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const MAX_BYTES: usize = 2048;
const IDENTITY: &str = "s3o-";
/// A header that S3 has no field for, or whose value it could not carry.
const HEADER: &str = "s3o-header-";
/// Metadata of the client whose name looks like ours.
const METADATA: &str = "s3o-meta-";
/// Says that something was left out for want of room.
const INCOMPLETE: (&str, &str) = ("s3o-incomplete", "1");
/// Not an encoded word of RFC 2047: some servers decode those, and encode them anew in their own way.
const ENCODED: &str = "utf-8;base64,";

/// What a PUT is sent with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dress {
    pub content_type: Option<String>,
    pub cache_control: Option<String>,
    pub content_disposition: Option<String>,
    pub content_encoding: Option<String>,
    pub content_language: Option<String>,
    pub metadata: Vec<(String, String)>,
}

impl Dress {
    pub fn of(new: &NewReplica) -> Self {
        let mut dress = Self::default();
        let mut room = MAX_BYTES - INCOMPLETE.0.len() - INCOMPLETE.1.len();
        let mut complete = true;
        // The most important first.
        let identity = new.identity.iter().map(|(name, value)| (format!("{IDENTITY}{name}"), value));
        let metadata = new.metadata.iter().map(|(name, value)| (of_client(name), value));
        let mut rest = Vec::new();
        for (name, value) in &new.headers {
            match dress.field(name) {
                Some(field) if is_plain(value) => *field = Some(value.clone()),
                _ => rest.push((format!("{HEADER}{name}"), value)),
            }
        }
        for (name, value) in identity.chain(rest).chain(metadata) {
            let value = encode(value);
            match room.checked_sub(name.len() + value.len()) {
                Some(left) => {
                    room = left;
                    dress.metadata.push((name, value));
                }
                None => complete = false,
            }
        }
        if !complete {
            dress.metadata.push((INCOMPLETE.0.to_owned(), INCOMPLETE.1.to_owned()));
        }
        dress
    }

    fn field(&mut self, name: &str) -> Option<&mut Option<String>> {
        match name {
            "content-type" => Some(&mut self.content_type),
            "cache-control" => Some(&mut self.cache_control),
            "content-disposition" => Some(&mut self.content_disposition),
            "content-encoding" => Some(&mut self.content_encoding),
            "content-language" => Some(&mut self.content_language),
            _ => None,
        }
    }
}

/// What a HEAD has brought, in the terms of the trait.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Undressed {
    pub headers: Pairs,
    pub metadata: Pairs,
    pub identity: Pairs,
}

impl Undressed {
    pub fn header(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.headers.push((name.to_owned(), value.to_owned()));
        }
    }

    pub fn metadata(&mut self, name: &str, value: &str) {
        let name = name.to_ascii_lowercase();
        let value = decode(value);
        let (pairs, name) = if let Some(name) = name.strip_prefix(HEADER) {
            (&mut self.headers, name)
        } else if let Some(name) = name.strip_prefix(METADATA) {
            (&mut self.metadata, name)
        } else if let Some(name) = name.strip_prefix(IDENTITY) {
            (&mut self.identity, name)
        } else {
            (&mut self.metadata, name.as_str())
        };
        pairs.push((name.to_owned(), value));
    }
}

fn of_client(name: &str) -> String {
    match name.starts_with(IDENTITY) {
        true => format!("{METADATA}{name}"),
        false => name.to_owned(),
    }
}

/// Whether a header can carry the value, and nobody on the way will trim it.
fn is_plain(value: &str) -> bool {
    let printable = value.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    printable && value.trim_ascii() == value && !value.is_empty()
}

fn encode(value: &str) -> String {
    let misread = value.starts_with(ENCODED) || value.contains("=?");
    match is_plain(value) && !misread {
        true => value.to_owned(),
        false => format!("{ENCODED}{}", STANDARD.encode(value)),
    }
}

fn decode(value: &str) -> String {
    let bytes = value.strip_prefix(ENCODED).and_then(|text| STANDARD.decode(text).ok());
    bytes.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_else(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::BlobId;

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn what_is_put_on_comes_off_again() {
        let mut new = NewReplica::of(BlobId(1));
        new.headers = vec![pair("content-type", "text/plain"), pair("expires", "0")];
        new.metadata = vec![
            pair("mtime", "1.5"),
            pair("s3o-x", " ü "),
            pair("word", "=?UTF-8?B?eA==?="),
            pair("x", "utf-8;base64,eA=="),
        ];
        new.identity = vec![pair("key", "a/ü"), pair("empty", "")];
        let dress = Dress::of(&new);
        assert!(dress.metadata.iter().all(|(_, value)| is_plain(value)));
        let mut off = Undressed::default();
        off.header("content-type", dress.content_type.as_deref());
        dress.metadata.iter().for_each(|(name, value)| off.metadata(name, value));
        assert_eq!(off, Undressed { headers: new.headers, metadata: new.metadata, identity: new.identity });
    }

    #[test]
    fn what_has_no_room_is_left_out_and_said() {
        let mut new = NewReplica::of(BlobId(1));
        new.metadata = vec![pair("long", &"x".repeat(2000))];
        new.identity = vec![pair("key", &"k".repeat(1000))];
        let dress = Dress::of(&new);
        let names: Vec<_> = dress.metadata.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["s3o-key", "s3o-incomplete"]);
    }
}
