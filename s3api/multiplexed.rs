//! The head of a request over HTTP/2, held to the rules of `head.rs`.
//!
//! Framing cannot be ambiguous here, and hyper refuses headers that speak of a connection
//! (RFC 9113, section 8.2.2). What is left is what two servers could still read in two ways. A sound
//! head gets its `Host`, so that nothing behind this needs to know how it came.

use http::header::{EXPECT, HOST};
use http::request::Parts;
use http::{HeaderValue, Method};

use crate::error::{Code, Result, S3Error};
use crate::head::{bad, is_host_value, too_large};
use crate::limits::{MAX_HEADERS, MAX_TARGET_BYTES};

const ONCE: [&str; 7] = [
    "host",
    "expect",
    "authorization",
    "content-length",
    "x-amz-date",
    "x-amz-content-sha256",
    "x-amz-decoded-content-length",
];

pub(crate) fn check(head: &mut Parts) -> Result<()> {
    if head.method == Method::CONNECT {
        return Err(S3Error::new(Code::MethodNotAllowed, "This is not a proxy."));
    }
    if head.headers.len() > MAX_HEADERS {
        return Err(too_large());
    }
    if ONCE.iter().any(|name| head.headers.get_all(*name).iter().nth(1).is_some()) {
        return Err(bad("A header that may come once came twice."));
    }
    check_target(head)?;
    if head.headers.get(EXPECT).is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        return Err(S3Error::new(Code::ExpectationFailed, "Only 100-continue can be expected."));
    }
    set_host(head)
}

fn check_target(head: &Parts) -> Result<()> {
    let target = head.uri.path_and_query().map_or("", |target| target.as_str());
    let sound = target.starts_with('/') || (target == "*" && head.method == Method::OPTIONS);
    if !sound || target.len() > MAX_TARGET_BYTES {
        return Err(S3Error::new(Code::InvalidURI, "Couldn't parse the specified URI."));
    }
    Ok(())
}

/// RFC 9113, section 8.3.1: `Host` may be there too, and then says the same.
fn set_host(head: &mut Parts) -> Result<()> {
    let authority = head.uri.authority().map(|authority| authority.as_str().to_owned());
    let host = head.headers.get(HOST).map(|host| host.as_bytes());
    let value = match (authority, host) {
        (None, None) => return Err(bad("The Host header is missing.")),
        (None, Some(_)) => None,
        (Some(authority), Some(host)) if !authority.as_bytes().eq_ignore_ascii_case(host) => {
            return Err(bad("The Host header differs from the request's authority."));
        }
        (Some(authority), _) => Some(authority),
    };
    if let Some(authority) = value {
        let value = HeaderValue::from_str(&authority).map_err(|_| bad("The Host header is malformed."))?;
        head.headers.insert(HOST, value);
    }
    match head.headers.get(HOST).is_some_and(|host| is_host_value(host.as_bytes())) {
        true => Ok(()),
        false => Err(bad("The Host header is malformed.")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn head(uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn code(uri: &str, headers: &[(&str, &str)]) -> Option<Code> {
        check(&mut head(uri, headers)).err().map(|error| error.code)
    }

    #[test]
    fn a_sound_head_gets_its_host() {
        let mut sound = head("https://s3.example.org:9000/b/k?x=1", &[]);
        check(&mut sound).unwrap();
        assert_eq!(sound.headers.get(HOST).unwrap(), "s3.example.org:9000");
        assert_eq!(code("https://a.example/b", &[("host", "A.example")]), None);
        assert_eq!(code("/b", &[("host", "a.example")]), None);
    }

    #[test]
    fn what_two_servers_could_read_in_two_ways_is_refused() {
        let bad = Some(Code::BadRequest);
        assert_eq!(code("/b", &[]), bad);
        assert_eq!(code("https://a.example/b", &[("host", "b.example")]), bad);
        assert_eq!(code("https://u@a.example/b", &[]), bad);
        for name in ["authorization", "x-amz-date", "x-amz-content-sha256", "content-length"] {
            assert_eq!(code("https://a.example/b", &[(name, "1"), (name, "1")]), bad, "{name}");
        }
        assert_eq!(code("https://a.example/b", &[("expect", "200-ok")]), Some(Code::ExpectationFailed));
        let many: Vec<_> = (0..101).map(|_| ("x-a", "b")).collect();
        assert_eq!(code("https://a.example/b", &many), Some(Code::RequestHeaderSectionTooLarge));
        let long = format!("https://a.example/{}", "k".repeat(40_000));
        assert_eq!(code(&long, &[]), Some(Code::InvalidURI));
    }

    #[test]
    fn this_is_no_proxy() {
        let mut connect = head("a.example:443", &[]);
        connect.method = Method::CONNECT;
        assert_eq!(check(&mut connect).unwrap_err().code, Code::MethodNotAllowed);
    }
}
