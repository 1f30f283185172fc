//! Signatures of version 4 in the query
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html>).

use super::payload::{self, Declared};
use super::scope::Scope;
use super::v4::{self, Claim};
use super::{Authenticated, Head, SigningKeys, Via, date, query, refusal, refuse_session_token};
use crate::error::Result;
use crate::options::Options;
use std::borrow::Cow;
use types::Timestamp;

pub(super) fn authenticate(
    head: &Head<'_>,
    options: &Options,
    keys: &SigningKeys,
    now: Timestamp,
) -> Result<Authenticated> {
    let parameters = Parameters::parse(head.query)?;
    let scope = Scope::parse(&parameters.credential).map_err(|why| {
        refusal::query_parameters(format!("Error parsing the X-Amz-Credential parameter; {why}"))
    })?;
    parameters.check_time(&scope, now)?;
    let hash = payload_hash(head)?;
    let claim = Claim {
        scope,
        date: &parameters.date,
        signed_headers: &parameters.signed_headers,
        payload: &hash,
        signature: &parameters.signature,
    };
    let Some(credential) = options.credentials.get(scope.access_key) else {
        return Err(v4::refuse_unknown(head, &claim, options, keys));
    };
    let in_query = query::value(head.query, "X-Amz-Security-Token").is_some();
    refuse_session_token(in_query || head.headers.contains_key("x-amz-security-token"))?;
    let declared = Declared::parse(&hash)?;
    let key = keys.get(Some(credential), &scope);
    v4::verify(head, &claim, options, &key)?;
    Ok(Authenticated {
        credential: credential.clone(),
        payload: declared.with(|| claim.chunk_signing(key)),
        via: Via::PresignedV4,
        length_range: None,
    })
}

/// Most sign no hash. A header must be signed like any `x-amz-*` header, a parameter always is.
fn payload_hash<'a>(head: &Head<'a>) -> Result<Cow<'a, str>> {
    if let Some(text) = payload::text(head.headers)? {
        return Ok(Cow::Borrowed(text));
    }
    Ok(query::value(head.query, "X-Amz-Content-Sha256").unwrap_or(Cow::Borrowed(payload::UNSIGNED)))
}

struct Parameters<'a> {
    credential: Cow<'a, str>,
    date: Cow<'a, str>,
    signed_at: u64,
    expires_secs: u64,
    signed_headers: Cow<'a, str>,
    signature: Cow<'a, str>,
}

impl<'a> Parameters<'a> {
    fn parse(raw: &'a str) -> Result<Self> {
        let get = |name| {
            query::value(raw, name).ok_or_else(|| {
                refusal::query_parameters(
                    "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.",
                )
            })
        };
        let (algorithm, date) = (get("X-Amz-Algorithm")?, get("X-Amz-Date")?);
        let (credential, signature) = (get("X-Amz-Credential")?, get("X-Amz-Signature")?);
        let (signed_headers, expires) = (get("X-Amz-SignedHeaders")?, get("X-Amz-Expires")?);
        if algorithm != v4::ALGORITHM {
            return Err(refusal::query_parameters("X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\""));
        }
        let signed_at = date::parse_amz(&date).ok_or_else(|| {
            refusal::query_parameters(
                "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"",
            )
        })?;
        Ok(Self {
            credential,
            date,
            signed_at,
            expires_secs: parse_expires(&expires)?,
            signed_headers,
            signature,
        })
    }

    fn check_time(&self, scope: &Scope<'_>, now: Timestamp) -> Result<()> {
        if !self.date.starts_with(scope.day) {
            return Err(refusal::query_parameters(
                "Invalid credential date. This date is not the same as X-Amz-Date.",
            ));
        }
        // A signature from the future would outlive the seven days.
        if self.signed_at > now.secs().saturating_add(date::MAX_SKEW_SECS) {
            return Err(refusal::not_valid_yet(self.signed_at, now));
        }
        let end = self.signed_at.saturating_add(self.expires_secs);
        match now.secs() > end {
            true => Err(refusal::expired(end, now).with("X-Amz-Expires", self.expires_secs.to_string())),
            false => Ok(()),
        }
    }
}

fn parse_expires(text: &str) -> Result<u64> {
    if text.strip_prefix('-').is_some_and(is_number) {
        return Err(refusal::query_parameters("X-Amz-Expires must be non-negative"));
    }
    if !is_number(text) {
        return Err(refusal::query_parameters("X-Amz-Expires should be a number"));
    }
    text.parse().ok().filter(|secs| *secs <= date::MAX_EXPIRES_SECS).ok_or_else(|| {
        refusal::query_parameters("X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than 604800 seconds")
    })
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}
