//! What the fuzz targets need of signatures: a known signer, and the policy of a form by itself.

use super::date;
use super::keys::SigningKeys;
use super::policy::Policy;
use super::scope::Scope;
use crate::error::Result;
use types::Timestamp;

pub use super::testing::{ACCESS_KEY, NOW, chunk_signing, credential, options};

/// `20261124T015000Z` in seconds since 1970.
pub fn parse_date(text: &str) -> Option<u64> {
    date::parse_amz(text)
}

/// What a policy says of these fields; the size range that it allows the file.
pub fn check_policy(
    encoded: &str,
    fields: &[(String, String)],
    bucket: &str,
    now: Timestamp,
) -> Result<Option<(u64, u64)>> {
    let policy = Policy::parse(encoded)?;
    policy.check(fields, bucket, now)?;
    Ok(policy.length_range)
}

/// The signature of a policy under the known credential, for a credential's scope that can be read.
pub fn sign_policy(encoded: &str, scope: &str) -> Option<String> {
    let scope = Scope::parse(scope).ok()?;
    Some(SigningKeys::new().get(Some(&credential()), &scope).sign(encoded.as_bytes()))
}
