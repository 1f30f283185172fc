//! What a request head must look like before hyper may see it.
//!
//! hyper accepts heads that two servers can read in two ways: bare line feeds, no or two `Host`
//! lines, `Transfer-Encoding: gzip, chunked`, a length beside chunks. Whatever is ambiguous is
//! refused here, once, and what passes is never refused by hyper.

use memchr::{memchr, memchr_iter};

use crate::error::{Code, S3Error};
use crate::framing::Framing;
use crate::limits::{MAX_HEADERS, MAX_TARGET_BYTES};

/// How far a buffer that begins with a head reaches.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// The head's length, with its empty line.
    Whole(usize),
    /// Every line before this position is fine so far: go on from here.
    Part(usize),
    /// No bytes to come can make this a head.
    Malformed,
}

/// Finds the end of the head; `from` is where an earlier look at the same bytes stopped.
pub(crate) fn extent(buffer: &[u8], from: usize) -> Extent {
    if buffer.first().is_some_and(|byte| !is_token(*byte)) {
        return Extent::Malformed;
    }
    let mut line_start = from;
    for feed in memchr_iter(b'\n', buffer.get(from..).unwrap_or_default()).map(|at| at + from) {
        match buffer.get(line_start..feed) {
            Some(b"\r") => return Extent::Whole(feed + 1),
            Some(line) if line.ends_with(b"\r") => line_start = feed + 1,
            // RFC 9112, section 2.2 lets a server take a bare LF for a line's end, or not.
            _ => return Extent::Malformed,
        }
    }
    Extent::Part(line_start)
}

/// Checks a whole head and says how its body is framed.
pub(crate) fn check(head: &[u8]) -> Result<Framing, S3Error> {
    let mut lines = Lines(head);
    let request = request_line(lines.next().unwrap_or_default())?;
    let mut seen = Seen::default();
    for line in lines {
        seen.header(line)?;
    }
    seen.judge(&request)
}

/// Lines without their CRLF; the empty one that ends a head is not among them.
struct Lines<'a>(&'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let feed = memchr(b'\n', self.0)?;
        let (line, rest) = self.0.split_at(feed + 1);
        self.0 = rest;
        let line = line.strip_suffix(b"\r\n")?;
        (!line.is_empty()).then_some(line)
    }
}

struct RequestLine<'a> {
    http11: bool,
    /// The target's host, in absolute form.
    authority: Option<&'a [u8]>,
}

/// Exactly two spaces (RFC 9112, section 3).
fn request_line(line: &[u8]) -> Result<RequestLine<'_>, S3Error> {
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(bad("The request line is malformed."));
    };
    check_method(method)?;
    let http11 = match version {
        b"HTTP/1.1" => true,
        b"HTTP/1.0" => false,
        _ => return Err(bad("Only HTTP/1.1 and HTTP/1.0 are spoken here.")),
    };
    Ok(RequestLine { http11, authority: check_target(method, target)? })
}

fn check_method(method: &[u8]) -> Result<(), S3Error> {
    if method.is_empty() || method.len() > 32 || !method.iter().all(|byte| is_token(*byte)) {
        return Err(bad("The request line is malformed."));
    }
    if method == b"CONNECT" {
        return Err(S3Error::new(Code::MethodNotAllowed, "This is not a proxy."));
    }
    Ok(())
}

fn check_target<'a>(method: &[u8], target: &'a [u8]) -> Result<Option<&'a [u8]>, S3Error> {
    let invalid = || S3Error::new(Code::InvalidURI, "Couldn't parse the specified URI.");
    if target.len() > MAX_TARGET_BYTES {
        return Err(invalid());
    }
    match target {
        [b'/', ..] if target_bytes(target) => Ok(None),
        b"*" if method == b"OPTIONS" => Ok(None),
        [b'/', ..] | b"*" => Err(invalid()),
        _ => absolute_form(target).map(Some).ok_or_else(invalid),
    }
}

/// What `http::Uri` takes, but for `#`, which it would silently cut off with all behind it.
fn target_bytes(target: &[u8]) -> bool {
    let question = memchr(b'?', target).unwrap_or(target.len());
    let (path, query) = target.split_at(question);
    let plain =
        path.iter().all(|byte| is_path(*byte)) && query.iter().all(|byte| *byte == b'?' || is_query(*byte));
    plain && (target.is_ascii() || std::str::from_utf8(target).is_ok())
}

/// `http://HOST/PATH`: rare, so it may cost a second parse.
fn absolute_form(target: &[u8]) -> Option<&[u8]> {
    let scheme_end = memchr::memmem::find(target, b"://")?;
    let (scheme, rest) = target.split_at(scheme_end);
    let rest = rest.get(3..)?;
    if !scheme.eq_ignore_ascii_case(b"http") && !scheme.eq_ignore_ascii_case(b"https") {
        return None;
    }
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let path_is_fine = path.is_empty() || target_bytes(path);
    let parses = http::Uri::try_from(target).is_ok();
    (path_is_fine && parses && is_host_value(authority)).then_some(authority)
}

