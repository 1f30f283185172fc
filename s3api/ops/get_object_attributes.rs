//! GetObjectAttributes
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectAttributes.html>).

use super::get_object::precondition_failed;
use super::list_parts::part_marker;
use super::{Call, Reply, answer};
use crate::error::{Code, Result, S3Error};
use crate::query::page_size;
use crate::xml::Writer;
use crate::{conditions, headers};
use http::HeaderMap;
use store::ObjectPart;
use types::condition::ReadVerdict;

const ROOT: &str = "GetObjectAttributesResponse";
const ATTRIBUTES: &str = "x-amz-object-attributes";

pub async fn get_object_attributes(call: &Call<'_>) -> Reply {
    let wanted = Wanted::of(call.headers)?;
    let max = page_size("x-amz-max-parts", call.header("x-amz-max-parts").as_deref())?;
    let after = part_marker("x-amz-part-number-marker", call.header("x-amz-part-number-marker").as_deref())?;
    let open = call.store.open(call.bucket.id, call.key()?).await?;
    let object = open.object();
    match conditions::read(call.headers, call.now).check(&object.etag, object.modified) {
        ReadVerdict::Send => {}
        ReadVerdict::NotModified => return Ok(answer::empty(http::StatusCode::NOT_MODIFIED)),
        ReadVerdict::PreconditionFailed(header) => return Err(precondition_failed(header)),
    }
    let mut xml = Writer::new(ROOT, 1024);
    if wanted.etag {
        // Here, and only here, without quotes.
        xml.raw("ETag", object.etag);
    }
    if let Some(checksum) = object.checksum.as_ref().filter(|_| wanted.checksum) {
        xml.open("Checksum");
        xml.checksum(checksum);
        xml.raw("ChecksumType", checksum.kind().name());
        xml.close("Checksum");
    }
    if wanted.parts && object.etag.parts.is_some() {
        write_parts(&mut xml, &open.parts(), after, max);
    }
    if wanted.storage_class {
        xml.text("StorageClass", object.headers.storage_class.as_deref().unwrap_or("STANDARD"));
    }
    if wanted.size {
        xml.raw("ObjectSize", object.size);
    }
    let mut response = answer::document(xml.finish(ROOT).into_bytes());
    headers::put_last_modified(object.modified, response.headers_mut());
    Ok(response)
}

/// The list is there only where the parts have checksums of their own, as on AWS.
fn write_parts(xml: &mut Writer, parts: &[ObjectPart], after: u16, max: usize) {
    let listed = parts.iter().all(|part| part.checksum.is_some());
    let page: Vec<_> = parts.iter().filter(|part| part.number > after).take(max).collect();
    let last = page.last().map_or(after, |part| part.number);
    xml.open("ObjectParts");
    if listed {
        for part in &page {
            xml.open("Part");
            if let Some(checksum) = &part.checksum {
                xml.checksum(checksum);
            }
            xml.raw("PartNumber", part.number);
            xml.raw("Size", part.size);
            xml.close("Part");
        }
        xml.raw("IsTruncated", max > 0 && parts.iter().any(|part| part.number > last));
        xml.raw("MaxParts", max);
        xml.raw("NextPartNumberMarker", last);
        xml.raw("PartNumberMarker", after);
    }
    xml.raw("PartsCount", parts.len());
    xml.close("ObjectParts");
}

#[derive(Default, Debug, PartialEq)]
struct Wanted {
    etag: bool,
    checksum: bool,
    parts: bool,
    storage_class: bool,
    size: bool,
}

impl Wanted {
    /// One line with commas, or several lines: both are sent.
    fn of(headers: &HeaderMap) -> Result<Self> {
        let mut wanted = Self::default();
        for value in headers.get_all(ATTRIBUTES) {
            for name in headers::text(value).split(',').map(str::trim) {
                match name {
                    "ETag" => wanted.etag = true,
                    "Checksum" => wanted.checksum = true,
                    "ObjectParts" => wanted.parts = true,
                    "StorageClass" => wanted.storage_class = true,
                    "ObjectSize" => wanted.size = true,
                    "" => {}
                    other => {
                        return Err(S3Error::invalid_argument(
                            "Invalid attribute name specified.",
                            ATTRIBUTES,
                            other,
                        ));
                    }
                }
            }
        }
        if wanted == Self::default() {
            let why = "The x-amz-object-attributes header specifying the attributes to be retrieved is either missing or empty";
            return Err(S3Error::new(Code::InvalidRequest, why));
        }
        Ok(wanted)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn wanted(values: &[&str]) -> std::result::Result<Wanted, Code> {
        let mut map = HeaderMap::new();
        for value in values {
            map.append(ATTRIBUTES, value.parse().unwrap());
        }
        Wanted::of(&map).map_err(|e| e.code)
    }

    #[test]
    fn names_in_one_line_or_many() {
        let expected = Wanted { etag: true, size: true, ..Wanted::default() };
        assert_eq!(wanted(&["ETag, ObjectSize"]).as_ref(), Ok(&expected));
        assert_eq!(wanted(&["ETag", "ObjectSize"]).as_ref(), Ok(&expected));
        assert_eq!(wanted(&["ETag,Colour"]), Err(Code::InvalidArgument));
        assert_eq!(wanted(&[]), Err(Code::InvalidRequest));
        assert_eq!(wanted(&[""]), Err(Code::InvalidRequest));
    }

    #[test]
    fn pages_of_parts() {
        let sum = types::Checksum::from_base64(types::Algorithm::Crc32, "NhCmhg==");
        let part = |number| ObjectPart { number, size: 5, checksum: sum };
        let parts: Vec<_> = (1..=3).map(part).collect();
        let page = |after, max| {
            let mut xml = Writer::new("R", 0);
            write_parts(&mut xml, &parts, after, max);
            let bytes = xml.finish("R").into_bytes();
            let root = crate::xml::parse(&bytes, "R").unwrap();
            let list = root.all("ObjectParts").next().unwrap().clone();
            let numbers: Vec<_> =
                list.all("Part").map(|p| p.text_of("PartNumber").unwrap().to_owned()).collect();
            let text = |name: &str| list.text_of(name).unwrap().to_owned();
            (numbers.join(","), text("IsTruncated"), text("NextPartNumberMarker"), text("PartsCount"))
        };
        let of = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned(), "3".to_owned());
        assert_eq!(page(0, 2), of("1,2", "true", "2"));
        assert_eq!(page(2, 2), of("3", "false", "3"));
        assert_eq!(page(9, 2), of("", "false", "9"));
    }
}
