//! The answers to a request whose signature is missing, malformed or wrong. Texts are AWS's where
//! they are known.

use super::date;
use crate::error::{Code, S3Error};
use types::Timestamp;

pub(super) fn one_mechanism() -> S3Error {
    S3Error::new(
        Code::InvalidArgument,
        "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the Authorization header should be specified",
    )
    .with("ArgumentName", "Authorization")
}

pub(super) fn unsupported_authorization() -> S3Error {
    S3Error::new(Code::InvalidArgument, "Unsupported Authorization Type")
        .with("ArgumentName", "Authorization")
}

/// Version 2 where it is switched off.
pub(super) fn unsupported_mechanism() -> S3Error {
    S3Error::new(
        Code::InvalidRequest,
        "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
    )
}

pub(super) fn header_malformed(why: &str) -> S3Error {
    S3Error::new(Code::AuthorizationHeaderMalformed, format!("The authorization header is malformed; {why}"))
}

pub(super) fn query_parameters(why: impl Into<std::borrow::Cow<'static, str>>) -> S3Error {
    S3Error::new(Code::AuthorizationQueryParametersError, why)
}

pub(super) fn date_missing() -> S3Error {
    S3Error::new(Code::AccessDenied, "AWS authentication requires a valid Date or x-amz-date header")
}

pub(super) fn skewed(signed: u64, now: Timestamp) -> S3Error {
    S3Error::new(
        Code::RequestTimeTooSkewed,
        "The difference between the request time and the current time is too large.",
    )
    .with("RequestTime", date::format_amz(signed))
    .with("ServerTime", date::iso(now.secs()))
    .with("MaxAllowedSkewMilliseconds", (date::MAX_SKEW_SECS * 1000).to_string())
}

pub(super) fn not_valid_yet(from: u64, now: Timestamp) -> S3Error {
    S3Error::new(Code::AccessDenied, "Request is not valid yet")
        .with("ValidFrom", date::iso(from))
        .with("ServerTime", date::iso(now.secs()))
}

pub(super) fn expired(at: u64, now: Timestamp) -> S3Error {
    S3Error::new(Code::AccessDenied, "Request has expired")
        .with("Expires", date::iso(at))
        .with("ServerTime", date::iso(now.secs()))
}

pub(super) fn unknown_key(access_key: &str) -> S3Error {
    S3Error::new(
        Code::InvalidAccessKeyId,
        "The AWS Access Key Id you provided does not exist in our records.",
    )
    .with("AWSAccessKeyId", access_key)
}

pub(super) fn headers_not_signed(names: &str) -> S3Error {
    S3Error::new(Code::AccessDenied, "There were headers present in the request which were not signed")
        .with("HeadersNotSigned", names)
}

pub(super) fn mismatch() -> S3Error {
    S3Error::new(
        Code::SignatureDoesNotMatch,
        "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
    )
}
