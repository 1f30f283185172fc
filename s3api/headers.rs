//! Headers that are stored with an object, and what is refused in headers.

use crate::error::{Code, Result, S3Error};
use crate::rfc2047;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use std::borrow::Cow;
use types::{Algorithm, Checksum, ChecksumKind, MAX_USER_METADATA_BYTES, ObjectHeaders, TagError, Tags};

pub const DEFAULT_CONTENT_TYPE: &str = "binary/octet-stream";
const META: &str = "x-amz-meta-";
pub const TAGGING: &str = "x-amz-tagging";
pub const STORAGE_CLASS: &str = "x-amz-storage-class";
pub const REDIRECT: &str = "x-amz-website-redirect-location";

/// What a PUT, a Create or a REPLACE says about its object.
pub fn object_headers(headers: &HeaderMap) -> Result<ObjectHeaders> {
    let mut object = ObjectHeaders::default();
    for (name, value) in headers {
        match name.as_str() {
            "content-type" => object.content_type = standard(value),
            "cache-control" => object.cache_control = standard(value),
            "content-disposition" => object.content_disposition = standard(value),
            "content-encoding" => add_encoding(&mut object, value),
            "content-language" => object.content_language = standard(value),
            "expires" => object.expires = standard(value),
            REDIRECT => object.website_redirect_location = Some(redirect(value)?),
            STORAGE_CLASS => object.storage_class = storage_class(value)?,
            TAGGING => object.tags = tagging(&text(value))?,
            other => {
                if let Some(name) = other.strip_prefix(META) {
                    add_metadata(&mut object, name, value);
                }
            }
        }
    }
    match object.user_metadata_bytes() {
        size if size > MAX_USER_METADATA_BYTES => Err(S3Error::new(
            Code::MetadataTooLarge,
            "Your metadata headers exceed the maximum allowed metadata size",
        )
        .with("Size", size.to_string())
        .with("MaxSizeAllowed", MAX_USER_METADATA_BYTES.to_string())),
        _ => Ok(object),
    }
}

/// UTF-8 as it is; anything else is Latin-1, as HTTP once had it (RFC 9110 section 5.5).
pub fn text(value: &HeaderValue) -> Cow<'_, str> {
    match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(value.as_bytes().iter().map(|b| char::from(*b)).collect()),
    }
}

fn standard(value: &HeaderValue) -> Option<String> {
    let text = text(value);
    (!text.is_empty()).then(|| text.into_owned())
}

/// `aws-chunked` is how the body travelled, not what it is
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html>).
fn add_encoding(object: &mut ObjectHeaders, value: &HeaderValue) {
    let text = text(value);
    let codings =
        text.split(',').map(str::trim).filter(|c| !c.is_empty() && !c.eq_ignore_ascii_case("aws-chunked"));
    for coding in codings {
        match &mut object.content_encoding {
            Some(all) => {
                all.push(',');
                all.push_str(coding);
            }
            None => object.content_encoding = Some(coding.to_owned()),
        }
    }
}

/// Repeated names are joined by a comma, as S3 does
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html>).
fn add_metadata(object: &mut ObjectHeaders, name: &str, value: &HeaderValue) {
    let text = text(value);
    let decoded = rfc2047::decode(&text);
    match object.user_metadata.iter_mut().find(|(known, _)| known == name) {
        Some((_, all)) => {
            all.push(',');
            all.push_str(&decoded);
        }
        None => object.user_metadata.push((name.to_owned(), decoded.into_owned())),
    }
}

fn redirect(value: &HeaderValue) -> Result<String> {
    let text = text(value);
    if ["/", "http://", "https://"].iter().any(|start| text.starts_with(start)) {
        return Ok(text.into_owned());
    }
    Err(S3Error::new(
        Code::InvalidRedirectLocation,
        "The website redirect location must have a prefix of 'http://' or 'https://' or '/'.",
    ))
}

/// Classes whose objects can be read at once are remembered as names; those that would have to be
/// restored first, or live elsewhere, are refused.
pub fn storage_class(value: &HeaderValue) -> Result<Option<String>> {
    match &*text(value) {
        "" | "STANDARD" => Ok(None),
        class @ ("REDUCED_REDUNDANCY"
        | "STANDARD_IA"
        | "ONEZONE_IA"
        | "INTELLIGENT_TIERING"
        | "GLACIER_IR") => Ok(Some(class.to_owned())),
        "GLACIER" | "DEEP_ARCHIVE" | "OUTPOSTS" | "SNOW" | "EXPRESS_ONEZONE" | "FSX_OPENZFS"
        | "FSX_ONTAP" => Err(S3Error::not_implemented(STORAGE_CLASS)),
        _ => Err(S3Error::new(Code::InvalidStorageClass, "The storage class you specified is not valid")),
    }
}

