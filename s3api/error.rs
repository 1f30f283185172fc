//! S3's errors, and how the store's become them.

use http::StatusCode;
use std::borrow::Cow;
use std::fmt;
use store::{DigestMismatch, StoreError};
use types::condition::WriteRefusal;
use types::hex::hex;

macro_rules! codes {
    ($($code:ident $status:literal)*) => {
        /// The error codes that this face answers with
        /// (<https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $($code),* }

        impl Code {
            pub fn name(self) -> &'static str {
                match self { $(Code::$code => stringify!($code)),* }
            }

            pub fn status(self) -> StatusCode {
                let status = match self { $(Code::$code => $status),* };
                StatusCode::from_u16(status).expect("a status in the table")
            }
        }
    };
}

codes! {
    AccessDenied 403
    AccessForbidden 403
    AuthorizationHeaderMalformed 400
    AuthorizationQueryParametersError 400
    BadDigest 400
    BadRequest 400
    BucketAlreadyOwnedByYou 409
    EntityTooLarge 400
    EntityTooSmall 400
    ExpectationFailed 417
    IncompleteBody 400
    InsufficientStorage 507
    InternalError 500
    InvalidAccessKeyId 403
    InvalidArgument 400
    InvalidBucketName 400
    InvalidChunkSizeError 400
    InvalidDigest 400
    InvalidPart 400
    InvalidPartNumber 416
    InvalidPartOrder 400
    InvalidPolicyDocument 400
    InvalidRange 416
    InvalidRedirectLocation 400
    InvalidRequest 400
    InvalidStorageClass 400
    InvalidTag 400
    InvalidToken 400
    InvalidURI 400
    KeyTooLongError 400
    MalformedPOSTRequest 400
    MalformedTrailerError 400
    MalformedXML 400
    MaxMessageLengthExceeded 400
    MaxPostPreDataLengthExceeded 400
    MetadataTooLarge 400
    MethodNotAllowed 405
    MissingContentLength 411
    MissingRequestBodyError 400
    NoSuchBucket 404
    NoSuchKey 404
    NoSuchUpload 404
    NotImplemented 501
    PreconditionFailed 412
    QuotaExceeded 403
    RequestHeaderSectionTooLarge 400
    RequestTimeTooSkewed 403
    RequestTimeout 400
    SignatureDoesNotMatch 403
    ServiceUnavailable 503
    SlowDown 503
    UserKeyMustBeSpecified 400
    XAmzContentSHA256Mismatch 400
}

/// An error as the client will see it.
#[derive(Debug, Clone)]
pub struct S3Error {
    pub code: Code,
    pub message: Cow<'static, str>,
    /// Further elements of the XML, in order.
    pub details: Vec<(&'static str, String)>,
    /// Further headers of the response.
    pub headers: Vec<(&'static str, String)>,
    /// What really happened, for the log only.
    pub cause: Option<String>,
}

pub type Result<T> = std::result::Result<T, S3Error>;

impl S3Error {
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), details: Vec::new(), headers: Vec::new(), cause: None }
    }

    #[must_use]
    pub fn with(mut self, element: &'static str, value: impl Into<String>) -> Self {
        self.details.push((element, value.into()));
        self
    }

    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    #[must_use]
    pub fn because(mut self, cause: impl fmt::Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }

    pub fn invalid_argument(message: impl Into<Cow<'static, str>>, name: &str, value: &str) -> Self {
        Self::new(Code::InvalidArgument, message).with("ArgumentName", name).with("ArgumentValue", value)
    }

    pub fn not_implemented(header_or_feature: &str) -> Self {
        Self::new(
            Code::NotImplemented,
            "A header or query you provided implies functionality that is not implemented.",
        )
        .with("Header", header_or_feature)
    }

    pub fn access_denied() -> Self {
        Self::new(Code::AccessDenied, "Access Denied")
    }

    pub fn slow_down() -> Self {
        Self::new(Code::SlowDown, "Please reduce your request rate.").header("retry-after", "1")
    }
}

