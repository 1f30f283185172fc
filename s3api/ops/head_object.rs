//! HeadObject: GetObject without its body.

use super::get_object::{Asked, head};
use super::{Call, Reply};
use crate::ResponseBody;
use http::{HeaderValue, header};

pub async fn head_object(call: &Call<'_>) -> Reply {
    let asked = Asked::of(call)?;
    let (mut response, content) = if asked.part.is_some() {
        let open = call.store.open(call.bucket.id, call.key()?).await?;
        head(call, &asked, open.object(), &open.parts())?
    } else {
        head(call, &asked, &call.store.head(call.bucket.id, call.key()?).await?, &[])?
    };
    if let Some(range) = content {
        *response.body_mut() = ResponseBody::Head(range.len());
        // hyper leaves out a length of 0 in an answer to HEAD; the AWS CLI fails without it.
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(range.len()));
    }
    Ok(response)
}
