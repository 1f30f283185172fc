//! What a request says of its body: the `x-amz-content-sha256` header
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html>).

use super::chunked::ChunkSigning;
use crate::error::{Code, Result, S3Error};
use http::{HeaderMap, HeaderName};

pub(super) const CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");
pub(super) const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// How a body must be, once the head's signature is known to be right.
#[derive(Debug, Clone)]
pub enum Payload {
    /// Its hash was signed.
    Sha256([u8; 32]),
    /// Anything.
    Unsigned,
    /// aws-chunked, each chunk signed.
    SignedChunks { signing: ChunkSigning, trailer: bool },
    /// aws-chunked, nothing signed: `STREAMING-UNSIGNED-PAYLOAD-TRAILER`.
    UnsignedChunks,
}

impl Payload {
    /// Only PutObject and UploadPart may have such a body; anything else: [`Payload::refuse_chunked`].
    pub fn is_chunked(&self) -> bool {
        matches!(self, Self::SignedChunks { .. } | Self::UnsignedChunks)
    }

    /// For operations that are no upload.
    pub fn refuse_chunked(&self) -> Result<()> {
        match self.is_chunked() {
            true => Err(S3Error::new(
                Code::InvalidRequest,
                "The value of x-amz-content-sha256 header is only allowed for PutObject and UploadPart",
            )),
            false => Ok(()),
        }
    }
}

/// What the header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Declared {
    Sha256([u8; 32]),
    Unsigned,
    SignedChunks { trailer: bool },
    UnsignedChunks,
}

impl Declared {
    pub fn parse(text: &str) -> Result<Self> {
        match text {
            UNSIGNED => Ok(Self::Unsigned),
            "STREAMING-UNSIGNED-PAYLOAD-TRAILER" => Ok(Self::UnsignedChunks),
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" => Ok(Self::SignedChunks { trailer: false }),
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" => Ok(Self::SignedChunks { trailer: true }),
            // Signatures of version 4A are not supported.
            _ if text.starts_with("STREAMING-AWS4-ECDSA") => Err(S3Error::not_implemented("x-amz-content-sha256")),
            _ => parse_hex(text).map(Self::Sha256).ok_or_else(|| {
                S3Error::invalid_argument(
                    "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, or a valid sha256 value.",
                    "x-amz-content-sha256",
                    text,
                )
            }),
        }
    }

    /// Of a request whose header has no signature of version 4 to begin a chain of chunks with.
    pub fn of_unchained(headers: &HeaderMap) -> Result<Self> {
        match text(headers)?.map(Self::parse).transpose()? {
            Some(Self::SignedChunks { .. }) => Err(S3Error::new(
                Code::InvalidRequest,
                "Chunk signatures need a signature of version 4 in the request's head",
            )),
            declared => Ok(declared.unwrap_or(Self::Unsigned)),
        }
    }

    /// With the chain that signed chunks continue.
    pub(super) fn with(self, signing: impl FnOnce() -> ChunkSigning) -> Payload {
        match self {
            Self::Sha256(hash) => Payload::Sha256(hash),
            Self::Unsigned => Payload::Unsigned,
            Self::SignedChunks { trailer } => Payload::SignedChunks { signing: signing(), trailer },
            Self::UnsignedChunks => Payload::UnsignedChunks,
        }
    }

    /// Without a chain; `of_unchained` has refused signed chunks.
    pub(super) fn unchained(self) -> Payload {
        match self {
            Self::Sha256(hash) => Payload::Sha256(hash),
            Self::UnsignedChunks => Payload::UnsignedChunks,
            Self::Unsigned | Self::SignedChunks { .. } => Payload::Unsigned,
        }
    }
}

/// The header, verbatim.
pub(super) fn text(headers: &HeaderMap) -> Result<Option<&str>> {
    let Some(value) = headers.get(CONTENT_SHA256) else {
        return Ok(None);
    };
    let text = value.to_str().map_err(|_| {
        S3Error::invalid_argument("x-amz-content-sha256 is not valid.", "x-amz-content-sha256", "")
    })?;
    Ok(Some(text))
}

fn parse_hex(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    let mut hash = [0; 32];
    if digits.len() != 64 {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = pair.iter().try_fold(0, |value, digit| Some(value << 4 | hex_digit(*digit)?))?;
    }
    Some(hash)
}

fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn keywords_and_hashes() {
        let hash = Declared::parse(&"0a".repeat(32)).unwrap();
        assert_eq!(hash, Declared::Sha256([10; 32]));
        assert_eq!(Declared::parse("UNSIGNED-PAYLOAD").unwrap(), Declared::Unsigned);
        for bad in ["", "deadbeef", "unsigned-payload", &"g".repeat(64), &"+1".repeat(32), "STREAMING-"] {
            assert_eq!(Declared::parse(bad).unwrap_err().code, Code::InvalidArgument, "{bad}");
        }
        assert_eq!(
            Declared::parse("STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD").unwrap_err().code,
            Code::NotImplemented
        );
    }
}
