//! GetObject, and what it shares with HeadObject.

use super::{Call, Reply, answer};
use crate::buffers::Held;
use crate::error::{Code, Result, S3Error};
use crate::range::{self, Ranged};
use crate::response::PollChunks;
use crate::{ResponseBody, conditions, headers};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use std::task::{Context, Poll};
use store::{Object, ObjectPart, Reader, StoreError};
use types::condition::ReadVerdict;
use types::{ByteRange, MAX_PARTS};

type Headed = (Response<ResponseBody>, Option<ByteRange>);

pub async fn get_object(call: &Call<'_>) -> Reply {
    let asked = Asked::of(call)?;
    let open = call.store.open(call.bucket.id, call.key()?).await?;
    let parts = if asked.part.is_some() { open.parts() } else { Vec::new() };
    let (mut response, content) = head(call, &asked, open.object(), &parts)?;
    if let Some(range) = content.filter(|range| !range.is_empty()) {
        let held = call.buffers.for_download(range.len()).await?;
        let mut reader = open.read(range);
        reader.begin().await?;
        let chunks = Chunks { reader, _held: held };
        *response.body_mut() = ResponseBody::object(chunks, range.len());
    }
    Ok(response)
}

struct Chunks {
    reader: Reader,
    _held: Held,
}

impl PollChunks for Chunks {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<std::result::Result<Bytes, StoreError>>> {
        self.reader.poll_next(cx)
    }
}

/// What a request asks for, as far as it can be judged without the object.
pub struct Asked<'a> {
    pub part: Option<u16>,
    overrides: Vec<(HeaderName, HeaderValue)>,
    range: Option<std::borrow::Cow<'a, str>>,
    checksum: bool,
}

impl<'a> Asked<'a> {
    pub fn of(call: &Call<'a>) -> Result<Self> {
        let part = call.query.get("partNumber").map(part_number).transpose()?;
        let range = call.header("range");
        if part.is_some() && range.is_some() {
            return Err(S3Error::new(
                Code::InvalidRequest,
                "Cannot specify both Range header and partNumber query parameter",
            ));
        }
        let checksum =
            call.header("x-amz-checksum-mode").is_some_and(|mode| mode.eq_ignore_ascii_case("ENABLED"));
        Ok(Self { part, overrides: overrides(call)?, range, checksum })
    }
}

pub fn part_number(text: &str) -> Result<u16> {
    let number = text.parse().ok().filter(|number| (1..=MAX_PARTS).contains(number));
    number.ok_or_else(|| {
        S3Error::invalid_argument(
            "Part number must be an integer between 1 and 10000, inclusive",
            "partNumber",
            text,
        )
    })
}

/// `response-content-type` and its like
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html>): whoever signed the URL
/// chose them, so an anonymous request cannot have them.
fn overrides(call: &Call<'_>) -> Result<Vec<(HeaderName, HeaderValue)>> {
    let mut found = Vec::new();
    for (name, value) in call.query.iter() {
        let Some(header) = overridden(name) else { continue };
        if !call.signed() {
            return Err(S3Error::new(
                Code::InvalidRequest,
                "Request specific response headers cannot be used for anonymous GET requests.",
            ));
        }
        let text = HeaderValue::from_bytes(value.as_bytes());
        found.push((
            header,
            text.map_err(|_| S3Error::invalid_argument("Header value cannot be represented", name, ""))?,
        ));
    }
    Ok(found)
}

fn overridden(name: &str) -> Option<HeaderName> {
    match name.strip_prefix("response-")? {
        "cache-control" => Some(header::CACHE_CONTROL),
        "content-disposition" => Some(header::CONTENT_DISPOSITION),
        "content-encoding" => Some(header::CONTENT_ENCODING),
        "content-language" => Some(header::CONTENT_LANGUAGE),
        "content-type" => Some(header::CONTENT_TYPE),
        "expires" => Some(header::EXPIRES),
        _ => None,
    }
}

/// The answer without its body, and what of the object belongs into it.
pub fn head(call: &Call<'_>, asked: &Asked<'_>, object: &Object, parts: &[ObjectPart]) -> Result<Headed> {
    match conditions::read(call.headers, call.now).check(&object.etag, object.modified) {
        ReadVerdict::Send => {}
        ReadVerdict::NotModified => return Ok((not_modified(object), None)),
        ReadVerdict::PreconditionFailed(header) => return Err(precondition_failed(header)),
    }
    let chosen = choose(call, asked, object, parts)?;
    let mut response =
        answer::empty(if chosen.partial { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK });
    let out = response.headers_mut();
    common(object, out);
    headers::put_object_headers(&object.headers, out);
    out.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if chosen.partial && !chosen.range.is_empty() {
        out.insert(header::CONTENT_RANGE, content_range(chosen.range, object.size));
    }
    if asked.part.is_some() && !parts.is_empty() {
        out.insert(HeaderName::from_static("x-amz-mp-parts-count"), HeaderValue::from(parts.len()));
    }
    // Clients would compare the whole object's checksum with the piece that they got.
    if asked.checksum && !chosen.partial {
        headers::put_checksum_and_kind(object.checksum.as_ref(), out);
    }
    for (name, value) in &asked.overrides {
        out.insert(name.clone(), value.clone());
    }
    Ok((response, Some(chosen.range)))
}

