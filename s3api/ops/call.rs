//! A request whose caller is known and allowed.

use crate::auth::{Access, Payload};
use crate::body::{self, BodyLimits, BodySource};
use crate::buffers::{Buffers, Held};
use crate::error::{Code, Result, S3Error};
use crate::query::Query;
use crate::router::Target;
use crate::{Bucket, Options, RequestBody, RequestId, headers, upload_id};
use http::{HeaderMap, HeaderName};
use std::borrow::Cow;
use store::{Promised, Store, UploadRef};
use types::{Key, Timestamp};

pub struct Call<'a> {
    pub store: &'a Store,
    pub options: &'a Options,
    pub buffers: &'a Buffers,
    /// The one bucket that the caller may reach.
    pub bucket: &'a Bucket,
    pub target: &'a Target,
    pub query: &'a Query<'a>,
    pub headers: &'a HeaderMap,
    /// Raw.
    pub path: &'a str,
    pub access: &'a Access,
    pub id: &'a RequestId,
    pub now: Timestamp,
}

/// A body of XML, and the room that it takes while it is looked at.
pub struct Document {
    bytes: Vec<u8>,
    _held: Held,
}

impl std::ops::Deref for Document {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl<'a> Call<'a> {
    pub fn key(&self) -> Result<&'a Key> {
        let key = self.target.key.as_ref();
        key.ok_or_else(|| S3Error::new(Code::UserKeyMustBeSpecified, "The key must be specified"))
    }

    pub fn signed(&self) -> bool {
        matches!(self.access, Access::Signed(_))
    }

    pub fn header(&self, name: &str) -> Option<Cow<'a, str>> {
        self.headers.get(name).map(headers::text)
    }

    /// The upload that the query names.
    pub fn upload(&self) -> Result<UploadRef> {
        let text = self.query.get("uploadId").unwrap_or_default();
        let id = upload_id::of_caller(text, self.bucket.id)?;
        Ok(UploadRef { bucket: self.bucket.id, key: self.key()?.clone(), id })
    }

    /// The request's body and what is promised of it, without polling it.
    pub fn open(&self, body: RequestBody) -> Result<(BodySource<RequestBody>, Promised)> {
        body::open_body(self.headers, self.payload(), body, body_limits(self.options))
    }

    fn payload(&self) -> Option<&Payload> {
        match self.access {
            Access::Signed(signed) => Some(&signed.payload),
            Access::Anonymous => None,
        }
    }

    /// A body of XML, whole and verified.
    pub async fn read_xml(&self, body: RequestBody) -> Result<Document> {
        let (source, promised) = self.open(body)?;
        self.read_document(source, promised.size).await
    }

    /// The same where `x-amz-checksum-*` speaks of the object and not of the body.
    pub async fn read_manifest(&self, body: RequestBody) -> Result<Document> {
        let limits = body_limits(self.options);
        let (source, promised) = body::open_manifest(self.headers, self.payload(), body, limits)?;
        self.read_document(source, promised.size).await
    }

    async fn read_document(&self, source: BodySource<RequestBody>, size: Option<u64>) -> Result<Document> {
        let max = self.options.max_xml_bytes;
        let held = self.buffers.for_document(size.unwrap_or(u64::MAX).min(max as u64)).await?;
        Ok(Document { bytes: body::read_all(source, max).await?, _held: held })
    }

    /// A copy takes its bytes from the source: a body beside it would be lost without a word.
    pub fn refuse_body(&self) -> Result<()> {
        let length = self.header("content-length").unwrap_or_default();
        if self.headers.contains_key(http::header::TRANSFER_ENCODING) || !matches!(length.as_ref(), "" | "0")
        {
            return Err(S3Error::new(Code::InvalidRequest, "A copy request must not have a body."));
        }
        Ok(())
    }

    /// S3 wants bodies that change much to be verifiable
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html>).
    pub fn require_body_digest(&self) -> Result<()> {
        let digest = |name: &HeaderName| {
            let name = name.as_str();
            name == "content-md5" || types::Algorithm::from_header(name).is_some() || name == "x-amz-trailer"
        };
        if self.headers.keys().any(digest) {
            return Ok(());
        }
        Err(S3Error::new(
            Code::InvalidRequest,
            "Missing required header for this request: Content-MD5 OR x-amz-checksum-*",
        ))
    }
}

pub fn body_limits(options: &Options) -> BodyLimits {
    BodyLimits { timeout: options.body_timeout, min_bytes_per_second: options.min_body_bytes_per_second }
}
