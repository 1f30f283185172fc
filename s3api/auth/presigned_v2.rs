//! Signatures of version 2 in the query, which AWS CLI 1 and boto3 still make
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/RESTAuthentication.html>).
//!
//! Known weakness: they sign neither the payload nor the host nor Range and conditional headers.
//! A switch turns them off.

use super::payload::Declared;
use super::{Authenticated, Head, Via, constant_time, date, hmac_sha1, query, refusal, refuse_session_token};
use crate::error::{Result, S3Error};
use crate::options::Options;
use http::HeaderMap;
use percent_encoding::percent_decode_str;
use std::borrow::Cow;
use types::Timestamp;

/// Parameters that name what is asked for, and so are signed; from the page above and from
/// botocore's list.
const SUBRESOURCES: [&str; 36] = [
    "accelerate",
    "acl",
    "analytics",
    "cors",
    "defaultObjectAcl",
    "delete",
    "encryption",
    "inventory",
    "lifecycle",
    "location",
    "logging",
    "metrics",
    "notification",
    "object-lock",
    "partNumber",
    "policy",
    "replication",
    "requestPayment",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "restore",
    "select",
    "select-type",
    "storageClass",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versionId",
    "versioning",
    "versions",
    "website",
];

pub(super) fn authenticate(head: &Head<'_>, options: &Options, now: Timestamp) -> Result<Authenticated> {
    if !options.sigv2_presigned {
        return Err(refusal::unsupported_mechanism());
    }
    let parameters = Parameters::parse(head.query)?;
    parameters.check_time(now)?;
    let credential = options.credentials.get(parameters.access_key.as_ref());
    let text = string_to_sign(head, &parameters.expires);
    let secret = credential.map_or("nobody", |credential| credential.secret.expose());
    let right =
        constant_time::equal(hmac_sha1::sign(secret, &text).as_bytes(), parameters.signature.as_bytes());
    let credential = credential.ok_or_else(|| refusal::unknown_key(&parameters.access_key))?;
    let in_query =
        query::pairs(head.query).any(|(name, _)| name.eq_ignore_ascii_case("x-amz-security-token"));
    refuse_session_token(in_query || head.headers.contains_key("x-amz-security-token"))?;
    if !right {
        return Err(refusal::mismatch()
            .with("AWSAccessKeyId", parameters.access_key)
            .with("StringToSign", String::from_utf8_lossy(&text))
            .with("SignatureProvided", parameters.signature));
    }
    Ok(Authenticated {
        credential: credential.clone(),
        payload: Declared::of_unchained(head.headers)?.unchained(),
        via: Via::PresignedV2,
        length_range: None,
    })
}

struct Parameters<'a> {
    access_key: Cow<'a, str>,
    signature: Cow<'a, str>,
    /// Verbatim: it is signed as text.
    expires: Cow<'a, str>,
    expires_at: u64,
}

impl<'a> Parameters<'a> {
    fn parse(raw: &'a str) -> Result<Self> {
        let get = |name| {
            query::value(raw, name).ok_or_else(|| {
                denied("Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters")
            })
        };
        let (access_key, signature, expires) = (get("AWSAccessKeyId")?, get("Signature")?, get("Expires")?);
        let digits = !expires.is_empty() && expires.bytes().all(|byte| byte.is_ascii_digit());
        let expires_at = expires
            .parse()
            .ok()
            .filter(|_| digits)
            .ok_or_else(|| denied("Invalid date (should be seconds since epoch)"))?;
        Ok(Self { access_key, signature, expires, expires_at })
    }

    /// Seven days from now at most: the same bound as version 4, though AWS has none here.
    fn check_time(&self, now: Timestamp) -> Result<()> {
        if now.secs() > self.expires_at {
            return Err(refusal::expired(self.expires_at, now));
        }
        match self.expires_at - now.secs() > date::MAX_EXPIRES_SECS {
            true => Err(denied("Expires must be less than a week from now")),
            false => Ok(()),
        }
    }
}

fn denied(why: &'static str) -> S3Error {
    S3Error::new(crate::error::Code::AccessDenied, why)
}

fn string_to_sign(head: &Head<'_>, expires: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    let line = |value: &[u8], out: &mut Vec<u8>| {
        out.extend_from_slice(value);
        out.push(b'\n');
    };
    line(head.method.as_str().as_bytes(), &mut out);
    for name in ["content-md5", "content-type"] {
        line(head.headers.get(name).map_or(b"".as_slice(), |value| value.as_bytes().trim_ascii()), &mut out);
    }
    line(expires.as_bytes(), &mut out);
    amz_headers(head.headers, &mut out);
    if let Some(bucket) = head.virtual_bucket {
        out.push(b'/');
        out.extend_from_slice(bucket.as_bytes());
    }
    out.extend_from_slice(head.path.as_bytes());
    subresources(head.query, &mut out);
    out
}

fn amz_headers(headers: &HeaderMap, out: &mut Vec<u8>) {
    let mut names: Vec<&str> =
        headers.keys().map(http::HeaderName::as_str).filter(|name| name.starts_with("x-amz-")).collect();
    names.sort_unstable();
    for name in names {
        let values: Vec<&[u8]> =
            headers.get_all(name).iter().map(|value| value.as_bytes().trim_ascii()).collect();
        out.extend_from_slice(name.as_bytes());
        out.push(b':');
        out.extend_from_slice(&values.join(b",".as_slice()));
        out.push(b'\n');
    }
}

/// `?name` or `?name=decoded value`, sorted.
fn subresources(raw: &str, out: &mut Vec<u8>) {
    let mut signed: Vec<_> = query::pairs(raw).filter(|(name, _)| SUBRESOURCES.contains(name)).collect();
    // Stable: a parameter that was added as a second one makes another text, whichever is read later.
    signed.sort_by_key(|(name, _)| *name);
    for (n, (name, value)) in signed.into_iter().enumerate() {
        out.push(if n == 0 { b'?' } else { b'&' });
        out.extend_from_slice(name.as_bytes());
        if let Some(value) = value {
            out.push(b'=');
            out.extend(percent_decode_str(value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(raw: &str) -> String {
        let mut out = Vec::new();
        subresources(raw, &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn subresources_are_sorted_and_decoded() {
        assert_eq!(signed("uploadId=a%20b&x-id=1&partNumber=2&acl"), "?acl&partNumber=2&uploadId=a b");
        assert_eq!(signed("prefix=a"), "");
        assert_eq!(signed("uploadId=1&uploadId=2"), "?uploadId=1&uploadId=2");
    }
}
