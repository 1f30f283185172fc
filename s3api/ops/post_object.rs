//! POST Object: an upload from a browser's form
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/RESTObjectPOST.html>).
//!
//! Who asks is said in the form, so its fields are read before anything is decided; the file is not.

use super::call::body_limits;
use super::{Reply, answer};
use crate::auth::{self, SigningKeys};
use crate::body::{self, BodySource};
use crate::buffers::Buffers;
use crate::error::{Code, Result, S3Error};
use crate::form::{self, File, Form, Pieces};
use crate::rates::{Purses, Toll};
use crate::router::Target;
use crate::xml::Writer;
use crate::{
    Audit, Bucket, Credential, Options, RequestBody, ResponseBody, anonymous, headers, percent, router,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use std::sync::Arc;
use store::{Promised, PutRequest, Source, SourceError, Store, Written};
use types::{Algorithm, Checksum, Key, ObjectHeaders, Timestamp, WriteConditions};

pub struct Post<'a> {
    pub store: &'a Store,
    pub options: &'a Options,
    pub buffers: &'a Buffers,
    pub keys: &'a SigningKeys,
    pub(crate) purses: &'a Arc<Purses<String>>,
    pub target: &'a Target,
    pub headers: &'a HeaderMap,
    pub now: Timestamp,
}

pub async fn post_object(
    post: &Post<'_>,
    body: RequestBody,
    audit: &mut Audit,
    toll: &mut Option<Toll>,
) -> Reply {
    let content_type = post.headers.get(header::CONTENT_TYPE).map(headers::text).unwrap_or_default();
    let boundary = form::boundary(&content_type)?;
    let (source, _) = body::open_manifest(post.headers, None, body, body_limits(post.options))?;
    let Form { fields, file } = Form::read(source, &boundary).await?;
    let key_text = field(&fields, "key").ok_or_else(no_key)?;
    audit.key = Some(key_text.to_owned());
    let allowed = authorise(post, &fields, audit)?;
    let key = Key::new(key_text).map_err(|error| router::name_error(&error))?;
    match &allowed.credential {
        Some(credential) => {
            let rate = credential.rate.unwrap_or(post.options.rates.credential);
            *toll = Some(Toll::take(post.purses, &credential.access_key_id, rate)?);
        }
        None if !anonymous::open_to_all(&allowed.bucket, key.as_str()) => {
            return Err(S3Error::access_denied());
        }
        None => {}
    }
    let object = object_headers(&fields)?;
    let promised = promised(&fields)?;
    let bucket = &allowed.bucket;
    post.store.check_put(bucket.id, &key, &WriteConditions::default(), None).await?;
    let request = PutRequest {
        bucket: bucket.id,
        key: key.clone(),
        headers: object,
        conditions: WriteConditions::default(),
        promised,
    };
    let _held = post.buffers.for_upload(None).await?;
    let written = post.store.put(request, Upload { file, length: allowed.length, seen: 0 }).await?;
    success(post, &fields, bucket, &key, &written)
}

fn no_key() -> S3Error {
    let why = "Bucket POST must contain a field named 'key'.  If it is specified, please check the order of the fields.";
    S3Error::new(Code::InvalidArgument, why).with("ArgumentName", "key").with("ArgumentValue", "")
}

fn field<'a>(fields: &'a [(String, String)], name: &str) -> Option<&'a str> {
    fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

struct Allowed {
    bucket: Arc<Bucket>,
    credential: Option<Credential>,
    /// What the policy says of the file's size.
    length: Option<(u64, u64)>,
}

fn authorise(post: &Post<'_>, fields: &[(String, String)], audit: &mut Audit) -> Result<Allowed> {
    let name = post.target.bucket.as_deref().unwrap_or_default();
    if auth::form_is_anonymous(fields) {
        let bucket = post.options.buckets.get(name).filter(|bucket| bucket.anonymous.write);
        let bucket = bucket.ok_or_else(S3Error::access_denied)?.clone();
        return Ok(Allowed { bucket, credential: None, length: None });
    }
    let signed = auth::authenticate_form(fields, name, post.options, post.keys, post.now)?;
    audit.access_key_id = Some(signed.credential.access_key_id.clone());
    let credential = signed.credential;
    if credential.bucket.name.as_str() != name || !credential.rights.write {
        return Err(S3Error::access_denied());
    }
    let bucket = Arc::clone(&credential.bucket);
    Ok(Allowed { bucket, credential: Some(credential), length: signed.length_range })
}

/// Fields under the names of headers mean what the headers mean.
fn object_headers(fields: &[(String, String)]) -> Result<ObjectHeaders> {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        let name = if name.eq_ignore_ascii_case("acl") { "x-amz-acl" } else { name.as_str() };
        let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_bytes(value.as_bytes()))
        else {
            continue;
        };
        map.append(name, value);
    }
    headers::refuse_unsupported(&map)?;
    // In a form tags are a document, in a field of another name.
    map.remove(headers::TAGGING);
    let mut object = headers::object_headers(&map)?;
    if let Some(document) = field(fields, "tagging") {
        object.tags = super::object_tagging::parse(document.as_bytes())?;
    }
    Ok(object)
}

fn promised(fields: &[(String, String)]) -> Result<Promised> {
    let mut promised = Promised::default();
    for algorithm in Algorithm::ALL {
        let Some(text) = field(fields, algorithm.header()) else { continue };
        let checksum = Checksum::from_base64(algorithm, text).ok_or_else(|| {
            S3Error::new(Code::InvalidRequest, format!("Value for {} field is invalid.", algorithm.header()))
        })?;
        if promised.checksum.replace(checksum).is_some() {
            let why = "Expecting a single x-amz-checksum- field. Multiple checksum Types are not allowed.";
            return Err(S3Error::new(Code::InvalidRequest, why));
        }
        promised.algorithm = Some(algorithm);
    }
    Ok(promised)
}