/// `x-amz-tagging`: tags as a query string.
pub fn tagging(header: &str) -> Result<Tags> {
    let bad = || {
        S3Error::invalid_argument(
            "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.",
            TAGGING,
            header,
        )
    };
    let decode = |raw: &str| {
        let spaced = raw.replace('+', " ");
        crate::percent::decode_text(&spaced).map(Cow::into_owned)
    };
    let pairs = header.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        Some((decode(key)?, decode(value)?))
    });
    let pairs = pairs.collect::<Option<Vec<_>>>().ok_or_else(bad)?;
    Tags::new(pairs).map_err(|error| if error == TagError::Duplicate { bad() } else { tag_error(error) })
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObjectTagging.html>
pub fn tag_error(error: TagError) -> S3Error {
    let invalid = |message| S3Error::new(Code::InvalidTag, message);
    match error {
        TagError::TooMany => S3Error::new(Code::BadRequest, "Object tags cannot be greater than 10"),
        TagError::KeyLength => invalid("The TagKey you have provided is invalid"),
        TagError::ValueLength | TagError::Characters => invalid("The TagValue you have provided is invalid"),
        TagError::Duplicate => invalid("Cannot provide multiple Tags with the same key"),
    }
}

/// Headers that would change what a request means, and that we do not honour: never ignored.
pub fn refuse_unsupported(headers: &HeaderMap) -> Result<()> {
    for (name, value) in headers {
        let Some(rest) = name.as_str().strip_prefix("x-amz-") else { continue };
        if let Some(sum) = rest.strip_prefix("checksum-").filter(|sum| !known_checksum(sum)) {
            return Err(unsupported_algorithm().with("Header", format!("x-amz-checksum-{sum}")));
        }
        if !supported(rest, value) {
            return Err(S3Error::not_implemented(name.as_str()));
        }
    }
    Ok(())
}

fn supported(name: &str, value: &HeaderValue) -> bool {
    match name {
        "acl" => matches!(value.as_bytes(), b"" | b"private" | b"bucket-owner-full-control"),
        "server-side-encryption" => value.as_bytes() == b"AES256",
        // Conditions that only directory buckets have
        // (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObject.html>).
        "if-match-last-modified-time" | "if-match-size" => false,
        "write-offset-bytes" | "rename-source" => false,
        _ => !["grant-", "server-side-encryption-", "copy-source-server-side-encryption-", "object-lock-"]
            .iter()
            .any(|start| name.starts_with(start)),
    }
}

/// A checksum that cannot be verified is refused, not ignored.
fn known_checksum(name: &str) -> bool {
    matches!(name, "algorithm" | "mode" | "type" | "crc32" | "crc32c" | "crc64nvme" | "sha1" | "sha256")
}

pub fn unsupported_algorithm() -> S3Error {
    S3Error::new(
        Code::InvalidRequest,
        "Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]",
    )
}

/// An algorithm named in `name`.
pub fn algorithm(headers: &HeaderMap, name: &'static str) -> Result<Option<Algorithm>> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    Algorithm::from_name(text(value).trim()).map(Some).ok_or_else(unsupported_algorithm)
}

pub fn checksum_kind(headers: &HeaderMap) -> Result<Option<ChecksumKind>> {
    let Some(value) = headers.get("x-amz-checksum-type") else { return Ok(None) };
    let named = ChecksumKind::from_name(text(value).trim());
    named
        .map(Some)
        .ok_or_else(|| S3Error::new(Code::InvalidRequest, "Value for x-amz-checksum-type header is invalid."))
}

