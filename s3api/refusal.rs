//! Answers that the server gives by itself: to what hyper never saw, and in place of a handler.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue};
use std::fmt::Write;
use types::Timestamp;

use crate::guard::Refused;
use crate::head::find_header;
use crate::{RequestId, ResponseBody, S3Error};

pub(crate) const SERVER: &str = "s3-orchestrator";

/// The error document (<https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>).
pub(crate) fn document(error: &S3Error, resource: &str, id: &RequestId) -> String {
    let mut xml = String::with_capacity(256);
    xml.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error>");
    element(&mut xml, "Code", error.code.name());
    element(&mut xml, "Message", &error.message);
    for (name, value) in &error.details {
        element(&mut xml, name, value);
    }
    element(&mut xml, "Resource", resource);
    element(&mut xml, "RequestId", id.as_str());
    element(&mut xml, "HostId", SERVER);
    xml.push_str("</Error>");
    xml
}

fn element(xml: &mut String, name: &str, text: &str) {
    let _ = write!(xml, "<{name}>");
    for character in text.chars() {
        match character {
            '&' => xml.push_str("&amp;"),
            '<' => xml.push_str("&lt;"),
            '>' => xml.push_str("&gt;"),
            '\u{20}'..='\u{d7ff}' => xml.push(character),
            // The rest may be illegal in XML 1.0; this text is for people.
            _ => xml.push('\u{fffd}'),
        }
    }
    let _ = write!(xml, "</{name}>");
}

/// For a request that hyper did parse. `close`: its body was not read.
pub(crate) fn response(
    error: &S3Error,
    request: &http::request::Parts,
    id: &RequestId,
    close: bool,
) -> http::Response<ResponseBody> {
    let text = document(error, request.uri.path(), id);
    let body = if request.method == http::Method::HEAD {
        ResponseBody::Head(text.len() as u64)
    } else {
        ResponseBody::Full(Bytes::from(text))
    };
    let mut response = http::Response::new(body);
    *response.status_mut() = error.code.status();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    for (name, value) in &error.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value))
        {
            headers.insert(name, value);
        }
    }
    if close {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

impl Refused {
    pub(crate) fn request_id(&self) -> RequestId {
        find_header(&self.head, "x-request-id")
            .and_then(RequestId::from_client)
            .unwrap_or_else(RequestId::generate)
    }

    /// The whole answer, byte for byte, after which the connection closes.
    pub(crate) fn bytes(&self, id: &RequestId, now: Timestamp) -> Vec<u8> {
        let error = &self.error;
        let text = document(error, &self.resource(), id);
        let status = error.code.status();
        let mut answer = format!(
            "HTTP/1.1 {} {}\r\nServer: {SERVER}\r\nDate: {}\r\nx-amz-request-id: {id}\r\n",
            status.as_u16(),
            status.canonical_reason().unwrap_or("Error"),
            http_date(now),
        );
        for (name, value) in &error.headers {
            let _ = write!(answer, "{name}: {value}\r\n");
        }
        let length = text.len();
        let _ = write!(
            answer,
            "Content-Type: application/xml\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        // RFC 9110, section 9.3.2: no content in an answer to HEAD.
        if !self.head.starts_with(b"HEAD ") {
            answer.push_str(&text);
        }
        answer.into_bytes()
    }

    /// The path as it was sent, if there is one; a query may hold a signature.
    fn resource(&self) -> String {
        let line = self.head.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
        let target = line.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
        let path = path.get(..path.len().min(1024)).unwrap_or_default();
        if path.starts_with(b"/") { String::from_utf8_lossy(path).into_owned() } else { "/".to_owned() }
    }
}

/// IMF-fixdate (RFC 9110, section 5.6.7).
fn http_date(now: Timestamp) -> String {
    let second = i64::try_from(now.secs()).unwrap_or(i64::MAX);
    let printer = jiff::fmt::rfc2822::DateTimePrinter::new();
    jiff::Timestamp::from_second(second)
        .and_then(|timestamp| printer.timestamp_to_rfc9110_string(&timestamp))
        .unwrap_or_else(|_| "Thu, 01 Jan 1970 00:00:00 GMT".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::Code;

    fn refused(head: &[u8]) -> String {
        let refused = Refused { error: S3Error::new(Code::BadRequest, "No <good>."), head: head.to_vec() };
        let id = refused.request_id();
        String::from_utf8(refused.bytes(&id, Timestamp::from_secs(784_111_777))).unwrap()
    }

    #[test]
    fn a_refusal_is_a_whole_answer() {
        let answer = refused(b"GET /a&b?X-Amz-Signature=secret HTTP/1.1\r\nX-Request-Id: mine\r\n\r\n");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{head}");
        assert!(head.contains("Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"), "{head}");
        assert!(head.contains("x-amz-request-id: mine\r\n") && head.contains("Connection: close"));
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())));
        assert!(body.contains("<Message>No &lt;good&gt;.</Message><Resource>/a&amp;b</Resource>"), "{body}");
        assert!(!answer.contains("secret"));
    }

    #[test]
    fn the_answer_to_head_has_no_body() {
        assert!(refused(b"HEAD / HTTP/1.1\r\n\r\n").ends_with("Connection: close\r\n\r\n"));
    }

    #[test]
    fn garbage_gets_an_answer_too() {
        assert!(refused(b"\xff\x00\x16").contains("<Resource>/</Resource>"));
    }
}
