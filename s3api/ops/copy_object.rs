//! CopyObject, and what it shares with UploadPartCopy.

use super::get_object::precondition_failed;
use super::{Call, Reply, answer};
use crate::error::{Code, Result, S3Error};
use crate::xml::Writer;
use crate::{conditions, copy_source, headers};
use store::{CopyRequest, Object, OpenObject};
use types::condition::ReadVerdict;
use types::{Algorithm, Key, ObjectHeaders, Tags};

const ROOT: &str = "CopyObjectResult";
/// Larger ones are copied in parts
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html>).
const MAX_SIZE_BYTES: u64 = 5 << 30;

pub async fn copy_object(call: &Call<'_>) -> Reply {
    let key = call.key()?;
    call.refuse_body()?;
    if let Some(range) = call.header("x-amz-copy-source-range") {
        let why = "The x-amz-copy-source-range header is only allowed for UploadPartCopy";
        return Err(S3Error::invalid_argument(why, "x-amz-copy-source-range", &range));
    }
    let conditions = conditions::write(call.headers);
    let wish = Wish::of(call)?;
    let source = open_source(call).await?;
    let object = source.object();
    if object.size > MAX_SIZE_BYTES {
        let why = "The specified copy source is larger than the maximum allowable size for a copy source: 5368709120";
        return Err(S3Error::new(Code::InvalidRequest, why));
    }
    if wish.changes_nothing(key, &source_key(call)?, object) {
        let why = "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.";
        return Err(S3Error::new(Code::InvalidRequest, why));
    }
    // Only for another checksum are the bytes looked at.
    let wish_reads = wish.algorithm.is_some();
    let request = CopyRequest {
        bucket: call.bucket.id,
        destination: key.clone(),
        headers: wish.headers_beside(object),
        tags: wish.tags,
        conditions,
        algorithm: wish.algorithm,
    };
    let held = call.buffers.for_download(if wish_reads { object.size } else { 0 }).await?;
    let store = call.store.clone();
    answer::slow(call, async move {
        let _held = held;
        let written = store.copy(&source, request).await?;
        let mut xml = Writer::new(ROOT, 512);
        xml.time("LastModified", written.modified);
        xml.etag(&written.etag);
        if let Some(checksum) = &written.checksum {
            xml.checksum(checksum);
            xml.raw("ChecksumType", checksum.kind().name());
        }
        Ok(xml.finish(ROOT))
    })
    .await
}

fn source_key(call: &Call<'_>) -> Result<Key> {
    let header = call.headers.get("x-amz-copy-source");
    let source = copy_source::parse(header.map(|value| value.as_bytes()).unwrap_or_default())?;
    // Another bucket, there or not, is not this caller's.
    if source.bucket != call.bucket.name.as_str() {
        return Err(S3Error::access_denied());
    }
    Ok(source.key)
}

/// The source, if its conditions hold. Every failure is 412: a 304 to a PUT means nothing to
/// clients.
pub async fn open_source(call: &Call<'_>) -> Result<OpenObject> {
    let source = call.store.open(call.bucket.id, &source_key(call)?).await?;
    let object = source.object();
    match conditions::copy_source(call.headers, call.now).check(&object.etag, object.modified) {
        ReadVerdict::Send => Ok(source),
        ReadVerdict::NotModified => Err(precondition_failed("x-amz-copy-source-If-None-Match")),
        ReadVerdict::PreconditionFailed("If-Match") => Err(precondition_failed("x-amz-copy-source-If-Match")),
        ReadVerdict::PreconditionFailed(_) => {
            Err(precondition_failed("x-amz-copy-source-If-Unmodified-Since"))
        }
    }
}

/// What the copy is to have that the source has not.
struct Wish {
    /// `REPLACE`: these and nothing of the source's.
    replaced: Option<ObjectHeaders>,
    /// `x-amz-tagging-directive: REPLACE`.
    tags: Option<Tags>,
    /// `Some(None)` is STANDARD.
    storage_class: Option<Option<String>>,
    redirect: Option<String>,
    encryption: bool,
    algorithm: Option<Algorithm>,
}

impl Wish {
    fn of(call: &Call<'_>) -> Result<Self> {
        let replaces = directive(call, "x-amz-metadata-directive")?;
        let replaces_tags = directive(call, "x-amz-tagging-directive")?;
        let asked = headers::object_headers(call.headers)?;
        Ok(Self {
            storage_class: call
                .headers
                .contains_key(headers::STORAGE_CLASS)
                .then(|| asked.storage_class.clone()),
            redirect: asked.website_redirect_location.clone(),
            tags: replaces_tags.then(|| asked.tags.clone()),
            replaced: replaces.then_some(asked),
            encryption: call.headers.contains_key("x-amz-server-side-encryption"),
            algorithm: headers::algorithm(call.headers, "x-amz-checksum-algorithm")?,
        })
    }

    fn changes_nothing(&self, destination: &Key, source: &Key, object: &Object) -> bool {
        let class_stays =
            self.storage_class.as_ref().is_none_or(|class| *class == object.headers.storage_class);
        let sum_stays =
            self.algorithm.is_none_or(|wanted| object.checksum.is_some_and(|sum| sum.algorithm() == wanted));
        destination == source
            && self.replaced.is_none()
            && self.tags.is_none()
            && self.redirect.is_none()
            && !self.encryption
            && class_stays
            && sum_stays
    }

    /// `None` keeps the source's. The redirect is not copied, and the class is the request's
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html>).
    fn headers_beside(&self, object: &Object) -> Option<ObjectHeaders> {
        if let Some(replaced) = &self.replaced {
            // Which tags there will be is the other directive's affair.
            return Some(ObjectHeaders { tags: object.headers.tags.clone(), ..replaced.clone() });
        }
        let source = &object.headers;
        let class = self.storage_class.clone().flatten();
        if source.website_redirect_location == self.redirect && source.storage_class == class {
            return None;
        }
        Some(ObjectHeaders {
            website_redirect_location: self.redirect.clone(),
            storage_class: class,
            ..source.clone()
        })
    }
}

/// Whether it is `REPLACE`.
fn directive(call: &Call<'_>, name: &'static str) -> Result<bool> {
    match call.header(name).as_deref() {
        None | Some("COPY") => Ok(false),
        Some("REPLACE") => Ok(true),
        Some(other) => Err(S3Error::invalid_argument(format!("Unknown value of {name}."), name, other)),
    }
}
