//! UploadPart.

use super::part::PartCall;
use super::{Call, Reply, answer};
use crate::error::Result;
use crate::{RequestBody, headers};
use http::StatusCode;
use store::StoreError;

pub async fn upload_part(call: &Call<'_>, body: RequestBody) -> Reply {
    let part = PartCall::of(call)?;
    let (source, promised) = call.open(body)?;
    check_size(call, promised.size)?;
    part.check(call).await?;
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
