//! From a request's target to its operation.
//!
//! Paths are taken as they came: `//`, `/./` and `/../` are parts of keys. A sub-resource that S3
//! has and this node has not never falls through to the plain verb: `PUT ?acl` writes no object.

use crate::error::{Code, Result, S3Error};
use crate::operation::Operation;
use crate::percent;
use crate::query::Query;
use http::{HeaderMap, Method, header};
use types::{Key, MAX_KEY_BYTES, NameError};

/// Which bucket and key a request names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Target {
    /// As the client says it: it may be no bucket of ours, nor a possible name.
    pub bucket: Option<String>,
    pub key: Option<Key>,
    /// The bucket came in the `Host` header.
    pub virtual_host: bool,
}

/// Parses the raw path of a request, and its host where a domain is configured
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html>).
pub fn target(path: &str, host: Option<&str>, domain: Option<&str>) -> Result<Target> {
    let path = path.strip_prefix('/').unwrap_or(path);
    if let Some(bucket) = domain.and_then(|domain| bucket_in_host(host?, domain)) {
        return Ok(Target { bucket: Some(bucket), key: key(path)?, virtual_host: true });
    }
    if path.is_empty() {
        return Ok(Target::default());
    }
    let (bucket, rest) = path.split_once('/').unwrap_or((path, ""));
    let bucket = percent::decode_text(bucket).ok_or_else(invalid_uri)?.into_owned();
    Ok(Target { bucket: Some(bucket), key: key(rest)?, virtual_host: false })
}

/// `BUCKET.domain`, with or without a port; names of hosts have no case.
pub fn bucket_in_host(host: &str, domain: &str) -> Option<String> {
    let host = without_port(host);
    let domain = without_port(domain);
    let at = host.len().checked_sub(domain.len())?;
    let (front, back) = host.split_at_checked(at)?;
    let bucket = front.strip_suffix('.')?;
    (back.eq_ignore_ascii_case(domain) && !bucket.is_empty()).then(|| bucket.to_ascii_lowercase())
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

fn key(raw: &str) -> Result<Option<Key>> {
    if raw.is_empty() {
        return Ok(None);
    }
    let text = percent::decode_text(raw).ok_or_else(invalid_uri)?;
    Key::new(text).map(Some).map_err(|error| name_error(&error))
}

pub fn name_error(error: &NameError) -> S3Error {
    match error {
        NameError::TooLong { len, .. } => S3Error::new(Code::KeyTooLongError, "Your key is too long")
            .with("Size", len.to_string())
            .with("MaxSizeAllowed", MAX_KEY_BYTES.to_string()),
        NameError::Empty => S3Error::new(Code::UserKeyMustBeSpecified, "The key must be specified"),
        NameError::NotUtf8 | NameError::Bucket(_) => invalid_uri(),
    }
}

fn invalid_uri() -> S3Error {
    S3Error::new(Code::InvalidURI, "Couldn't parse the specified URI.")
}

/// Sub-resources that S3 has and this node has not.
const UNSUPPORTED: &[&str] = &[
    "abac",
    "accelerate",
    "acl",
    "analytics",
    "annotation",
    "annotations",
    "append",
    "cors",
    "encryption",
    "intelligent-tiering",
    "inventory",
    "legal-hold",
    "lifecycle",
    "logging",
    "metadataConfiguration",
    "metadataInventoryTable",
    "metadataJournalTable",
    "metadataTable",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "policy",
    "policyStatus",
    "publicAccessBlock",
    "renameObject",
    "replication",
    "requestPayment",
    "restore",
    "retention",
    "select",
    "session",
    "torrent",
    "versions",
    "website",
];

/// What the query makes of the plain verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sub {
    None,
    Attributes,
    Delete,
    Location,
    Tagging,
    UploadId,
    Uploads,
    Versioning,
}

