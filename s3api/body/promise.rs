//! What the head says of the body, held against itself
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html>).

use crate::auth::{ChunkSigning, Declared, Payload};
use crate::error::{Code, Result, S3Error};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, header};
use store::Promised;
use types::{Algorithm, Checksum};

const CHECKSUM_PREFIX: &str = "x-amz-checksum-";
/// Headers that begin like a checksum and are none.
const NO_CHECKSUMS: [&str; 3] = ["x-amz-checksum-algorithm", "x-amz-checksum-mode", "x-amz-checksum-type"];
const DECODED_LENGTH: &str = "x-amz-decoded-content-length";
const TRAILER: &str = "x-amz-trailer";
const SDK_ALGORITHM: &str = "x-amz-sdk-checksum-algorithm";
const ALGORITHM: &str = "x-amz-checksum-algorithm";

/// How the content lies in the body. The signal is `x-amz-content-sha256`, not `Content-Encoding`:
/// minio-go sends chunks without saying so there.
pub(super) enum Framing {
    Plain,
    Chunks { trailer: Option<Algorithm> },
    SignedChunks { signing: ChunkSigning, signed_trailer: bool, trailer: Option<Algorithm> },
}

pub(super) struct Promise {
    pub promised: Promised,
    pub framing: Framing,
}

impl Promise {
    /// Of a body whose checksum is in the head or behind it.
    pub fn of_content(headers: &HeaderMap, payload: Option<&Payload>) -> Result<Self> {
        let mut promise = Self::of_manifest(headers, payload)?;
        let trailer = promise.framing.trailer();
        let checksum = checksum(headers)?;
        let algorithm = checksum.map(|checksum| checksum.algorithm()).or(trailer);
        if trailer.is_some() && algorithm != trailer {
            return Err(invalid("Expecting a single x-amz-checksum- header or trailer"));
        }
        check_sdk_algorithm(headers, algorithm)?;
        // Without a value it only says what to compute and keep.
        let asked = named_algorithm(headers, ALGORITHM)?;
        promise.promised.checksum = checksum;
        promise.promised.algorithm = algorithm.or(asked);
        Ok(promise)
    }

    /// Of a body that `x-amz-checksum-*` does not speak of.
    pub fn of_manifest(headers: &HeaderMap, payload: Option<&Payload>) -> Result<Self> {
        let (framing, payload_sha256) = framing(headers, payload)?;
        let size = match framing {
            Framing::Plain => plain_length(headers)?,
            _ => Some(decoded_length(headers)?),
        };
        let promised =
            Promised { size, content_md5: content_md5(headers)?, payload_sha256, ..Promised::default() };
        Ok(Self { promised, framing })
    }
}

impl Framing {
    fn trailer(&self) -> Option<Algorithm> {
        match self {
            Self::Plain => None,
            Self::Chunks { trailer } | Self::SignedChunks { trailer, .. } => *trailer,
        }
    }
}

fn framing(headers: &HeaderMap, payload: Option<&Payload>) -> Result<(Framing, Option<[u8; 32]>)> {
    let trailer = announced_trailer(headers)?;
    // Without a signature the header is all there is.
    let unsigned;
    let payload = match payload {
        Some(payload) => payload,
        None => {
            unsigned = unsigned_payload(headers)?;
            &unsigned
        }
    };
    match payload {
        Payload::UnsignedChunks => Ok((Framing::Chunks { trailer }, None)),
        Payload::SignedChunks { signing, trailer: signed_trailer } => {
            if trailer.is_some() && !signed_trailer {
                return Err(unexpected_trailer());
            }
            let (signing, signed_trailer) = (signing.clone(), *signed_trailer);
            Ok((Framing::SignedChunks { signing, signed_trailer, trailer }, None))
        }
        _ if trailer.is_some() => Err(unexpected_trailer()),
        Payload::Sha256(hash) => Ok((Framing::Plain, Some(*hash))),
        Payload::Unsigned => Ok((Framing::Plain, None)),
    }
}

