//! AbortMultipartUpload: 204, or 404 for an upload that is not there.

use super::{Call, Reply, answer};
use http::StatusCode;

pub async fn abort_multipart_upload(call: &Call<'_>) -> Reply {
    call.store.abort_upload(&call.upload()?).await?;
    Ok(answer::empty(StatusCode::NO_CONTENT))
}
