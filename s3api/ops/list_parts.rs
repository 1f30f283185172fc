//! ListParts (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListParts.html>).

use super::{Call, Reply, answer};
use crate::error::{Result, S3Error};
use crate::upload_id;
use crate::xml::Writer;
use store::StoredPart;

const ROOT: &str = "ListPartsResult";

pub async fn list_parts(call: &Call<'_>) -> Reply {
    let reference = call.upload()?;
    let max = call.query.page_size("max-parts")?;
    let after = part_marker("part-number-marker", call.query.get("part-number-marker"))?;
    let page = call.store.list_parts(&reference, after, max).await?;
    let (upload, bucket) = (&page.upload, call.bucket.name.as_str());
    let truncated = page.truncated && max > 0;

    let mut xml = Writer::new(ROOT, 1024 + page.parts.len() * 256);
    xml.text("Bucket", bucket);
    xml.text("Key", upload.key.as_str());
    xml.raw("UploadId", upload_id::show(call.bucket.id, upload.id));
    xml.person("Initiator", bucket);
    xml.person("Owner", bucket);
    xml.text("StorageClass", upload.headers.storage_class.as_deref().unwrap_or("STANDARD"));
    if let Some((algorithm, kind)) = upload.checksum {
        xml.raw("ChecksumAlgorithm", algorithm.name());
        xml.raw("ChecksumType", kind.name());
    }
    xml.raw("PartNumberMarker", after);
    xml.raw("NextPartNumberMarker", page.parts.last().map_or(after, |part| part.number));
    xml.raw("MaxParts", max);
    xml.raw("IsTruncated", truncated);
    for part in &page.parts {
        write_part(&mut xml, part);
    }
    Ok(answer::document(xml.finish(ROOT).into_bytes()))
}

fn write_part(xml: &mut Writer, part: &StoredPart) {
    xml.open("Part");
    xml.raw("PartNumber", part.number);
    xml.time("LastModified", part.modified);
    xml.etag(&part.etag);
    xml.raw("Size", part.size);
    if let Some(checksum) = &part.checksum {
        xml.checksum(checksum);
    }
    xml.close("Part");
}

/// Behind which part a page begins; a number beyond the last possible part is behind them all.
pub fn part_marker(name: &'static str, value: Option<&str>) -> Result<u16> {
    let Some(text) = value.map(str::trim).filter(|text| !text.is_empty()) else {
        return Ok(0);
    };
    let number: i32 = text.parse().ok().filter(|number| *number >= 0).ok_or_else(|| {
        S3Error::invalid_argument(
            format!("Provided {name} not an integer or within integer range"),
            name,
            text,
        )
    })?;
    Ok(u16::try_from(number).unwrap_or(u16::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Code;

    #[test]
    fn markers() {
        let of = |text| part_marker("part-number-marker", text).map_err(|e| e.code);
        assert_eq!(of(None), Ok(0));
        assert_eq!(of(Some("")), Ok(0));
        assert_eq!(of(Some("7")), Ok(7));
        assert_eq!(of(Some("100000")), Ok(u16::MAX));
        for bad in ["-1", "x", "99999999999"] {
            assert_eq!(of(Some(bad)), Err(Code::InvalidArgument), "{bad}");
        }
    }
}
