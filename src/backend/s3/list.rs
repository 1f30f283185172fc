//! What a provider's bucket holds.

use super::Inner;
use crate::{BackendError, Fault, Found, Location, Page, Result};
use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::{EncodingType, Object};
use std::borrow::Cow;
use types::Timestamp;

/// More a page no provider gives.
const PAGE_MAX: usize = 1000;
/// Pages that a server which ignores `start-after` may make us skip before we give up.
const SKIPPED_PAGES_MAX: usize = 10_000;

/// One answer, whatever the form of the request.
struct Batch {
    objects: Vec<Object>,
    encoded: bool,
    truncated: bool,
    token: Option<String>,
}

pub struct Upload {
    pub location: Location,
    pub id: String,
}

/// The cheapest list there is: does the bucket answer?
pub async fn one(inner: &Inner) -> Result<()> {
    batch(inner, "", None, None, 1).await.map(drop)
}

pub async fn page(inner: &Inner, prefix: &str, after: Option<&Location>, limit: usize) -> Result<Page> {
    let limit = limit.clamp(1, PAGE_MAX);
    let mut token = None;
    for _ in 0..SKIPPED_PAGES_MAX {
        let batch = batch(inner, prefix, after, token, limit).await?;
        let last = batch.objects.last().map(|object| name(object, batch.encoded).into_owned());
        let mut found = Vec::with_capacity(batch.objects.len());
        for object in &batch.objects {
            let name = name(object, batch.encoded);
            // A server that does not know `start-after` begins anew.
            if after.is_none_or(|after| *name > *after.as_str()) && name.starts_with(prefix) {
                found.push(described(object, &name)?);
            }
        }
        found.sort_by(|a: &Found, b| a.location.cmp(&b.location));
        if !found.is_empty() || !batch.truncated {
            let next = if batch.truncated { found.last().map(|found| found.location.clone()) } else { None };
            return Ok(Page { found, next });
        }
        token = batch.token.or(last);
    }
    Err(BackendError::new(Fault::Unavailable, "ListObjects: pages without end"))
}

async fn batch(
    inner: &Inner,
    prefix: &str,
    after: Option<&Location>,
    token: Option<String>,
    limit: usize,
) -> Result<Batch> {
    match inner.options.lacks.list_v2 {
        true => old_batch(inner, prefix, token.or_else(|| after.map(ToString::to_string)), limit).await,
        false => new_batch(inner, prefix, after, token, limit).await,
    }
}

async fn new_batch(
    inner: &Inner,
    prefix: &str,
    after: Option<&Location>,
    token: Option<String>,
    limit: usize,
) -> Result<Batch> {
    let list = |_| {
        let call = inner.client().list_objects_v2().bucket(inner.bucket());
        let call = call.encoding_type(EncodingType::Url).max_keys(i32::try_from(limit).unwrap_or(1000));
        let call = call.set_prefix((!prefix.is_empty()).then(|| prefix.to_owned()));
        let after = after.filter(|_| token.is_none());
        call.set_start_after(after.map(ToString::to_string)).set_continuation_token(token.clone()).send()
    };
    let answer = inner.caller.call("ListObjectsV2", list).await?;
    Ok(Batch {
        encoded: answer.encoding_type() == Some(&EncodingType::Url),
        truncated: answer.is_truncated() == Some(true),
        token: answer.next_continuation_token,
        objects: answer.contents.unwrap_or_default(),
    })
}

async fn old_batch(inner: &Inner, prefix: &str, marker: Option<String>, limit: usize) -> Result<Batch> {
    let list = |_| {
        let call = inner.client().list_objects().bucket(inner.bucket());
        let call = call.encoding_type(EncodingType::Url).max_keys(i32::try_from(limit).unwrap_or(1000));
        let call = call.set_prefix((!prefix.is_empty()).then(|| prefix.to_owned()));
        call.set_marker(marker.clone()).send()
    };
    let answer = inner.caller.call("ListObjects", list).await?;
    Ok(Batch {
        encoded: answer.encoding_type() == Some(&EncodingType::Url),
        truncated: answer.is_truncated() == Some(true),
        token: answer.next_marker,
        objects: answer.contents.unwrap_or_default(),
    })
}

/// Unfinished multipart uploads of names that begin with `prefix`.
pub async fn uploads(inner: &Inner, prefix: &str, limit: usize) -> Result<Vec<Upload>> {
    let mut uploads = Vec::new();
    if inner.options.lacks.list_uploads || inner.options.lacks.multipart {
        return Ok(uploads);
    }
    let (mut key, mut id) = (None, None);
    loop {
        let list = |_| {
            let call = inner.client().list_multipart_uploads().bucket(inner.bucket());
            let call = call.set_prefix((!prefix.is_empty()).then(|| prefix.to_owned()));
            call.set_key_marker(key.clone()).set_upload_id_marker(id.clone()).send()
        };
        let answer = inner.caller.call("ListMultipartUploads", list).await?;
        for upload in answer.uploads() {
            if let (Some(key), Some(id)) = (upload.key(), upload.upload_id())
                && key.starts_with(prefix)
            {
                uploads.push(Upload { location: Location::new(key), id: id.to_owned() });
            }
        }
        let same =
            (answer.next_key_marker(), answer.next_upload_id_marker()) == (key.as_deref(), id.as_deref());
        if answer.is_truncated() != Some(true) || same || uploads.len() >= limit {
            return Ok(uploads);
        }
        (key, id) = (answer.next_key_marker, answer.next_upload_id_marker);
    }
}

fn name(object: &Object, encoded: bool) -> Cow<'_, str> {
    let name = object.key().unwrap_or_default();
    if !encoded {
        return Cow::Borrowed(name);
    }
    // As in forms: a blank may come as `+`, a plus sign comes as `%2B`.
    let name = name.replace('+', " ");
    Cow::Owned(percent_encoding::percent_decode_str(&name).decode_utf8_lossy().into_owned())
}

fn described(object: &Object, name: &str) -> Result<Found> {
    let size = object.size().and_then(|size| u64::try_from(size).ok());
    let no_size = || BackendError::new(Fault::Unavailable, "ListObjects: an entry without a size");
    Ok(Found {
        location: Location::new(name),
        size: size.ok_or_else(no_size)?,
        etag: object.e_tag().map(unquoted),
        modified: timestamp(object.last_modified()),
    })
}

pub fn unquoted(etag: &str) -> String {
    etag.trim_matches('"').to_owned()
}

pub fn timestamp(time: Option<&DateTime>) -> Timestamp {
    let millis = time.and_then(|time| time.to_millis().ok()).and_then(|millis| u64::try_from(millis).ok());
    Timestamp(millis.unwrap_or_default())
}
