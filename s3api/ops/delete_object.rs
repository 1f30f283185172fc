//! DeleteObject: 204 also where nothing was.

use super::{Call, Reply, answer};
use crate::conditions;
use http::StatusCode;
use store::DeleteRequest;

pub async fn delete_object(call: &Call<'_>) -> Reply {
    let if_match = conditions::write(call.headers).if_match;
    call.store.delete(call.bucket.id, DeleteRequest { key: call.key()?.clone(), if_match }).await?;
    Ok(answer::empty(StatusCode::NO_CONTENT))
}
