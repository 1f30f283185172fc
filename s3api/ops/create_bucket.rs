//! CreateBucket: buckets come from the configuration.
//!
//! Clients such as rclone create the bucket before they write to it and go on after this 409, but
//! not after 403, 405 or 501.

use super::{Call, Reply};
use crate::error::{Code, S3Error};

pub fn create_bucket(call: &Call<'_>) -> Reply {
    Err(S3Error::new(
        Code::BucketAlreadyOwnedByYou,
        "Your previous request to create the named bucket succeeded and you already own it.",
    )
    .with("BucketName", call.bucket.name.as_str()))
}
