//! GetBucketVersioning: without a status, as for a bucket that never had versions
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketVersioning.html>).

use super::{Reply, answer};
use crate::xml::Writer;

pub fn get_bucket_versioning() -> Reply {
    Ok(answer::document(
        Writer::new("VersioningConfiguration", 64).finish("VersioningConfiguration").into_bytes(),
    ))
}