/// What the header lines say together.
#[derive(Default)]
struct Seen<'a> {
    count: usize,
    host: Option<&'a [u8]>,
    content_length: Option<&'a [u8]>,
    transfer_encoding: Option<&'a [u8]>,
    expect: Option<&'a [u8]>,
    authorization: bool,
    amz_date: bool,
    amz_content_sha256: bool,
    amz_decoded_content_length: bool,
}

impl<'a> Seen<'a> {
    fn header(&mut self, line: &'a [u8]) -> Result<(), S3Error> {
        self.count += 1;
        if self.count > MAX_HEADERS {
            return Err(too_large());
        }
        let (name, value) = split_header(line)?;
        self.note(name, value)
    }

    /// Lines that may come once only: a second one could be the one that somebody else believes.
    fn note(&mut self, name: &[u8], value: &'a [u8]) -> Result<(), S3Error> {
        let is = |expected: &str| name.eq_ignore_ascii_case(expected.as_bytes());
        let repeated = match name.len() {
            4 if is("host") => self.host.replace(value).is_some(),
            6 if is("expect") => self.expect.replace(value).is_some(),
            10 if is("x-amz-date") => std::mem::replace(&mut self.amz_date, true),
            13 if is("authorization") => std::mem::replace(&mut self.authorization, true),
            14 if is("content-length") => self.content_length.replace(value).is_some(),
            17 if is("transfer-encoding") => self.transfer_encoding.replace(value).is_some(),
            20 if is("x-amz-content-sha256") => std::mem::replace(&mut self.amz_content_sha256, true),
            28 if is("x-amz-decoded-content-length") => {
                std::mem::replace(&mut self.amz_decoded_content_length, true)
            }
            _ => false,
        };
        if repeated { Err(bad("A header that may come once came twice.")) } else { Ok(()) }
    }

    fn judge(&self, request: &RequestLine<'_>) -> Result<Framing, S3Error> {
        self.judge_host(request)?;
        let framing = self.judge_framing(request)?;
        match self.expect {
            Some(value) if !value.eq_ignore_ascii_case(b"100-continue") => {
                Err(S3Error::new(Code::ExpectationFailed, "Only 100-continue can be expected."))
            }
            _ => Ok(framing),
        }
    }

    /// RFC 9112, section 3.2: exactly one in HTTP/1.1, and the same as in an absolute target.
    fn judge_host(&self, request: &RequestLine<'_>) -> Result<(), S3Error> {
        let Some(host) = self.host else {
            let needed = request.http11;
            return if needed { Err(bad("The Host header is missing.")) } else { Ok(()) };
        };
        if !is_host_value(host) {
            return Err(bad("The Host header is malformed."));
        }
        match request.authority {
            Some(authority) if !authority.eq_ignore_ascii_case(host) => {
                Err(bad("The Host header differs from the request's target."))
            }
            _ => Ok(()),
        }
    }

    /// RFC 9112, section 6.3, without its leniencies.
    fn judge_framing(&self, request: &RequestLine<'_>) -> Result<Framing, S3Error> {
        match (self.transfer_encoding, self.content_length) {
            (Some(_), Some(_)) => Err(bad("Content-Length and Transfer-Encoding exclude each other.")),
            (Some(_), None) if !request.http11 => Err(bad("HTTP/1.0 has no Transfer-Encoding.")),
            (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Framing::chunked()),
            (Some(_), None) => Err(bad("The only transfer coding accepted is chunked.")),
            (None, Some(length)) => content_length(length).map(Framing::length),
            (None, None) => Ok(Framing::length(0)),
        }
    }
}

/// Digits, nothing else: no sign, no list, no blank (RFC 9110, section 8.6).
fn content_length(value: &[u8]) -> Result<u64, S3Error> {
    let digits = !value.is_empty() && value.len() <= 18 && value.iter().all(u8::is_ascii_digit);
    if !digits {
        return Err(bad("The Content-Length header is malformed."));
    }
    Ok(value.iter().fold(0, |length, digit| length * 10 + u64::from(digit - b'0')))
}

/// The name and the trimmed value. No blank before the colon, no folded line (RFC 9112, section 5).
fn split_header(line: &[u8]) -> Result<(&[u8], &[u8]), S3Error> {
    let malformed = || bad("A header line is malformed.");
    let colon = memchr(b':', line).ok_or_else(malformed)?;
    let (name, rest) = line.split_at(colon);
    let value = trim(rest.get(1..).unwrap_or_default());
    let sound = !name.is_empty()
        && name.iter().all(|byte| is_token(*byte))
        && value.iter().all(|byte| CLASSES[*byte as usize] & FIELD != 0);
    if sound { Ok((name, value)) } else { Err(malformed()) }
}

fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// A name or address with or without a port; never user information.
pub(crate) fn is_host_value(value: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%:[]!$&'()*+;=".contains(byte);
    !value.is_empty() && value.len() <= 300 && value.iter().all(plain)
}