impl Sub {
    fn of(name: &str) -> Sub {
        match name {
            "attributes" => Sub::Attributes,
            "delete" => Sub::Delete,
            "location" => Sub::Location,
            "tagging" => Sub::Tagging,
            "uploadId" => Sub::UploadId,
            "uploads" => Sub::Uploads,
            "versioning" => Sub::Versioning,
            _ => Sub::None,
        }
    }
}

fn sub_resource(query: &Query<'_>) -> Result<Sub> {
    let mut found = (Sub::None, "");
    for (name, value) in query.iter() {
        if UNSUPPORTED.contains(&name) {
            return Err(S3Error::not_implemented(name));
        }
        if name == "versionId" {
            version_id(value)?;
        }
        match (found.0, Sub::of(name)) {
            (_, Sub::None) => {}
            (Sub::None, sub) => found = (sub, name),
            (known, sub) if known == sub => {}
            _ => {
                let names = format!("{}, {name}", found.1);
                return Err(S3Error::invalid_argument(
                    "Conflicting query string parameters",
                    "ResourceType",
                    &names,
                ));
            }
        }
    }
    Ok(found.0)
}

/// Versions are not kept: the only one that an object has is called `null`.
fn version_id(value: &str) -> Result<()> {
    match value {
        "null" => Ok(()),
        "" => Err(S3Error::invalid_argument("Version id cannot be the empty string", "versionId", "")),
        _ => Err(S3Error::not_implemented("versionId")),
    }
}

pub fn route(method: &Method, target: &Target, query: &Query<'_>, headers: &HeaderMap) -> Result<Operation> {
    let sub = sub_resource(query)?;
    match (&target.bucket, &target.key) {
        (None, _) => service(method),
        (Some(_), None) => bucket(method, sub, query, headers),
        (Some(_), Some(_)) => object(method, sub, query, headers),
    }
}

fn service(method: &Method) -> Result<Operation> {
    match *method {
        Method::GET => Ok(Operation::ListBuckets),
        _ => Err(not_allowed(method, "SERVICE", "GET")),
    }
}

fn bucket(method: &Method, sub: Sub, query: &Query<'_>, headers: &HeaderMap) -> Result<Operation> {
    use Operation as Op;
    match (method, sub) {
        (_, Sub::Tagging | Sub::Attributes) => Err(S3Error::not_implemented(sub_name(sub))),
        (&Method::GET, Sub::None) => list_type(query),
        (&Method::GET, Sub::Location) => Ok(Op::GetBucketLocation),
        (&Method::GET, Sub::Versioning) => Ok(Op::GetBucketVersioning),
        (&Method::GET, Sub::Uploads) => Ok(Op::ListMultipartUploads),
        (&Method::HEAD, Sub::None) => Ok(Op::HeadBucket),
        (&Method::PUT, Sub::None) => Ok(Op::CreateBucket),
        (&Method::PUT, Sub::Versioning) => Err(S3Error::not_implemented("versioning")),
        (&Method::DELETE, Sub::None) => Err(S3Error::not_implemented("DeleteBucket")),
        (&Method::POST, Sub::Delete) => Ok(Op::DeleteObjects),
        (&Method::POST, Sub::None) => post(headers),
        (_, Sub::None) => Err(not_allowed(method, "BUCKET", "GET, HEAD, PUT, POST, DELETE")),
        (_, Sub::Delete) => Err(not_allowed(method, "DELETE", "POST")),
        (_, Sub::Uploads) => Err(not_allowed(method, "UPLOADS", "GET")),
        (_, Sub::UploadId) => Err(not_allowed(method, "UPLOAD", "")),
        (_, Sub::Location) => Err(not_allowed(method, "LOCATION", "GET")),
        (_, Sub::Versioning) => Err(not_allowed(method, "VERSIONING", "GET")),
    }
}

fn list_type(query: &Query<'_>) -> Result<Operation> {
    match query.get("list-type") {
        None | Some("" | "1") => Ok(Operation::ListObjects),
        Some("2") => Ok(Operation::ListObjectsV2),
        Some(other) => {
            Err(S3Error::invalid_argument("Invalid List Type specified in Request", "list-type", other))
        }
    }
}

