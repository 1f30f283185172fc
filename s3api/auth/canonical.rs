//! The canonical form of a request, which signatures of version 4 cover
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>).
//!
//! S3's own rules: the path is encoded once, and never cleaned of `//`, `.` or `..`.

use super::Head;
use super::query::pairs;
use http::{HeaderMap, HeaderValue};

/// What of a request is signed, beside the head itself.
pub(super) struct Signed<'a> {
    /// `SignedHeaders`, as sent.
    pub headers: &'a str,
    /// `x-amz-content-sha256`, as sent.
    pub payload: &'a str,
    /// Stands in for the `Host` header.
    pub host: Option<&'a str>,
}

pub(super) fn request(head: &Head<'_>, signed: &Signed<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(512 + head.path.len() + head.query.len());
    out.extend_from_slice(head.method.as_str().as_bytes());
    out.push(b'\n');
    encode(head.path, true, &mut out);
    out.push(b'\n');
    query(head.query, &mut out);
    out.push(b'\n');
    for name in signed.headers.split(';') {
        header(head.headers, name, signed.host, &mut out);
    }
    out.push(b'\n');
    out.extend_from_slice(signed.headers.as_bytes());
    out.push(b'\n');
    out.extend_from_slice(signed.payload.as_bytes());
    out
}

/// Decoded and encoded again, since some clients encode more or less than S3's rules say.
fn encode(raw: &str, keep_slash: bool, out: &mut Vec<u8>) {
    for byte in percent_encoding::percent_decode_str(raw) {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte),
            b'/' if keep_slash => out.push(byte),
            _ => out.extend_from_slice(&[b'%', hex(byte >> 4), hex(byte & 15)]),
        }
    }
}

fn hex(nibble: u8) -> u8 {
    match nibble {
        0..=9 => b'0' + nibble,
        _ => b'A' + (nibble - 10),
    }
}

/// Every parameter but the signature itself, sorted by encoded name, then encoded value.
fn query(raw: &str, out: &mut Vec<u8>) {
    let mut encoded: Vec<(Vec<u8>, Vec<u8>)> = pairs(raw)
        .filter(|(name, _)| *name != "X-Amz-Signature")
        .map(|(name, value)| (encoded(name), encoded(value.unwrap_or_default())))
        .collect();
    encoded.sort();
    for (n, (name, value)) in encoded.iter().enumerate() {
        if n > 0 {
            out.push(b'&');
        }
        out.extend_from_slice(name);
        out.push(b'=');
        out.extend_from_slice(value);
    }
}

fn encoded(raw: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len() + 8);
    encode(raw, false, &mut out);
    out
}

/// Repeated lines joined by a comma.
fn header(headers: &HeaderMap, name: &str, host: Option<&str>, out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.push(b':');
    match host.filter(|_| name.eq_ignore_ascii_case("host")) {
        Some(host) => out.extend_from_slice(host.as_bytes()),
        None => {
            for (n, value) in headers.get_all(name).iter().enumerate() {
                if n > 0 {
                    out.push(b',');
                }
                squeeze(value, out);
            }
        }
    }
    out.push(b'\n');
}

/// Without blanks at the ends, with one blank for each run of them. Only U+0020 is a blank here.
fn squeeze(value: &HeaderValue, out: &mut Vec<u8>) {
    let words = value.as_bytes().split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    for (n, word) in words.enumerate() {
        if n > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(word);
    }
}

/// `host` and every `x-amz-*` header must be signed; the names that are not, joined by commas.
pub(super) fn unsigned_headers(headers: &HeaderMap, signed: &str) -> Option<String> {
    let is_signed = |name: &str| signed.split(';').any(|candidate| candidate.eq_ignore_ascii_case(name));
    let mut missing: Vec<&str> = headers
        .keys()
        .map(http::HeaderName::as_str)
        .filter(|name| name.starts_with("x-amz-") && !is_signed(name))
        .collect();
    if !is_signed("host") {
        missing.insert(0, "host");
    }
    (!missing.is_empty()).then(|| missing.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(raw: &str) -> String {
        let mut out = Vec::new();
        encode(raw, true, &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    fn sorted(raw: &str) -> String {
        let mut out = Vec::new();
        query(raw, &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn paths_are_encoded_once() {
        assert_eq!(path("/a%c3%bc/%7E(x)+%2B%2541"), "/a%C3%BC/~%28x%29%2B%2B%2541");
        assert_eq!(path("//./../%"), "//./../%25");
    }

    #[test]
    fn queries_are_sorted() {
        assert_eq!(sorted("b=2&a=/&a=%20&delete"), "a=%20&a=%2F&b=2&delete=");
        assert_eq!(sorted("X-Amz-Signature=1&x=y+z&&=1"), "=1&x=y%2Bz");
        assert_eq!(sorted(""), "");
    }

    #[test]
    fn blanks_are_squeezed() {
        let mut out = Vec::new();
        squeeze(&HeaderValue::from_static("  two   \t spaces  "), &mut out);
        assert_eq!(out, b"two \t spaces");
    }
}