fn unsigned_payload(headers: &HeaderMap) -> Result<Payload> {
    Ok(match Declared::of_unchained(headers)? {
        Declared::Sha256(hash) => Payload::Sha256(hash),
        Declared::UnsignedChunks => Payload::UnsignedChunks,
        Declared::Unsigned | Declared::SignedChunks { .. } => Payload::Unsigned,
    })
}

fn unexpected_trailer() -> S3Error {
    invalid("x-amz-trailer needs an x-amz-content-sha256 of a streaming payload with trailer")
}

/// `None` only with `Transfer-Encoding: chunked`.
fn plain_length(headers: &HeaderMap) -> Result<Option<u64>> {
    match number(headers, &header::CONTENT_LENGTH) {
        Some(length) => Ok(Some(length)),
        None if headers.contains_key(header::TRANSFER_ENCODING) => Ok(None),
        None => Err(length_missing()),
    }
}

fn decoded_length(headers: &HeaderMap) -> Result<u64> {
    number(headers, &HeaderName::from_static(DECODED_LENGTH)).ok_or_else(length_missing)
}

fn number(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    let text = headers.get(name)?.to_str().ok()?;
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

fn length_missing() -> S3Error {
    S3Error::new(Code::MissingContentLength, "You must provide the Content-Length HTTP header.")
}

fn content_md5(headers: &HeaderMap) -> Result<Option<[u8; 16]>> {
    let mut values = headers.get_all("content-md5").iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let decoded = STANDARD.decode(value.as_bytes().trim_ascii()).ok().and_then(|bytes| bytes.try_into().ok());
    match (decoded, values.next()) {
        (Some(md5), None) => Ok(Some(md5)),
        _ => Err(S3Error::new(Code::InvalidDigest, "The Content-MD5 you specified is not valid.")),
    }
}

/// One `x-amz-checksum-*` at most. One that we cannot verify is refused, not ignored.
fn checksum(headers: &HeaderMap) -> Result<Option<Checksum>> {
    let is_checksum = |name: &str| name.starts_with(CHECKSUM_PREFIX) && !NO_CHECKSUMS.contains(&name);
    let mut given = headers.iter().filter(|(name, _)| is_checksum(name.as_str()));
    let Some((name, value)) = given.next() else {
        return Ok(None);
    };
    if given.next().is_some() {
        return Err(invalid(
            "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
        ));
    }
    let algorithm = Algorithm::from_header(name.as_str())
        .ok_or_else(|| invalid("The algorithm type you specified in x-amz-checksum- header is invalid."))?;
    let checksum = value.to_str().ok().and_then(|text| Checksum::from_base64(algorithm, text));
    checksum.map(Some).ok_or_else(|| invalid(format!("Value for {name} header is invalid.")))
}

/// The checksum that comes behind the body; a trailer of any other kind is not supported.
fn announced_trailer(headers: &HeaderMap) -> Result<Option<Algorithm>> {
    let mut values = headers.get_all(TRAILER).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let algorithm = value.to_str().ok().and_then(|name| Algorithm::from_header(name.trim()));
    match (algorithm, values.next()) {
        (Some(algorithm), None) => Ok(Some(algorithm)),
        _ => Err(invalid("The value specified in the x-amz-trailer header is not supported")),
    }
}

/// SDKs name the algorithm beside the value.
fn check_sdk_algorithm(headers: &HeaderMap, sent: Option<Algorithm>) -> Result<()> {
    match (named_algorithm(headers, SDK_ALGORITHM)?, sent) {
        (Some(_), None) => Err(invalid(
            "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found.",
        )),
        (Some(named), Some(sent)) if named != sent => {
            Err(invalid("Value for x-amz-sdk-checksum-algorithm header is invalid."))
        }
        _ => Ok(()),
    }
}

fn named_algorithm(headers: &HeaderMap, name: &'static str) -> Result<Option<Algorithm>> {
    let Some(value) = headers.get(name) else {
        return Ok(None);
    };
    let algorithm = value.to_str().ok().and_then(Algorithm::from_name);
    algorithm.map(Some).ok_or_else(|| invalid(format!("Value for {name} header is invalid.")))
}

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> S3Error {
    S3Error::new(Code::InvalidRequest, message)
}
