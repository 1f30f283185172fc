//! What the header form and the query form of version 4 share: the signature itself.

use super::canonical::{self, Signed};
use super::keys::{SigningKey, SigningKeys};
use super::scope::Scope;
use super::{Head, constant_time, refusal};
use crate::auth::chunked::ChunkSigning;
use crate::error::{Result, S3Error};
use crate::options::Options;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;

pub(super) const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// What a request claims.
pub(super) struct Claim<'a> {
    pub scope: Scope<'a>,
    /// `20261124T015000Z`, verbatim.
    pub date: &'a str,
    pub signed_headers: &'a str,
    pub payload: &'a str,
    pub signature: &'a str,
}

impl Claim<'_> {
    pub fn chunk_signing(&self, key: SigningKey) -> ChunkSigning {
        ChunkSigning::new(key, self.date, self.scope.scope, self.signature)
    }
}

/// That everything which must be signed is, and that the signature is right.
pub(super) fn verify(head: &Head<'_>, claim: &Claim<'_>, options: &Options, key: &SigningKey) -> Result<()> {
    let outcome = compare(head, claim, options, key);
    match canonical::unsigned_headers(head.headers, claim.signed_headers) {
        Some(names) => Err(refusal::headers_not_signed(&names)),
        None => outcome,
    }
}

/// The same work for a key nobody has, so that the time taken does not tell.
pub(super) fn refuse_unknown(
    head: &Head<'_>,
    claim: &Claim<'_>,
    options: &Options,
    keys: &SigningKeys,
) -> S3Error {
    let work = verify(head, claim, options, &keys.get(None, &claim.scope));
    std::hint::black_box(&work);
    refusal::unknown_key(claim.scope.access_key)
}

/// With the host as received, then as clients see it where a proxy rewrites it.
fn compare(head: &Head<'_>, claim: &Claim<'_>, options: &Options, key: &SigningKey) -> Result<()> {
    let first = compare_with(head, claim, None, key);
    match (first, external_host(head, options)) {
        (Err(refused), Some(host)) => compare_with(head, claim, Some(&host), key).map_err(|_| refused),
        (first, _) => first,
    }
}

/// Where the received host names the bucket, the external one does too: else a path that was signed
/// for one style could be read in the other.
fn external_host(head: &Head<'_>, options: &Options) -> Option<String> {
    let url = options.external_url.as_deref()?;
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = authority.split('/').next().filter(|host| !host.is_empty())?;
    Some(match head.virtual_bucket {
        Some(bucket) => format!("{bucket}.{host}"),
        None => host.to_owned(),
    })
}

fn compare_with(head: &Head<'_>, claim: &Claim<'_>, host: Option<&str>, key: &SigningKey) -> Result<()> {
    let signed = Signed { headers: claim.signed_headers, payload: claim.payload, host };
    let canonical = canonical::request(head, &signed);
    let to_sign = string_to_sign(claim, &canonical);
    if constant_time::equal(key.sign(to_sign.as_bytes()).as_bytes(), claim.signature.as_bytes()) {
        return Ok(());
    }
    // What we made of the request, as AWS shows it: it helps users behind proxies.
    Err(refusal::mismatch()
        .with("AWSAccessKeyId", claim.scope.access_key)
        .with("StringToSign", to_sign)
        .with("SignatureProvided", claim.signature)
        .with("CanonicalRequest", String::from_utf8_lossy(&canonical)))
}

fn string_to_sign(claim: &Claim<'_>, canonical: &[u8]) -> String {
    let mut text = String::with_capacity(160);
    text.push_str(ALGORITHM);
    for part in [claim.date, claim.scope.scope] {
        text.push('\n');
        text.push_str(part);
    }
    text.push('\n');
    push_hex(&Sha256::digest(canonical), &mut text);
    text
}

pub(super) fn push_hex(bytes: &[u8], out: &mut String) {
    for byte in bytes {
        write!(out, "{byte:02x}").expect("a String takes all that is written");
    }
}