fn post(headers: &HeaderMap) -> Result<Operation> {
    let content_type = headers.get(header::CONTENT_TYPE).map(|value| value.as_bytes()).unwrap_or_default();
    let kind = content_type.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
    if kind.eq_ignore_ascii_case(b"multipart/form-data") {
        return Ok(Operation::PostObject);
    }
    // AWS's own answer to a POST that is no form.
    Err(S3Error::new(
        Code::PreconditionFailed,
        "At least one of the pre-conditions you specified did not hold",
    )
    .with("Condition", "Bucket POST must be of the enclosure-type multipart/form-data"))
}

fn object(method: &Method, sub: Sub, query: &Query<'_>, headers: &HeaderMap) -> Result<Operation> {
    use Operation as Op;
    match (method, sub) {
        (_, Sub::Location | Sub::Versioning | Sub::Delete) => Err(S3Error::not_implemented(sub_name(sub))),
        (&Method::GET, Sub::None) => Ok(Op::GetObject),
        (&Method::HEAD, Sub::None) => Ok(Op::HeadObject),
        (&Method::DELETE, Sub::None) => Ok(Op::DeleteObject),
        (&Method::PUT, Sub::None | Sub::UploadId) => put(sub, query, headers),
        (&Method::GET, Sub::Tagging) => Ok(Op::GetObjectTagging),
        (&Method::PUT, Sub::Tagging) => Ok(Op::PutObjectTagging),
        (&Method::DELETE, Sub::Tagging) => Ok(Op::DeleteObjectTagging),
        (&Method::GET, Sub::Attributes) => Ok(Op::GetObjectAttributes),
        (&Method::GET, Sub::UploadId) => Ok(Op::ListParts),
        (&Method::POST, Sub::UploadId) => Ok(Op::CompleteMultipartUpload),
        (&Method::DELETE, Sub::UploadId) => Ok(Op::AbortMultipartUpload),
        (&Method::POST, Sub::Uploads) => Ok(Op::CreateMultipartUpload),
        (_, Sub::None) => Err(not_allowed(method, "OBJECT", "GET, HEAD, PUT, DELETE")),
        (_, Sub::Tagging) => Err(not_allowed(method, "TAGGING", "GET, PUT, DELETE")),
        (_, Sub::Attributes) => Err(not_allowed(method, "ATTRIBUTES", "GET")),
        (_, Sub::UploadId) => Err(not_allowed(method, "UPLOAD", "GET, PUT, POST, DELETE")),
        (_, Sub::Uploads) => Err(not_allowed(method, "UPLOADS", "POST")),
    }
}

/// A part without its upload, or an upload without its part, must not overwrite the object.
fn put(sub: Sub, query: &Query<'_>, headers: &HeaderMap) -> Result<Operation> {
    let copy = headers.contains_key("x-amz-copy-source");
    match (sub, query.get("partNumber"), copy) {
        (Sub::UploadId, Some(_), false) => Ok(Operation::UploadPart),
        (Sub::UploadId, Some(_), true) => Ok(Operation::UploadPartCopy),
        (Sub::UploadId, None, _) => Err(S3Error::invalid_argument(
            "This operation does not accept a query-string.",
            "ResourceType",
            "uploadId",
        )),
        (_, Some(_), _) => Err(S3Error::invalid_argument(
            "This operation does not accept a query-string.",
            "ResourceType",
            "partNumber",
        )),
        (_, None, false) => Ok(Operation::PutObject),
        (_, None, true) => Ok(Operation::CopyObject),
    }
}

