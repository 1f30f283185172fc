//! PutObject.

use super::{Call, Reply, answer};
use crate::{RequestBody, conditions, headers};
use http::StatusCode;
use store::PutRequest;

pub async fn put_object(call: &Call<'_>, body: RequestBody) -> Reply {
    let key = call.key()?;
    let object = headers::object_headers(call.headers)?;
    let conditions = conditions::write(call.headers);
    let (source, promised) = call.open(body)?;
    call.store.check_put(call.bucket.id, key, &conditions, promised.size).await?;
    let _held = call.buffers.for_upload(promised.size).await?;
    let request =
        PutRequest { bucket: call.bucket.id, key: key.clone(), headers: object, conditions, promised };
    let written = call.store.put(request, source).await?;
    let mut response = answer::empty(StatusCode::OK);
    headers::put_etag(&written.etag, response.headers_mut());
    headers::put_checksum_and_kind(written.checksum.as_ref(), response.headers_mut());
    Ok(response)
}
