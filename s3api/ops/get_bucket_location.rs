//! GetBucketLocation: empty, which is us-east-1
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketLocation.html>).

use super::{Reply, answer};
use crate::xml::Writer;

pub fn get_bucket_location() -> Reply {
    Ok(answer::document(Writer::new("LocationConstraint", 64).finish("LocationConstraint").into_bytes()))
}
