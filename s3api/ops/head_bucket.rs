//! HeadBucket: it is there, and the caller may use it; the dispatcher knows both.

use super::{Call, Reply, answer};
use http::{HeaderName, HeaderValue, StatusCode};

pub fn head_bucket(_call: &Call<'_>) -> Reply {
    let mut response = answer::empty(StatusCode::OK);
    // Any region verifies; this is what SDKs that ask for it go on with.
    response
        .headers_mut()
        .insert(HeaderName::from_static("x-amz-bucket-region"), HeaderValue::from_static("us-east-1"));
    Ok(response)
}
