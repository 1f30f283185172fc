//! CompleteMultipartUpload.

use super::{Call, Reply, answer};
use crate::error::{Code, Result, S3Error};
use crate::xml::{self, Element, Writer};
use crate::{RequestBody, conditions, headers, percent};
use http::HeaderMap;
use store::{CompleteUpload, NamedPart, StoreError};
use types::{Algorithm, Checksum, ETag, MAX_PARTS};

const ROOT: &str = "CompleteMultipartUploadResult";

pub async fn complete_multipart_upload(call: &Call<'_>, body: RequestBody) -> Reply {
    let upload = call.upload()?;
    let conditions = conditions::write(call.headers);
    let checksum = object_checksum(call.headers)?;
    let kind = headers::checksum_kind(call.headers)?;
    let object_size = object_size(call)?;
    if !conditions.is_none() {
        call.store.check_put(call.bucket.id, &upload.key, &conditions, None).await?;
    }
    let parts = parse(&call.read_manifest(body).await?)?;
    let (location, bucket, key) = (location(call), call.bucket.name.clone(), upload.key.clone());
    let request = CompleteUpload { upload, parts, conditions, checksum, kind, object_size };
    let store = call.store.clone();
    let id = call.query.get("uploadId").unwrap_or_default().to_owned();
    answer::slow(call, async move {
        let written = store.complete_upload(request).await.map_err(|error| named(error, &id))?;
        let mut xml = Writer::new(ROOT, 512 + location.len() + key.as_str().len());
        xml.text("Location", &location);
        xml.text("Bucket", bucket.as_str());
        xml.text("Key", key.as_str());
        xml.etag(&written.etag);
        if let Some(checksum) = &written.checksum {
            xml.checksum(checksum);
            xml.raw("ChecksumType", checksum.kind().name());
        }
        Ok(xml.finish(ROOT))
    })
    .await
}

fn named(error: StoreError, id: &str) -> S3Error {
    let about_upload = matches!(error, StoreError::NoSuchUpload | StoreError::InvalidPart { .. });
    let error = S3Error::from(error);
    if about_upload { error.with("UploadId", id) } else { error }
}

/// The object's URL. Nobody follows it, but it is in the answer.
fn location(call: &Call<'_>) -> String {
    let base = match &call.options.external_url {
        Some(url) if !call.target.virtual_host => url.trim_end_matches('/').to_owned(),
        _ => format!("http://{}", call.header("host").unwrap_or_default()),
    };
    let bucket = if call.target.virtual_host { String::new() } else { format!("/{}", call.bucket.name) };
    let key = call.target.key.as_ref().map(|key| key.as_str()).unwrap_or_default();
    format!("{base}{bucket}/{}", percent::encode_path(key))
}

fn object_size(call: &Call<'_>) -> Result<Option<u64>> {
    let text = call.header("x-amz-mp-object-size");
    text.map(|text| text.parse())
        .transpose()
        .map_err(|_| S3Error::new(Code::InvalidRequest, "Value for x-amz-mp-object-size header is invalid."))
}

/// `x-amz-checksum-*`: the whole object's; a composite one may have its `-N`.
fn object_checksum(headers: &HeaderMap) -> Result<Option<Checksum>> {
    let mut found = None;
    for algorithm in Algorithm::ALL {
        let Some(value) = headers.get(algorithm.header()) else { continue };
        if found.is_some() {
            let why = "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.";
            return Err(S3Error::new(Code::InvalidRequest, why));
        }
        let text = headers::text(value);
        let bad = || {
            S3Error::new(Code::InvalidRequest, format!("Value for {} header is invalid.", algorithm.header()))
        };
        found = Some(composite(algorithm, &text).ok_or_else(bad)?);
    }
    Ok(found)
}

fn composite(algorithm: Algorithm, text: &str) -> Option<Checksum> {
    // A hyphen is no character of base64.
    let value = match text.split_once('-') {
        Some((value, parts)) => parts.parse::<u16>().is_ok().then_some(value)?,
        None => text,
    };
    Checksum::from_base64(algorithm, value)
}

pub fn parse(document: &[u8]) -> Result<Vec<NamedPart>> {
    let root = xml::parse(document, "CompleteMultipartUpload")?;
    let parts = root.all("Part").map(part).collect::<Result<Vec<_>>>()?;
    if parts.is_empty() || parts.len() > usize::from(MAX_PARTS) {
        return Err(xml::malformed());
    }
    // Before the parts are compared with what was uploaded: a list out of order is wrong whatever they are.
    if !parts.is_sorted_by(|part, next| part.number < next.number) {
        return Err(StoreError::InvalidPartOrder.into());
    }
    Ok(parts)
}

