//! A request's body on its way to the store: decoded, counted, held to a pace.
//!
//! What the head promises is in `body/promise.rs`; digests over the whole content are the store's
//! to verify, or [`read_all`]'s for small bodies of XML. Opening a body does not poll it: the first
//! poll is what makes hyper send `100 Continue`, and every early refusal comes before that.
//!
//! Start with [`open_body`].

mod pace;
mod promise;

use crate::auth::{ChunkDecoder, Payload};
use crate::error::{Code, Result, S3Error};
use bytes::Bytes;
use http::HeaderMap;
use http_body::Body;
use md5::Md5;
use pace::Pace;
use promise::{Framing, Promise};
use sha2::{Digest, Sha256};
use std::time::Duration;
use store::{DigestMismatch, Promised, Source, SourceError, StoreError};
use types::Checksum;
use types::checksum::Hasher;

/// How slow a client may be: progress counts, not total time.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimits {
    /// The time over which the rate is measured, and how long a body may stand still.
    pub timeout: Duration,
    pub min_bytes_per_second: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Ended,
    /// For good: what comes behind an error is not verified.
    Failed,
}

/// A body whose head was believed and whose bytes are not yet.
pub struct BodySource<B> {
    incoming: B,
    decoder: Option<ChunkDecoder>,
    promised: Promised,
    pace: Pace,
    /// Content handed out.
    received: u64,
    state: State,
}

/// Holds the head's promises about the body against each other and makes its source. `payload` is
/// what the signature says; `None`: the request has none. Does not poll `incoming`.
pub fn open_body<B>(
    headers: &HeaderMap,
    payload: Option<&Payload>,
    incoming: B,
    limits: BodyLimits,
) -> Result<(BodySource<B>, Promised)> {
    open(Promise::of_content(headers, payload)?, incoming, limits)
}

/// For CompleteMultipartUpload, whose `x-amz-checksum-*` headers speak of the object and not of the
/// XML that is sent.
pub fn open_manifest<B>(
    headers: &HeaderMap,
    payload: Option<&Payload>,
    incoming: B,
    limits: BodyLimits,
) -> Result<(BodySource<B>, Promised)> {
    open(Promise::of_manifest(headers, payload)?, incoming, limits)
}

fn open<B>(promise: Promise, incoming: B, limits: BodyLimits) -> Result<(BodySource<B>, Promised)> {
    let Promise { promised, framing } = promise;
    let size = promised.size.unwrap_or_default();
    let decoder = match framing {
        Framing::Plain => None,
        Framing::Chunks { trailer } => Some(ChunkDecoder::unsigned(size, trailer)),
        Framing::SignedChunks { signing, signed_trailer, trailer } => {
            Some(ChunkDecoder::signed(signing, signed_trailer, size, trailer))
        }
    };
    let pace = Pace::new(limits.timeout, limits.min_bytes_per_second);
    let source =
        BodySource { incoming, decoder, promised: promised.clone(), pace, received: 0, state: State::Open };
    Ok((source, promised))
}

impl<B> BodySource<B>
where
    B: Body<Data = Bytes> + Unpin + Send,
    B::Error: std::error::Error,
{
    /// The next content; `None` once all of it came and its framing and length were right.
    pub async fn next_piece(&mut self) -> Result<Option<Bytes>> {
        let outcome = match self.state {
            State::Open => self.read().await,
            State::Ended => return Ok(None),
            State::Failed => return Err(incomplete("the body has failed before")),
        };
        match &outcome {
            Ok(Some(_)) => {}
            Ok(None) => self.state = State::Ended,
            Err(_) => self.state = State::Failed,
        }
        outcome
    }

    async fn read(&mut self) -> Result<Option<Bytes>> {
        loop {
            if let Some(piece) = self.decoded()? {
                return self.count(piece).map(Some);
            }
            let Some(data) = self.pace.next_data(&mut self.incoming).await? else {
                return self.finish().map(|()| None);
            };
            match &mut self.decoder {
                Some(decoder) => decoder.push(data),
                None if data.is_empty() => {}
                None => return self.count(data).map(Some),
            }
        }
    }

    fn decoded(&mut self) -> Result<Option<Bytes>> {
        self.decoder.as_mut().map_or(Ok(None), ChunkDecoder::next_piece)
    }

    fn count(&mut self, piece: Bytes) -> Result<Bytes> {
        self.received += piece.len() as u64;
        match self.promised.size.is_some_and(|size| self.received > size) {
            true => Err(incomplete("more content than was promised")),
            false => Ok(piece),
        }
    }

    fn finish(&self) -> Result<()> {
        if let Some(decoder) = &self.decoder {
            decoder.finish()?;
        }
        if self.promised.size.is_some_and(|size| self.received != size) {
            return Err(incomplete("less content than was promised"));
        }
        match (self.promised.checksum, self.trailing_checksum()) {
            (Some(header), Some(trailer)) if header != trailer => {
                Err(StoreError::Digest(DigestMismatch::Checksum(trailer.algorithm())).into())
            }
            _ => Ok(()),
        }
    }
}