fn common(object: &Object, out: &mut HeaderMap) {
    headers::put_etag(&object.etag, out);
    headers::put_last_modified(object.modified, out);
}

pub fn precondition_failed(header: &'static str) -> S3Error {
    S3Error::new(Code::PreconditionFailed, "At least one of the pre-conditions you specified did not hold")
        .with("Condition", header)
}

/// RFC 9110 section 15.4.5 says which headers a 304 has.
fn not_modified(object: &Object) -> Response<ResponseBody> {
    let mut response = answer::empty(StatusCode::NOT_MODIFIED);
    let out = response.headers_mut();
    headers::put_object_headers(&object.headers, out);
    let kept = [header::CACHE_CONTROL, header::EXPIRES].map(|name| (out.get(&name).cloned(), name));
    out.clear();
    for (value, name) in kept {
        value.map(|value| out.insert(name, value));
    }
    common(object, out);
    response
}

struct Chosen {
    range: ByteRange,
    /// 206.
    partial: bool,
}

fn choose(call: &Call<'_>, asked: &Asked<'_>, object: &Object, parts: &[ObjectPart]) -> Result<Chosen> {
    if let Some(number) = asked.part {
        return part_range(number, object.size, parts).map(|range| Chosen { range, partial: true });
    }
    let whole = Chosen { range: ByteRange::whole(object.size), partial: false };
    let Some(text) = &asked.range else { return Ok(whole) };
    if !conditions::range_applies(call.headers, &object.etag, object.modified) {
        return Ok(whole);
    }
    match range::parse(text, object.size) {
        Ranged::Whole => Ok(whole),
        Ranged::Part(range) => Ok(Chosen { range, partial: true }),
        Ranged::Unsatisfiable => {
            Err(S3Error::new(Code::InvalidRange, "The requested range is not satisfiable")
                .with("RangeRequested", text.as_ref())
                .with("ActualObjectSize", object.size.to_string())
                .header("content-range", format!("bytes */{}", object.size)))
        }
    }
}

/// An object written in one piece is its own only part.
fn part_range(number: u16, size: u64, parts: &[ObjectPart]) -> Result<ByteRange> {
    let index = usize::from(number).saturating_sub(1);
    if parts.is_empty() && number == 1 {
        return Ok(ByteRange::whole(size));
    }
    let part = parts.get(index).ok_or_else(|| {
        S3Error::new(Code::InvalidPartNumber, "The requested partnumber is not satisfiable")
            .with("PartNumberRequested", number.to_string())
            .with("ActualPartCount", parts.len().max(1).to_string())
    })?;
    let start = parts.iter().take(index).map(|part| part.size).sum::<u64>();
    ByteRange::new(start, start + part.size)
        .ok_or_else(|| StoreError::Corrupt("part layout".to_owned()).into())
}

fn content_range(range: ByteRange, size: u64) -> HeaderValue {
    let text = format!("bytes {}-{}/{size}", range.start, range.end.saturating_sub(1));
    HeaderValue::try_from(text).expect("digits are a header value")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parts(sizes: &[u64]) -> Vec<ObjectPart> {
        let part =
            |(i, size): (usize, &u64)| ObjectPart { number: i as u16 + 1, size: *size, checksum: None };
        sizes.iter().enumerate().map(part).collect()
    }

    #[test]
    fn parts_are_ranges() {
        let parts = parts(&[5, 5, 2]);
        let of = |number, parts: &[ObjectPart]| part_range(number, 12, parts).map_err(|e| e.code);
        assert_eq!(of(1, &parts), Ok(ByteRange { start: 0, end: 5 }));
        assert_eq!(of(3, &parts), Ok(ByteRange { start: 10, end: 12 }));
        assert_eq!(of(4, &parts), Err(Code::InvalidPartNumber));
        assert_eq!(of(1, &[]), Ok(ByteRange::whole(12)));
        assert_eq!(of(2, &[]), Err(Code::InvalidPartNumber));
    }

    #[test]
    fn part_numbers() {
        assert_eq!(part_number("10000").map_err(|e| e.code), Ok(10_000));
        for bad in ["0", "10001", "-1", "", "x", "1.0", "70000"] {
            assert_eq!(part_number(bad).map_err(|e| e.code), Err(Code::InvalidArgument), "{bad}");
        }
    }

    #[test]
    fn content_ranges() {
        assert_eq!(content_range(ByteRange { start: 0, end: 1 }, 100), "bytes 0-0/100");
    }
}