impl Pieces for BodySource<RequestBody> {
    async fn next_piece(&mut self) -> Result<Option<Bytes>> {
        BodySource::next_piece(self).await
    }
}

/// The file, held to the policy's `content-length-range`.
struct Upload<P> {
    file: File<P>,
    length: Option<(u64, u64)>,
    seen: u64,
}

impl<P: Pieces> Upload<P> {
    async fn next_piece(&mut self) -> Result<Option<Bytes>> {
        let piece = self.file.next_piece().await?;
        self.seen += piece.as_ref().map_or(0, |piece| piece.len() as u64);
        match self.length {
            Some((_, max)) if self.seen > max => {
                Err(store::StoreError::TooLarge { size: self.seen, max }.into())
            }
            Some((min, _)) if piece.is_none() && self.seen < min => Err(S3Error::new(
                Code::EntityTooSmall,
                "Your proposed upload is smaller than the minimum allowed size",
            )
            .with("ProposedSize", self.seen.to_string())
            .with("MinSizeAllowed", min.to_string())),
            _ => Ok(piece),
        }
    }
}

impl<P: Pieces> Source for Upload<P> {
    async fn next(&mut self) -> std::result::Result<Option<Bytes>, SourceError> {
        self.next_piece().await.map_err(|error| Box::new(error) as SourceError)
    }
}

fn success(
    post: &Post<'_>,
    fields: &[(String, String)],
    bucket: &Bucket,
    key: &Key,
    written: &Written,
) -> Reply {
    let redirect = field(fields, "success_action_redirect").or_else(|| field(fields, "redirect"));
    if let Some(location) = redirect.and_then(|url| redirected(url, bucket, key, written)) {
        let mut response = answer::empty(StatusCode::SEE_OTHER);
        response.headers_mut().insert(header::LOCATION, location);
        return Ok(with_headers(response, written));
    }
    let location = location(post, bucket, key);
    let mut response = match field(fields, "success_action_status") {
        Some("200") => answer::empty(StatusCode::OK),
        Some("201") => created(&location, bucket, key, written),
        _ => answer::empty(StatusCode::NO_CONTENT),
    };
    if let Ok(value) = HeaderValue::try_from(location) {
        response.headers_mut().insert(header::LOCATION, value);
    }
    Ok(with_headers(response, written))
}

fn with_headers(mut response: Response<ResponseBody>, written: &Written) -> Response<ResponseBody> {
    headers::put_etag(&written.etag, response.headers_mut());
    headers::put_checksum_and_kind(written.checksum.as_ref(), response.headers_mut());
    response
}

fn created(location: &str, bucket: &Bucket, key: &Key, written: &Written) -> Response<ResponseBody> {
    let mut xml = Writer::plain("PostResponse");
    xml.text("Location", location);
    xml.text("Bucket", bucket.name.as_str());
    xml.text("Key", key.as_str());
    xml.etag(&written.etag);
    let mut response = answer::document(xml.finish("PostResponse").into_bytes());
    *response.status_mut() = StatusCode::CREATED;
    response
}

fn location(post: &Post<'_>, bucket: &Bucket, key: &Key) -> String {
    let host = post.headers.get(header::HOST).map(headers::text).unwrap_or_default();
    let key = percent::encode_path(key.as_str());
    match &post.options.external_url {
        _ if post.target.virtual_host => format!("http://{host}/{key}"),
        Some(url) => format!("{}/{}/{key}", url.trim_end_matches('/'), bucket.name),
        None => format!("http://{host}/{}/{key}", bucket.name),
    }
}

/// A URL that cannot be followed counts as none (same page).
fn redirected(url: &str, bucket: &Bucket, key: &Key, written: &Written) -> Option<HeaderValue> {
    if !url.starts_with("http://") && !url.starts_with("https://") {
        return None;
    }
    let join = if url.contains('?') { '&' } else { '?' };
    let text = format!(
        "{url}{join}bucket={}&key={}&etag=%22{}%22",
        bucket.name,
        percent::encode_value(key.as_str()),
        written.etag
    );
    HeaderValue::try_from(text).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn fields_become_headers() {
        let form = fields(&[
            ("Content-Type", "text/plain"),
            ("x-amz-meta-A", "1"),
            ("acl", "private"),
            ("bad name", "x"),
            ("tagging", "<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tagging>"),
        ]);
        let object = object_headers(&form).unwrap();
        assert_eq!(object.content_type.as_deref(), Some("text/plain"));
        assert_eq!(object.user_metadata, [("a".to_owned(), "1".to_owned())]);
        assert_eq!(object.tags.len(), 1);
        let code = |pairs| object_headers(&fields(pairs)).err().map(|e| e.code);
        assert_eq!(code(&[("acl", "public-read")]), Some(Code::NotImplemented));
        assert_eq!(code(&[("tagging", "a=b")]), Some(Code::MalformedXML));
    }

    #[test]
    fn checksums_in_fields() {
        let of = |pairs| promised(&fields(pairs)).map(|p| p.algorithm).map_err(|e| e.code);
        assert_eq!(of(&[("X-Amz-Checksum-CRC32", "NhCmhg==")]), Ok(Some(Algorithm::Crc32)));
        assert_eq!(of(&[("x-amz-checksum-crc32", "x")]), Err(Code::InvalidRequest));
        let two = [("x-amz-checksum-crc32", "NhCmhg=="), ("x-amz-checksum-crc32c", "mnG7TA==")];
        assert_eq!(of(&two), Err(Code::InvalidRequest));
    }
}