impl<B> BodySource<B> {
    fn trailing_checksum(&self) -> Option<Checksum> {
        self.decoder.as_ref().and_then(ChunkDecoder::checksum)
    }
}

impl<B> Source for BodySource<B>
where
    B: Body<Data = Bytes> + Unpin + Send,
    B::Error: std::error::Error,
{
    async fn next(&mut self) -> std::result::Result<Option<Bytes>, SourceError> {
        self.next_piece().await.map_err(|error| Box::new(error) as SourceError)
    }

    fn trailer(&self) -> Option<Checksum> {
        self.trailing_checksum()
    }
}

/// A small body as a whole, every promised digest verified: for XML.
pub async fn read_all<B>(mut source: BodySource<B>, max_bytes: usize) -> Result<Vec<u8>>
where
    B: Body<Data = Bytes> + Unpin + Send,
    B::Error: std::error::Error,
{
    let size = usize::try_from(source.promised.size.unwrap_or_default()).unwrap_or(usize::MAX);
    if size > max_bytes {
        return Err(too_long(max_bytes));
    }
    // What is claimed is not reserved: it costs nothing to claim it.
    let mut content = Vec::with_capacity(size.min(1 << 16));
    while let Some(piece) = source.next_piece().await? {
        if content.len() + piece.len() > max_bytes {
            return Err(too_long(max_bytes));
        }
        content.extend_from_slice(&piece);
    }
    verify(&source.promised, source.trailing_checksum(), &content)?;
    Ok(content)
}

fn verify(promised: &Promised, trailer: Option<Checksum>, content: &[u8]) -> Result<()> {
    check(
        promised.payload_sha256,
        || Sha256::digest(content).into(),
        |computed| DigestMismatch::PayloadSha256 { computed },
    )?;
    check(
        promised.content_md5,
        || Md5::digest(content).into(),
        |computed| DigestMismatch::ContentMd5 { computed },
    )?;
    let Some(expected) = promised.checksum.or(trailer) else {
        return Ok(());
    };
    let computed = || {
        let mut hasher = Hasher::new(expected.algorithm());
        hasher.update(content);
        hasher.finish()
    };
    check(Some(expected), computed, |computed| DigestMismatch::Checksum(computed.algorithm()))
}

fn check<T: PartialEq>(
    expected: Option<T>,
    compute: impl Fn() -> T,
    mismatch: impl Fn(T) -> DigestMismatch,
) -> Result<()> {
    let Some(expected) = expected else {
        return Ok(());
    };
    let computed = compute();
    match computed == expected {
        true => Ok(()),
        false => Err(StoreError::Digest(mismatch(computed)).into()),
    }
}

fn too_long(max_bytes: usize) -> S3Error {
    S3Error::new(Code::MaxMessageLengthExceeded, "Your request was too big.")
        .with("MaxMessageLengthBytes", max_bytes.to_string())
}

fn incomplete(why: impl std::fmt::Display) -> S3Error {
    S3Error::new(
        Code::IncompleteBody,
        "You did not provide the number of bytes specified by the Content-Length HTTP header.",
    )
    .because(why)
}

#[cfg(test)]
mod tests;