fn part(element: &Element) -> Result<NamedPart> {
    let text = element.text_of("PartNumber")?.trim();
    let number: i64 = text.parse().map_err(|_| xml::malformed())?;
    let number = u16::try_from(number).ok().filter(|number| (1..=MAX_PARTS).contains(number));
    let number = number.ok_or_else(|| {
        S3Error::invalid_argument("PartNumber must be >= 1 and <= 10000", "PartNumber", text)
    })?;
    let etag = ETag::parse(element.text_of("ETag")?);
    Ok(NamedPart { number, etag, checksum: part_checksum(element, number)? })
}

fn part_checksum(element: &Element, number: u16) -> Result<Option<Checksum>> {
    for algorithm in Algorithm::ALL {
        let Some(text) = element.optional(xml::checksum_element(algorithm))? else { continue };
        // Text that is no checksum is none that the part has.
        let checksum = Checksum::from_base64(algorithm, text);
        return checksum.map(Some).ok_or_else(|| StoreError::InvalidPart { number }.into());
    }
    match element.children.iter().any(|child| child.name.starts_with("Checksum")) {
        true => Err(headers::unsupported_algorithm()),
        false => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const HEX: &str = "0123456789abcdef0123456789abcdef";

    fn code(parts: &str) -> std::result::Result<usize, Code> {
        let document = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
        parse(document.as_bytes()).map(|parts| parts.len()).map_err(|e| e.code)
    }

    #[test]
    fn every_spelling_of_an_etag() {
        for etag in [
            HEX.to_owned(),
            format!("\"{HEX}\""),
            format!("&quot;{HEX}&quot;"),
            format!("&#34;{HEX}&#34;"),
            format!("\n {HEX} "),
        ] {
            let document = format!(
                "<CompleteMultipartUpload xmlns=\"x\">\n<Part><ETag>{etag}</ETag>\n<PartNumber> 2 </PartNumber></Part></CompleteMultipartUpload>"
            );
            let parts = parse(document.as_bytes()).unwrap();
            assert_eq!(parts[0].etag, ETag::parse(HEX), "{etag}");
            assert_eq!(parts[0].number, 2);
        }
    }

    #[test]
    fn bad_lists() {
        let part = |number: &str, etag: &str| {
            format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>")
        };
        assert_eq!(code(&part("1", "foreign")), Ok(1));
        assert_eq!(code(""), Err(Code::MalformedXML));
        assert_eq!(code("<Part><PartNumber>1</PartNumber></Part>"), Err(Code::MalformedXML));
        assert_eq!(code("<Part><ETag>x</ETag></Part>"), Err(Code::MalformedXML));
        assert_eq!(code(&part("one", HEX)), Err(Code::MalformedXML));
        for number in ["0", "10001", "-1", "65537"] {
            assert_eq!(code(&part(number, HEX)), Err(Code::InvalidArgument), "{number}");
        }
        assert_eq!(code(&part("1", HEX).repeat(10_001)), Err(Code::MalformedXML));
        assert_eq!(code(&part("1", HEX).repeat(2)), Err(Code::InvalidPartOrder));
        assert_eq!(code(&(part("2", HEX) + &part("1", HEX))), Err(Code::InvalidPartOrder));
        assert_eq!(code(&(part("1", HEX) + &part("3", HEX))), Ok(2));
    }

    #[test]
    fn checksums_of_parts() {
        let part = |sum: &str| {
            format!(
                "<Part><PartNumber>1</PartNumber><ETag>{HEX}</ETag><ChecksumCRC32>{sum}</ChecksumCRC32></Part>"
            )
        };
        assert_eq!(code(&part("NhCmhg==")), Ok(1));
        assert_eq!(code(&part("x")), Err(Code::InvalidPart));
        assert_eq!(code(&part("NhCmhg==").replace("CRC32", "SHA512")), Err(Code::InvalidRequest));
    }

    #[test]
    fn checksums_of_the_object() {
        let of = |lines: &[(&'static str, &str)]| {
            let map: HeaderMap = lines
                .iter()
                .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()))
                .collect();
            object_checksum(&map).map(|sum| sum.map(|sum| sum.to_base64())).map_err(|e| e.code)
        };
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&[("x-amz-checksum-crc32", "NhCmhg==")]), Ok(Some("NhCmhg==".into())));
        assert_eq!(of(&[("x-amz-checksum-crc32c", "mnG7TA==-3")]), Ok(Some("mnG7TA==".into())));
        for bad in ["", "x", "NhCmhg==-x", "NhCmhg==-", "-3"] {
            assert_eq!(of(&[("x-amz-checksum-crc32", bad)]), Err(Code::InvalidRequest), "{bad}");
        }
        let two = [("x-amz-checksum-crc32", "NhCmhg=="), ("x-amz-checksum-crc32c", "mnG7TA==")];
        assert_eq!(of(&two), Err(Code::InvalidRequest));
    }
}
