//! Deleting replicas, and what unfinished writes left.

use super::{Inner, Lacks, list};
use crate::{BackendError, Fault, Location, Result};
use aws_sdk_s3::config::http::HttpRequest;
use aws_sdk_s3::types::{Delete, Error, ObjectIdentifier};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::stream::{self, StreamExt as _};
use md5::{Digest as _, Md5};

/// S3's limit of one DeleteObjects.
const BATCH_MAX: usize = 1000;
/// Where there are no batches: calls at a time.
const AT_A_TIME: usize = 8;
/// Uploads of one location that one call of `abandon` looks for: there is one, unless a server lost count.
const UPLOADS_MAX: usize = 1000;

pub async fn all(inner: &Inner, locations: &[Location]) -> Vec<Result<()>> {
    let mut results = Vec::with_capacity(locations.len());
    for batch in locations.chunks(BATCH_MAX) {
        match batch.len() == 1 || inner.options.lacks.batch_delete {
            true => {
                let calls: Vec<_> = batch.iter().map(|location| one(inner, location)).collect();
                results.extend(stream::iter(calls).buffered(AT_A_TIME).collect::<Vec<_>>().await);
            }
            false => results.extend(many(inner, batch).await),
        }
    }
    results
}

/// That `all` makes for so many.
pub fn calls(lacks: &Lacks, count: usize) -> u64 {
    let calls = if lacks.batch_delete { count } else { count.div_ceil(BATCH_MAX) };
    calls as u64
}

/// The deletion, and before it the listing and the end of the upload.
pub fn calls_to_abandon(lacks: &Lacks) -> u64 {
    if lacks.list_uploads || lacks.multipart { 1 } else { 3 }
}

async fn one(inner: &Inner, location: &Location) -> Result<()> {
    let delete = |_| inner.client().delete_object().bucket(inner.bucket()).key(location.as_str()).send();
    match inner.caller.call("DeleteObject", delete).await {
        Err(error) if error.fault == Fault::Absent => Ok(()),
        deleted => deleted.map(drop),
    }
}

async fn many(inner: &Inner, batch: &[Location]) -> Vec<Result<()>> {
    let identifiers: std::result::Result<Vec<_>, _> =
        batch.iter().map(|location| ObjectIdentifier::builder().key(location.as_str()).build()).collect();
    let list = identifiers.and_then(|all| Delete::builder().set_objects(Some(all)).quiet(true).build());
    let list = match list {
        Ok(list) => list,
        Err(error) => return vec![Err(BackendError::new(Fault::Refused, error.to_string())); batch.len()],
    };
    let delete = |_| {
        let call = inner.client().delete_objects().bucket(inner.bucket()).delete(list.clone());
        call.customize().mutate_request(digest_by_md5).send()
    };
    match inner.caller.call("DeleteObjects", delete).await {
        Ok(answer) => batch.iter().map(|location| outcome(location, answer.errors())).collect(),
        Err(error) => vec![Err(error); batch.len()],
    }
}

fn outcome(location: &Location, errors: &[Error]) -> Result<()> {
    let Some(error) = errors.iter().find(|error| error.key() == Some(location.as_str())) else {
        return Ok(());
    };
    let (code, message) = (error.code().unwrap_or_default(), error.message().unwrap_or_default());
    let fault = match code {
        "NoSuchKey" => return Ok(()),
        "InternalError" | "ServiceUnavailable" => Fault::Unavailable,
        "SlowDown" => Fault::Throttled,
        _ => Fault::Refused,
    };
    Err(BackendError::new(fault, format!("DeleteObjects: {code}: {message}")))
}

/// DeleteObjects needs a digest. All providers know `Content-MD5`, not all the SDK's checksums.
fn digest_by_md5(request: &mut HttpRequest) {
    let Some(body) = request.body().bytes() else { return };
    let digest = STANDARD.encode(Md5::digest(body));
    let headers = request.headers_mut();
    for name in ["x-amz-checksum-crc32", "x-amz-sdk-checksum-algorithm", "x-amz-checksum-algorithm"] {
        headers.remove(name);
    }
    headers.insert("content-md5", digest);
}

pub async fn abandon(inner: &Inner, location: &Location) -> Result<()> {
    let uploads = list::uploads(inner, location.as_str(), UPLOADS_MAX).await?;
    for upload in uploads.iter().filter(|upload| upload.location == *location) {
        abort(inner, location, &upload.id).await?;
    }
    one(inner, location).await
}

pub async fn abort(inner: &Inner, location: &Location, upload: &str) -> Result<()> {
    let abort = |_| {
        let call = inner.client().abort_multipart_upload().bucket(inner.bucket());
        call.key(location.as_str()).upload_id(upload).send()
    };
    match inner.caller.call("AbortMultipartUpload", abort).await {
        Err(error) if error.fault == Fault::Absent => Ok(()),
        aborted => aborted.map(drop),
    }
}