impl fmt::Display for S3Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.name(), self.message)
    }
}

impl std::error::Error for S3Error {}

impl From<StoreError> for S3Error {
    fn from(error: StoreError) -> Self {
        use Code as C;
        match error {
            StoreError::NoSuchKey => Self::new(C::NoSuchKey, "The specified key does not exist."),
            StoreError::NoSuchUpload => Self::new(
                C::NoSuchUpload,
                "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.",
            ),
            StoreError::Refused(refusal) => refused(refusal),
            StoreError::QuotaExceeded => Self::new(C::QuotaExceeded, "The bucket's quota does not leave room for this object."),
            StoreError::TooLarge { size, max } => {
                Self::new(C::EntityTooLarge, "Your proposed upload exceeds the maximum allowed object size.")
                    .with("ProposedSize", size.to_string())
                    .with("MaxSizeAllowed", max.to_string())
            }
            StoreError::SizeMismatch { .. } => Self::new(
                C::IncompleteBody,
                "You did not provide the number of bytes specified by the Content-Length HTTP header.",
            ),
            StoreError::Digest(which) => digest(&which),
            StoreError::InvalidPart { number } => Self::new(
                C::InvalidPart,
                "One or more of the specified parts could not be found. The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.",
            )
            .with("PartNumber", number.to_string()),
            StoreError::InvalidPartOrder => Self::new(
                C::InvalidPartOrder,
                "The list of parts was not in ascending order. Parts must be ordered by part number.",
            ),
            StoreError::PartTooSmall { number, size, min } => {
                Self::new(C::EntityTooSmall, "Your proposed upload is smaller than the minimum allowed size")
                    .with("ProposedSize", size.to_string())
                    .with("MinSizeAllowed", min.to_string())
                    .with("PartNumber", number.to_string())
            }
            StoreError::InvalidRequest(why) => Self::new(C::InvalidRequest, why),
            StoreError::Source(error) => match error.downcast::<S3Error>() {
                Ok(ours) => *ours,
                Err(other) => Self::new(C::IncompleteBody, "The request body terminated unexpectedly").because(other),
            },
            StoreError::Full => Self::new(C::InsufficientStorage, "There is no room left to store this object."),
            StoreError::Fenced => Self::new(
                C::ServiceUnavailable,
                "The storage of this node has failed: it takes no writes until it is restarted. Reads go on.",
            ),
            StoreError::Busy => Self::slow_down(),
            // Clients try again after it, which is right: another backend may take it by then.
            StoreError::Unavailable(_) => {
                Self::new(C::ServiceUnavailable, "Service is unable to handle request.").because(error)
            }
            StoreError::Corrupt(_) | StoreError::Storage(_) => {
                Self::new(C::InternalError, "We encountered an internal error. Please try again.").because(error)
            }
        }
    }
}

fn refused(refusal: WriteRefusal) -> S3Error {
    let failed = |header| {
        S3Error::new(
            Code::PreconditionFailed,
            "At least one of the pre-conditions you specified did not hold",
        )
        .with("Condition", header)
    };
    match refusal {
        WriteRefusal::Missing => StoreError::NoSuchKey.into(),
        WriteRefusal::IfMatch => failed("If-Match"),
        WriteRefusal::IfNoneMatch => failed("If-None-Match"),
    }
}

fn digest(which: &DigestMismatch) -> S3Error {
    match which {
        DigestMismatch::ContentMd5 { .. } => {
            S3Error::new(Code::BadDigest, "The Content-MD5 you specified did not match what we received.")
        }
        DigestMismatch::PayloadSha256 { computed } => S3Error::new(
            Code::XAmzContentSHA256Mismatch,
            "The provided 'x-amz-content-sha256' header does not match what was computed.",
        )
        .with("S3ComputedContentSHA256", hex(computed)),
        DigestMismatch::Checksum(algorithm) => S3Error::new(
            Code::BadDigest,
            format!("The {} you specified did not match the calculated checksum.", algorithm.name()),
        ),
    }
}
