//! Signatures of version 4 in the `Authorization` header.

use super::payload::{self, Declared};
use super::scope::Scope;
use super::v4::{self, Claim};
use super::{Authenticated, Head, SigningKeys, Via, date, refusal, refuse_session_token};
use crate::error::{Code, Result, S3Error};
use crate::options::Options;
use http::HeaderMap;
use std::borrow::Cow;
use types::Timestamp;

/// In the order of AWS's own checks, so that a request wrong in two ways gets AWS's answer.
pub(super) fn authenticate(
    head: &Head<'_>,
    authorization: &str,
    options: &Options,
    keys: &SigningKeys,
    now: Timestamp,
) -> Result<Authenticated> {
    let rest = check_scheme(authorization)?;
    let (date, signed_at) = request_date(head.headers)?;
    if date::is_skewed(signed_at, now) {
        return Err(refusal::skewed(signed_at, now));
    }
    let parts = Parts::parse(rest)?;
    let scope = Scope::parse(parts.credential).map_err(refusal::header_malformed)?;
    let payload = payload::text(head.headers);
    let claim = Claim {
        scope,
        date: &date,
        signed_headers: parts.signed_headers,
        payload: payload.as_ref().ok().copied().flatten().unwrap_or_default(),
        signature: parts.signature,
    };
    let Some(credential) = options.credentials.get(scope.access_key) else {
        return Err(v4::refuse_unknown(head, &claim, options, keys));
    };
    check_day(&claim)?;
    refuse_session_token(head.headers.contains_key("x-amz-security-token"))?;
    let declared = Declared::parse(payload?.ok_or_else(hash_missing)?)?;
    let key = keys.get(Some(credential), &scope);
    v4::verify(head, &claim, options, &key)?;
    Ok(Authenticated {
        credential: credential.clone(),
        payload: declared.with(|| claim.chunk_signing(key)),
        via: Via::Header,
        length_range: None,
    })
}

/// What stands behind the scheme's name.
fn check_scheme(authorization: &str) -> Result<&str> {
    match authorization.split_once(' ') {
        Some((v4::ALGORITHM, rest)) => Ok(rest),
        // Version 2 signs neither host nor payload: only old tools put it here.
        Some(("AWS", _)) => Err(refusal::unsupported_mechanism()),
        _ => Err(refusal::unsupported_authorization()),
    }
}

/// `x-amz-date`, else `Date`: as it is signed, and in seconds.
fn request_date(headers: &HeaderMap) -> Result<(Cow<'_, str>, u64)> {
    let text = |name| headers.get(name).map(|value| value.to_str().map_err(|_| refusal::date_missing()));
    let Some(value) = text("x-amz-date").or_else(|| text("date")) else {
        return Err(refusal::date_missing());
    };
    let value = value?;
    if let Some(secs) = date::parse_amz(value) {
        return Ok((Cow::Borrowed(value), secs));
    }
    match date::parse_http(value).filter(|_| !headers.contains_key("x-amz-date")) {
        Some(secs) => Ok((Cow::Owned(date::format_amz(secs)), secs)),
        None => Err(refusal::date_missing()),
    }
}

fn check_day(claim: &Claim<'_>) -> Result<()> {
    match claim.date.starts_with(claim.scope.day) {
        true => Ok(()),
        false => Err(refusal::header_malformed(
            "Invalid credential date. This date is not the same as X-Amz-Date.",
        )),
    }
}

fn hash_missing() -> S3Error {
    S3Error::new(Code::InvalidRequest, "Missing required header for this request: x-amz-content-sha256")
}

/// `Credential=..., SignedHeaders=..., Signature=...` in any order, with or without blanks.
struct Parts<'a> {
    credential: &'a str,
    signed_headers: &'a str,
    signature: &'a str,
}

impl<'a> Parts<'a> {
    fn parse(text: &'a str) -> Result<Self> {
        let (mut credential, mut signed_headers, mut signature) = (None, None, None);
        for part in text.split(',') {
            let (name, value) = part.trim().split_once('=').unwrap_or((part, ""));
            let slot = match name {
                "Credential" => &mut credential,
                "SignedHeaders" => &mut signed_headers,
                "Signature" => &mut signature,
                _ => continue,
            };
            if slot.replace(value).is_some() {
                return Err(refusal::header_malformed(&format!("{name} is given twice.")));
            }
        }
        let missing =
            |name| move || refusal::header_malformed(&format!("the authorization header requires {name}."));
        Ok(Self {
            credential: credential.ok_or_else(missing("Credential"))?,
            signed_headers: signed_headers.ok_or_else(missing("SignedHeaders"))?,
            signature: signature.ok_or_else(missing("Signature"))?,
        })
    }
}
