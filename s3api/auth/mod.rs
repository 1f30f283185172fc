//! Who asks: signatures of version 4 (header, presigned, form), version 2 (presigned, form), or none.
//!
//! A signature proves who asks and what was asked, never that it is allowed: rights and buckets are
//! judged later. Nothing here reads a body; what the signature says of it is in [`Payload`], and
//! `body.rs` holds the client to it.
//!
//! Start with [`authenticate`]. The canonical form is in `canonical.rs`, one scheme per file.

mod canonical;
pub mod chunked;
mod constant_time;
mod date;
pub mod form;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod header;
mod hmac_sha1;
pub mod keys;
mod payload;
mod policy;
mod presigned;
mod presigned_v2;
mod query;
mod refusal;
mod scope;
mod v4;

pub use chunked::{ChunkDecoder, ChunkSigning};
pub use form::{authenticate_form, form_is_anonymous};
pub use keys::SigningKeys;
pub use payload::{Declared, Payload};

use crate::error::{Code, Result, S3Error};
use crate::options::{Credential, Options};
use http::header::AUTHORIZATION;
use http::{HeaderMap, Method};
use types::Timestamp;

/// A request's head, as it came.
pub struct Head<'a> {
    pub method: &'a Method,
    /// Raw: percent-encoded, nothing cleaned.
    pub path: &'a str,
    /// Raw, without `?`; empty if there is none.
    pub query: &'a str,
    pub headers: &'a HeaderMap,
    /// The bucket, where the host names it (virtual-host style) and the path does not.
    pub virtual_bucket: Option<&'a str>,
}

pub enum Access {
    Signed(Authenticated),
    Anonymous,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    Header,
    PresignedV4,
    PresignedV2,
    Form,
}

/// The signature is right.
#[derive(Debug, Clone)]
pub struct Authenticated {
    pub credential: Credential,
    pub payload: Payload,
    pub via: Via,
    /// `content-length-range` of a form's policy: the smallest and the largest file, in bytes.
    pub length_range: Option<(u64, u64)>,
}

/// Who made this request. `now` is from outside, so that tests own the clock.
pub fn authenticate(
    head: &Head<'_>,
    options: &Options,
    keys: &SigningKeys,
    now: Timestamp,
) -> Result<Access> {
    let scheme = query::Scheme::of(head.query);
    match (authorization(head.headers)?, scheme) {
        (None, query::Scheme::None) => Ok(Access::Anonymous),
        (Some(text), query::Scheme::None) => {
            header::authenticate(head, text, options, keys, now).map(Access::Signed)
        }
        (None, query::Scheme::V4) => presigned::authenticate(head, options, keys, now).map(Access::Signed),
        (None, query::Scheme::V2) => presigned_v2::authenticate(head, options, now).map(Access::Signed),
        (Some(_), _) => Err(refusal::one_mechanism()),
    }
}

fn authorization(headers: &HeaderMap) -> Result<Option<&str>> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| refusal::unsupported_authorization()),
        (Some(_), Some(_)) => Err(refusal::one_mechanism()),
    }
}

/// A session token belongs to temporary credentials, and this node has none.
fn refuse_session_token(present: bool) -> Result<()> {
    match present {
        true => {
            Err(S3Error::new(Code::InvalidToken, "The provided token is malformed or otherwise invalid."))
        }
        false => Ok(()),
    }
}

#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