/// Puts an object's stored headers on an answer.
pub fn put_object_headers(object: &ObjectHeaders, out: &mut HeaderMap) {
    let content_type = object.content_type.as_deref().unwrap_or(DEFAULT_CONTENT_TYPE);
    put(out, header::CONTENT_TYPE, Some(content_type));
    put(out, header::CACHE_CONTROL, object.cache_control.as_deref());
    put(out, header::CONTENT_DISPOSITION, object.content_disposition.as_deref());
    put(out, header::CONTENT_ENCODING, object.content_encoding.as_deref());
    put(out, header::CONTENT_LANGUAGE, object.content_language.as_deref());
    put(out, header::EXPIRES, object.expires.as_deref());
    put(out, HeaderName::from_static(REDIRECT), object.website_redirect_location.as_deref());
    put(out, HeaderName::from_static(STORAGE_CLASS), object.storage_class.as_deref());
    let missing = object.user_metadata.iter().filter(|(name, value)| !put_metadata(out, name, value)).count();
    number(out, "x-amz-missing-meta", missing);
    number(out, "x-amz-tagging-count", object.tags.len());
}

fn number(out: &mut HeaderMap, name: &'static str, value: usize) {
    if value > 0 {
        out.insert(HeaderName::from_static(name), HeaderValue::from(value));
    }
}

fn put(out: &mut HeaderMap, name: HeaderName, value: Option<&str>) {
    // A value that came some other way than by HTTP may hold what a header cannot.
    if let Some(value) = value.and_then(|v| HeaderValue::from_bytes(v.as_bytes()).ok()) {
        out.insert(name, value);
    }
}

fn put_metadata(out: &mut HeaderMap, name: &str, value: &str) -> bool {
    let name = HeaderName::try_from(format!("{META}{name}"));
    let value = HeaderValue::from_bytes(rfc2047::encode(value).as_bytes());
    match (name, value) {
        (Ok(name), Ok(value)) => {
            out.insert(name, value);
            true
        }
        _ => false,
    }
}

/// The checksum's own header.
pub fn put_checksum(checksum: &Checksum, out: &mut HeaderMap) {
    if let Ok(value) = HeaderValue::try_from(checksum.to_base64()) {
        out.insert(HeaderName::from_static(checksum.algorithm().header()), value);
    }
}

/// The checksum's header, and which kind it is.
pub fn put_checksum_and_kind(checksum: Option<&Checksum>, out: &mut HeaderMap) {
    if let Some(checksum) = checksum {
        put_checksum(checksum, out);
        out.insert(
            HeaderName::from_static("x-amz-checksum-type"),
            HeaderValue::from_static(checksum.kind().name()),
        );
    }
}

pub fn put_etag(etag: &types::ETag, out: &mut HeaderMap) {
    let value = HeaderValue::try_from(format!("\"{etag}\""));
    out.insert(header::ETAG, value.expect("hexadecimal digits in quotes are a header value"));
}