pub(crate) fn bad(message: &'static str) -> S3Error {
    S3Error::new(Code::BadRequest, message)
}

pub(crate) fn malformed() -> S3Error {
    bad("The request is not valid HTTP.")
}

pub(crate) fn too_large() -> S3Error {
    S3Error::new(
        Code::RequestHeaderSectionTooLarge,
        "Your request header section exceeds the maximum allowed size.",
    )
}

/// The value of the first line with this name, in bytes that need not be a sound head.
pub(crate) fn find_header<'a>(bytes: &'a [u8], wanted: &str) -> Option<&'a [u8]> {
    bytes.split(|byte| *byte == b'\n').skip(1).find_map(|line| {
        let colon = memchr(b':', line)?;
        let (name, value) = line.split_at(colon);
        let value = value.get(1..)?;
        name.eq_ignore_ascii_case(wanted.as_bytes()).then(|| trim(value.strip_suffix(b"\r").unwrap_or(value)))
    })
}

const TOKEN: u8 = 1;
const FIELD: u8 = 2;
const PATH: u8 = 4;
const QUERY: u8 = 8;

fn is_token(byte: u8) -> bool {
    CLASSES[byte as usize] & TOKEN != 0
}

fn is_path(byte: u8) -> bool {
    CLASSES[byte as usize] & PATH != 0
}

fn is_query(byte: u8) -> bool {
    CLASSES[byte as usize] & QUERY != 0
}

static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0u8; 256];
    let mut at = 0;
    while at < 256 {
        let byte = at as u8;
        // RFC 9110, section 5.6.2.
        if byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            )
        {
            table[at] |= TOKEN;
        }
        // RFC 9110, section 5.5: tab, visible characters, and bytes above ASCII.
        if byte == b'\t' || (byte >= 0x20 && byte != 0x7f) {
            table[at] |= FIELD;
        }
        // What `http::Uri` takes; held by a test.
        if matches!(byte, 0x21 | 0x22 | 0x24..=0x3b | 0x3d | 0x40..=0x5f | 0x61..=0x7e | 0x80..=0xff) {
            table[at] |= PATH;
        }
        if matches!(byte, 0x21 | 0x24..=0x3b | 0x3d | 0x3f..=0x7e | 0x80..=0xff) {
            table[at] |= QUERY;
        }
        at += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_tables_agree_with_the_crate_that_parses_later() {
        for byte in (0..=0x7fu8).filter(|byte| !b"#?".contains(byte)) {
            let uri = |text: String| http::uri::PathAndQuery::try_from(text.as_str()).is_ok();
            assert_eq!(is_path(byte), uri(format!("/a{}", byte as char)), "path {byte:#x}");
            assert_eq!(is_query(byte), uri(format!("/a?{}", byte as char)), "query {byte:#x}");
        }
        for byte in 0..=0xffu8 {
            let field = http::HeaderValue::from_bytes(&[b'a', byte, b'a']).is_ok();
            assert_eq!(CLASSES[byte as usize] & FIELD != 0, field, "field {byte:#x}");
            let method = http::Method::from_bytes(&[b'a', byte]).is_ok();
            assert_eq!(is_token(byte), method, "token {byte:#x}");
        }
    }

    #[test]
    fn a_head_is_found_at_every_split() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let bytes = [head.as_slice(), b"body"].concat();
        for first in 0..head.len() {
            let Extent::Part(from) = extent(&bytes[..first], 0) else { panic!("at {first}") };
            assert_eq!(extent(&bytes, from), Extent::Whole(head.len()), "split at {first}");
        }
    }

    #[test]
    fn bare_line_feeds_and_foreign_protocols_are_seen_early() {
        assert_eq!(extent(b"GET / HTTP/1.1\n", 0), Extent::Malformed);
        assert_eq!(extent(b"GET / HTTP/1.1\r\nHost: a\n\r\n", 0), Extent::Malformed);
        assert_eq!(extent(b"GET / HTTP/1.1\r\nHost: a\r\n\n", 0), Extent::Malformed);
        assert_eq!(extent(b"\x16\x03\x01\x02", 0), Extent::Malformed);
    }

    #[test]
    fn lengths_are_digits_only() {
        assert_eq!(content_length(b"0").unwrap(), 0);
        assert_eq!(content_length(b"5368709120").unwrap(), 5_368_709_120);
        for value in ["", "+5", "-1", "5, 5", "0x5", "5 5", "99999999999999999999"] {
            assert!(content_length(value.as_bytes()).is_err(), "{value:?}");
        }
    }

    #[test]
    fn a_header_is_found_in_a_head_that_is_none() {
        let bytes = b"BAD\nX-Request-Id:  mine \r\nother: x";
        assert_eq!(find_header(bytes, "x-request-id"), Some(b"mine".as_slice()));
        assert_eq!(find_header(bytes, "host"), None);
    }
}
