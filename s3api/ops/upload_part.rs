//! UploadPart.

use super::part::PartCall;
use super::{Call, Reply, answer};
use crate::error::{Code, Result, S3Error};
use crate::{RequestBody, headers};
use http::StatusCode;
use store::{Promised, StoreError, Upload};
use types::ChecksumKind;

pub async fn upload_part(call: &Call<'_>, body: RequestBody) -> Reply {
    let part = PartCall::of(call)?;
    let (source, promised) = call.open(body)?;
    check_size(call, promised.size)?;
    require_checksum(&part.check(call).await?, &promised)?;
    let _held = call.buffers.for_upload(promised.size).await?;
    let stored = call.store.put_part(&part.upload, part.number, promised, source).await?;
    let mut response = answer::empty(StatusCode::OK);
    headers::put_etag(&stored.etag, response.headers_mut());
    // Without it botocore leaves the part's checksum out of its CompleteMultipartUpload.
    if let Some(checksum) = &stored.checksum {
        headers::put_checksum(checksum, response.headers_mut());
    }
    Ok(response)
}

fn check_size(call: &Call<'_>, size: Option<u64>) -> Result<()> {
    let max = call.store.limits().max_object_size_bytes;
    match size {
        Some(size) if size > max => Err(StoreError::TooLarge { size, max }.into()),
        _ => Ok(()),
    }
}

/// A checksum of checksums is of those that the client made
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html>).
fn require_checksum(upload: &Upload, promised: &Promised) -> Result<()> {
    let given = promised.checksum.is_some() || promised.algorithm.is_some();
    match upload.checksum {
        Some((algorithm, ChecksumKind::Composite)) if !given => Err(S3Error::new(
            Code::InvalidRequest,
            format!(
                "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: null",
                algorithm.name().to_ascii_lowercase()
            ),
        )),
        _ => Ok(()),
    }
}