pub fn put_last_modified(time: types::Timestamp, out: &mut HeaderMap) {
    let value = HeaderValue::try_from(crate::dates::http_date(time));
    out.insert(header::LAST_MODIFIED, value.expect("a date is a header value"));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn map(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    fn code(lines: &[(&'static str, &str)]) -> Option<Code> {
        object_headers(&map(lines)).err().map(|e| e.code)
    }

    #[test]
    fn stored_and_returned() {
        let sent = map(&[
            ("content-type", "text/plain"),
            ("cache-control", "no-cache"),
            ("content-disposition", "attachment; filename=\"\u{e9}\""),
            ("content-encoding", "gzip,aws-chunked"),
            ("content-language", "de"),
            ("expires", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("x-amz-website-redirect-location", "/x"),
            ("x-amz-storage-class", "STANDARD_IA"),
            ("x-amz-meta-b", "1"),
            ("x-amz-meta-a", "x"),
            ("x-amz-meta-a", "y"),
            ("x-amz-tagging", "k=v+1&l=%C3%A9"),
        ]);
        let stored = object_headers(&sent).unwrap();
        assert_eq!(stored.tags.pairs(), [("k".into(), "v 1".into()), ("l".into(), "\u{e9}".into())]);
        let mut out = HeaderMap::new();
        put_object_headers(&stored, &mut out);
        for same in [
            "content-type",
            "cache-control",
            "content-disposition",
            "content-language",
            "expires",
            "x-amz-website-redirect-location",
            "x-amz-storage-class",
            "x-amz-meta-b",
        ] {
            assert_eq!(out.get(same), sent.get(same), "{same}");
        }
        assert_eq!(out["content-encoding"], "gzip");
        assert_eq!(out["x-amz-meta-a"], "x,y");
        assert_eq!(out["x-amz-tagging-count"], "2");
    }

    #[test]
    fn defaults() {
        let stored =
            object_headers(&map(&[("content-encoding", "aws-chunked"), ("x-amz-storage-class", "STANDARD")]))
                .unwrap();
        assert_eq!(stored, ObjectHeaders::default());
        let mut out = HeaderMap::new();
        put_object_headers(&stored, &mut out);
        assert_eq!(out.len(), 1);
        assert_eq!(out["content-type"], DEFAULT_CONTENT_TYPE);
    }

    #[test]
    fn metadata_limit_is_exact() {
        let fits = "v".repeat(MAX_USER_METADATA_BYTES - 1);
        assert_eq!(code(&[("x-amz-meta-a", &fits)]), None);
        assert_eq!(code(&[("x-amz-meta-a", &format!("{fits}v"))]), Some(Code::MetadataTooLarge));
    }

    #[test]
    fn non_ascii_metadata() {
        let stored =
            object_headers(&map(&[("x-amz-meta-a", "=?UTF-8?B?w7xiZXI=?="), ("x-amz-meta-b", "\u{fc}ber")]))
                .unwrap();
        assert_eq!(
            stored.user_metadata,
            [("a".into(), "\u{fc}ber".into()), ("b".into(), "\u{fc}ber".into())]
        );
        let mut out = HeaderMap::new();
        put_object_headers(&stored, &mut out);
        assert_eq!(out["x-amz-meta-a"], "=?UTF-8?Q?=C3=BCber?=");
    }

    #[test]
    fn bad_values() {
        assert_eq!(code(&[("x-amz-storage-class", "GLACIER")]), Some(Code::NotImplemented));
        assert_eq!(code(&[("x-amz-storage-class", "COLD")]), Some(Code::InvalidStorageClass));
        assert_eq!(code(&[("x-amz-website-redirect-location", "x")]), Some(Code::InvalidRedirectLocation));
        assert_eq!(code(&[("x-amz-tagging", "a=1&a=2")]), Some(Code::InvalidArgument));
        assert_eq!(code(&[("x-amz-tagging", "a=%zz")]), Some(Code::InvalidArgument));
        assert_eq!(code(&[("x-amz-tagging", "a=%26")]), Some(Code::InvalidTag));
        let many = (0..11).map(|i| format!("k{i}=v")).collect::<Vec<_>>().join("&");
        assert_eq!(code(&[("x-amz-tagging", &many)]), Some(Code::BadRequest));
    }

    #[test]
    fn unsupported_headers() {
        let refused = |name, value| refuse_unsupported(&map(&[(name, value)])).err().map(|e| e.code);
        for (name, value) in [
            ("x-amz-acl", "public-read"),
            ("x-amz-grant-read", "id=1"),
            ("x-amz-server-side-encryption", "aws:kms"),
            ("x-amz-server-side-encryption-customer-key", "k"),
            ("x-amz-server-side-encryption-aws-kms-key-id", "k"),
            ("x-amz-copy-source-server-side-encryption-customer-key", "k"),
            ("x-amz-object-lock-mode", "GOVERNANCE"),
            ("x-amz-write-offset-bytes", "0"),
            ("x-amz-if-match-size", "1"),
        ] {
            assert_eq!(refused(name, value), Some(Code::NotImplemented), "{name}");
        }
        assert_eq!(refused("x-amz-checksum-sha512", "x"), Some(Code::InvalidRequest));
        for (name, value) in [
            ("x-amz-acl", "private"),
            ("x-amz-acl", "bucket-owner-full-control"),
            ("x-amz-server-side-encryption", "AES256"),
            ("x-amz-bucket-object-lock-enabled", "false"),
            ("x-amz-object-annotation-directive", "EXCLUDE"),
            ("x-amz-expected-bucket-owner", "1"),
            ("x-amz-request-payer", "requester"),
            ("x-amz-checksum-mode", "ENABLED"),
            ("x-amz-checksum-crc64nvme", "x"),
            ("x-amz-sdk-checksum-algorithm", "CRC32"),
        ] {
            assert_eq!(refused(name, value), None, "{name}");
        }
    }

    #[test]
    fn what_cannot_be_a_header_is_counted() {
        let object =
            ObjectHeaders { user_metadata: vec![("bad name".into(), "v".into())], ..Default::default() };
        let mut out = HeaderMap::new();
        put_object_headers(&object, &mut out);
        assert_eq!(out["x-amz-missing-meta"], "1");
    }
}