fn sub_name(sub: Sub) -> &'static str {
    match sub {
        Sub::None => "",
        Sub::Attributes => "attributes",
        Sub::Delete => "delete",
        Sub::Location => "location",
        Sub::Tagging => "tagging",
        Sub::UploadId => "uploadId",
        Sub::Uploads => "uploads",
        Sub::Versioning => "versioning",
    }
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>
fn not_allowed(method: &Method, resource: &str, allow: &str) -> S3Error {
    S3Error::new(Code::MethodNotAllowed, "The specified method is not allowed against this resource.")
        .with("Method", method.as_str())
        .with("ResourceType", resource)
        .header("allow", allow)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn routed(
        method: &str,
        uri: &str,
        headers: &[(&'static str, &'static str)],
    ) -> std::result::Result<Operation, Code> {
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        let target = target(path, None, None).map_err(|e| e.code)?;
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        route(&method, &target, &Query::parse(query).unwrap(), &map).map_err(|e| e.code)
    }

    fn plain(method: &str, uri: &str) -> std::result::Result<Operation, Code> {
        routed(method, uri, &[])
    }

    #[test]
    fn keys_are_taken_as_they_came() {
        for (path, bucket, key) in [
            ("/b/k", "b", Some("k")),
            ("/b", "b", None),
            ("/b/", "b", None),
            ("/b//", "b", Some("/")),
            ("/b/a/../c", "b", Some("a/../c")),
            ("/b/./x//y/", "b", Some("./x//y/")),
            ("/b/a%2Fb+c%20d", "b", Some("a/b+c d")),
            ("/b/%E2%82%AC", "b", Some("\u{20ac}")),
            ("//k", "", Some("k")),
        ] {
            let target = target(path, None, None).unwrap();
            assert_eq!(target.bucket.as_deref(), Some(bucket), "{path}");
            assert_eq!(target.key.as_ref().map(Key::as_str), key, "{path}");
        }
        assert_eq!(target("/", None, None).unwrap(), Target::default());
        for bad in ["/b/%zz", "/b/%ff", "/%", "/b/%C3"] {
            assert_eq!(plain("GET", bad), Err(Code::InvalidURI), "{bad}");
        }
        assert_eq!(plain("GET", &format!("/b/{}", "k".repeat(1025))), Err(Code::KeyTooLongError));
    }

    #[test]
    fn virtual_hosts() {
        let of = |host| target("/a/b", Some(host), Some("s3.example.org")).unwrap();
        for host in ["my.bucket.s3.example.org", "my.bucket.s3.example.org:9000", "my.bucket.S3.Example.ORG"]
        {
            let found = of(host);
            assert_eq!(found.bucket.as_deref(), Some("my.bucket"));
            assert_eq!(found.key.unwrap().as_str(), "a/b");
            assert!(found.virtual_host);
        }
        for host in ["s3.example.org", ".s3.example.org", "xs3.example.org", "127.0.0.1:9000", "", "\u{e9}"] {
            let found = of(host);
            assert_eq!((found.bucket.as_deref(), found.virtual_host), (Some("a"), false), "{host}");
        }
    }

    #[test]
    fn every_operation_has_its_request() {
        use Operation as Op;
        for (method, uri, operation) in [
            ("GET", "/", Op::ListBuckets),
            ("GET", "/?x-id=ListBuckets", Op::ListBuckets),
            ("PUT", "/b", Op::CreateBucket),
            ("HEAD", "/b", Op::HeadBucket),
            ("GET", "/b/?location", Op::GetBucketLocation),
            ("GET", "/b?versioning", Op::GetBucketVersioning),
            ("GET", "/b?prefix=&delimiter=/", Op::ListObjects),
            ("GET", "/b?list-type=2", Op::ListObjectsV2),
            ("GET", "/b?uploads=&max-uploads=1", Op::ListMultipartUploads),
            ("POST", "/b?delete=", Op::DeleteObjects),
            ("GET", "/b/k?x-id=GetObject&unknown=1", Op::GetObject),
            ("GET", "/b/k?partNumber=1&versionId=null", Op::GetObject),
            ("HEAD", "/b/k", Op::HeadObject),
            ("PUT", "/b/k", Op::PutObject),
            ("DELETE", "/b/k", Op::DeleteObject),
            ("GET", "/b/k?attributes", Op::GetObjectAttributes),
            ("GET", "/b/k?tagging", Op::GetObjectTagging),
            ("PUT", "/b/k?tagging=", Op::PutObjectTagging),
            ("DELETE", "/b/k?tagging", Op::DeleteObjectTagging),
            ("POST", "/b/k?uploads", Op::CreateMultipartUpload),
            ("PUT", "/b/k?uploadId=x&partNumber=1", Op::UploadPart),
            ("POST", "/b/k?uploadId=x", Op::CompleteMultipartUpload),
            ("DELETE", "/b/k?uploadId=x", Op::AbortMultipartUpload),
            ("GET", "/b/k?uploadId=x", Op::ListParts),
        ] {
            assert_eq!(plain(method, uri), Ok(operation), "{method} {uri}");
        }
        let copy = [("x-amz-copy-source", "b/k")];
        assert_eq!(routed("PUT", "/b/k", &copy), Ok(Op::CopyObject));
        assert_eq!(routed("PUT", "/b/k?uploadId=x&partNumber=1", &copy), Ok(Op::UploadPartCopy));
        let form = [("content-type", "Multipart/Form-Data; boundary=x")];
        assert_eq!(routed("POST", "/b", &form), Ok(Op::PostObject));
    }

    #[test]
    fn unsupported_never_falls_through() {
        for name in UNSUPPORTED {
            for method in ["GET", "HEAD", "PUT", "POST", "DELETE"] {
                for resource in ["/b", "/b/k"] {
                    for query in [name.to_string(), format!("{name}="), format!("x-id=Y&{name}=1")] {
                        let uri = format!("{resource}?{query}");
                        assert_eq!(plain(method, &uri), Err(Code::NotImplemented), "{method} {uri}");
                    }
                }
            }
        }
    }

    /// Every supported sub-resource on every verb: its own operation, or an error.
    #[test]
    fn supported_ones_do_not_fall_through_either() {
        use Operation as Op;
        let plain_verbs = [
            Op::ListObjects,
            Op::HeadBucket,
            Op::CreateBucket,
            Op::GetObject,
            Op::HeadObject,
            Op::PutObject,
            Op::DeleteObject,
        ];
        for sub in ["attributes", "delete", "location", "tagging", "uploadId=x", "uploads", "versioning"] {
            for method in ["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH"] {
                for resource in ["/b", "/b/k"] {
                    let uri = format!("{resource}?{sub}");
                    if let Ok(operation) = plain(method, &uri) {
                        assert!(!plain_verbs.contains(&operation), "{method} {uri}");
                    }
                }
            }
        }
    }

    #[test]
    fn refused() {
        for (method, uri, code) in [
            ("POST", "/", Code::MethodNotAllowed),
            ("PATCH", "/b/k", Code::MethodNotAllowed),
            ("POST", "/b/k", Code::MethodNotAllowed),
            ("GET", "/b?delete", Code::MethodNotAllowed),
            ("PUT", "/b/k?uploads", Code::MethodNotAllowed),
            ("HEAD", "/b/k?uploadId=x", Code::MethodNotAllowed),
            ("POST", "/b", Code::PreconditionFailed),
            ("DELETE", "/b", Code::NotImplemented),
            ("GET", "/b?tagging", Code::NotImplemented),
            ("PUT", "/b?versioning", Code::NotImplemented),
            ("GET", "/b/k?versionId=1", Code::NotImplemented),
            ("DELETE", "/b/k?versionId=", Code::InvalidArgument),
            ("PUT", "/b/k?partNumber=1", Code::InvalidArgument),
            ("PUT", "/b/k?uploadId=x", Code::InvalidArgument),
            ("GET", "/b?uploads&location", Code::InvalidArgument),
            ("GET", "/b?list-type=3", Code::InvalidArgument),
        ] {
            assert_eq!(plain(method, uri), Err(code), "{method} {uri}");
        }
    }
}
