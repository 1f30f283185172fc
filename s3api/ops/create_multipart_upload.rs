//! CreateMultipartUpload: fixes the object's headers, tags and checksum.

use super::{Call, Reply, answer};
use crate::error::{Code, Result, S3Error};
use crate::xml::Writer;
use crate::{headers, upload_id};
use http::{HeaderMap, HeaderName, HeaderValue};
use store::CreateUpload;
use types::{Algorithm, ChecksumKind};

const ROOT: &str = "InitiateMultipartUploadResult";

pub async fn create_multipart_upload(call: &Call<'_>) -> Reply {
    let key = call.key()?;
    let checksum = checksum(call.headers)?;
    let object = headers::object_headers(call.headers)?;
    let request = CreateUpload { bucket: call.bucket.id, key: key.clone(), headers: object, checksum };
    let id = call.store.create_upload(request).await?;
    let mut xml = Writer::new(ROOT, 256 + key.as_str().len());
    xml.text("Bucket", call.bucket.name.as_str());
    xml.text("Key", key.as_str());
    xml.raw("UploadId", upload_id::show(call.bucket.id, id));
    let mut response = answer::document(xml.finish(ROOT).into_bytes());
    if let Some((algorithm, kind)) = checksum {
        let out = response.headers_mut();
        out.insert(
            HeaderName::from_static("x-amz-checksum-algorithm"),
            HeaderValue::from_static(algorithm.name()),
        );
        out.insert(HeaderName::from_static("x-amz-checksum-type"), HeaderValue::from_static(kind.name()));
    }
    Ok(response)
}

/// Which pairs there are:
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html>.
fn checksum(headers: &HeaderMap) -> Result<Option<(Algorithm, ChecksumKind)>> {
    let algorithm = headers::algorithm(headers, "x-amz-checksum-algorithm")?;
    match (algorithm, headers::checksum_kind(headers)?) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(S3Error::new(
            Code::InvalidRequest,
            "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.",
        )),
        (Some(algorithm), None) => Ok(Some((algorithm, algorithm.default_kind()))),
        (Some(algorithm), Some(kind)) if algorithm.allows(kind) => Ok(Some((algorithm, kind))),
        (Some(algorithm), Some(kind)) => Err(S3Error::new(
            Code::InvalidRequest,
            format!(
                "The {} checksum type cannot be used with the {} checksum algorithm.",
                kind.name(),
                algorithm.name().to_ascii_lowercase()
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn of(algorithm: &str, kind: &str) -> std::result::Result<Option<(Algorithm, ChecksumKind)>, Code> {
        let mut map = HeaderMap::new();
        for (name, value) in [("x-amz-checksum-algorithm", algorithm), ("x-amz-checksum-type", kind)] {
            if !value.is_empty() {
                map.insert(name, value.parse().unwrap());
            }
        }
        checksum(&map).map_err(|e| e.code)
    }

    #[test]
    fn pairs() {
        use ChecksumKind::{Composite, FullObject};
        assert_eq!(of("", ""), Ok(None));
        assert_eq!(of("crc32", ""), Ok(Some((Algorithm::Crc32, Composite))));
        assert_eq!(of("CRC64NVME", ""), Ok(Some((Algorithm::Crc64Nvme, FullObject))));
        assert_eq!(of("CRC32C", "full_object"), Ok(Some((Algorithm::Crc32c, FullObject))));
        for (algorithm, kind) in [
            ("", "COMPOSITE"),
            ("CRC64NVME", "COMPOSITE"),
            ("SHA1", "FULL_OBJECT"),
            ("MD5", ""),
            ("CRC32", "x"),
        ] {
            assert_eq!(of(algorithm, kind), Err(Code::InvalidRequest), "{algorithm} {kind}");
        }
    }
}
