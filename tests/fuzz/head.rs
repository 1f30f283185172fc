//! The head of a request as it comes off the socket, and the framing of the body behind it.
//!
//! Input: bytes of a connection.

use crate::pieces::cut;
use s3api::fuzz::{BodyEnd, HeadEnd, check_head, find_header, head_end};
use s3api::limits::MAX_HEADERS;

pub fn run(data: &[u8]) {
    let end = head_end(data, 0);
    assert_eq!(end, in_pieces(data, 1 + data.len() % 7));
    let _ = find_header(data, "x-request-id");
    let HeadEnd::Whole(length) = end else {
        return any_body(data);
    };
    let (head, body) = data.split_at(length);
    if let Ok(framing) = check_head(head) {
        is_sound(head);
        ends_at_the_same_place(&framing, body);
    }
}

/// As the guard looks: again with each arrival, from where it had come to.
fn in_pieces(data: &[u8], step: usize) -> HeadEnd {
    let mut from = 0;
    for end in (step..data.len()).step_by(step).chain([data.len()]) {
        match head_end(&data[..end], from) {
            HeadEnd::Part(scanned) => from = scanned,
            done => return done,
        }
    }
    HeadEnd::Part(from)
}

/// What passes the guard is never refused behind it.
fn is_sound(head: &[u8]) {
    let mut lines = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut lines);
    let parsed = request.parse(head).expect("a head that httparse takes");
    assert_eq!(parsed, httparse::Status::Complete(head.len()));
    let target = request.path.expect("a complete head has a target");
    http::Uri::try_from(target).expect("a target");
    http::Method::from_bytes(request.method.unwrap_or_default().as_bytes()).expect("a method");
    for line in request.headers {
        http::HeaderName::from_bytes(line.name.as_bytes()).expect("a name");
        http::HeaderValue::from_bytes(line.value).expect("a value");
    }
}

fn any_body(data: &[u8]) {
    ends_at_the_same_place(&BodyEnd::chunked(), data);
}

/// `None`: the body is malformed. Otherwise its length so far, and whether that is all.
fn ends_at_the_same_place(framing: &BodyEnd, body: &[u8]) {
    let whole = length(framing.clone(), body, 0);
    assert_eq!(whole, length(framing.clone(), body, 1));
    assert_eq!(whole, length(framing.clone(), body, 5));
}

fn length(mut framing: BodyEnd, body: &[u8], size: usize) -> Option<(usize, bool)> {
    let mut length = 0;
    for piece in cut(body, size) {
        let taken = framing.consume(piece)?;
        assert!(taken == piece.len() || framing.ended(), "bytes left over inside a body");
        length += taken;
    }
    Some((length, framing.ended()))
}
