//! aws-chunked: the framing inside a body, with signatures and a trailer
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html>,
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html>).
//!
//! ```text
//! 5;chunk-signature=<hex>\r\n
//! hello\r\n
//! 0;chunk-signature=<hex>\r\n
//! x-amz-checksum-crc32:NhCmhg==\r\n
//! x-amz-trailer-signature:<hex>\r\n
//! \r\n
//! ```
//!
//! The decoder is a plain state machine: no I/O, no clock. Chunks have any size (Go sends a whole
//! body as one), so content is handed out before its chunk is verified: nothing may become visible
//! before [`ChunkDecoder::finish`] has said yes.

use super::constant_time;
use super::keys::SigningKey;
use super::refusal;
use crate::error::{Code, Result, S3Error};
use bytes::{Buf, Bytes};
use sha2::{Digest, Sha256};
use std::fmt;
use types::hex::hex;
use types::{Algorithm, Checksum};

/// SHA-256 of nothing, which every chunk's string to sign contains.
const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
/// A chunk header has about a hundred bytes, the longest trailer line about as many.
const MAX_LINE_BYTES: usize = 1024;
/// AWS refuses smaller chunks that are not the last: they cost more than they carry.
const MIN_CHUNK_BYTES: u64 = 8192;

/// The chain of signatures that begins with the request's own.
#[derive(Clone)]
pub struct ChunkSigning {
    key: SigningKey,
    date: String,
    scope: String,
    seed: String,
}

impl ChunkSigning {
    pub fn new(key: SigningKey, date: &str, scope: &str, seed: &str) -> Self {
        Self { key, date: date.to_owned(), scope: scope.to_owned(), seed: seed.to_owned() }
    }

    /// The signature of the request, which is the first chunk's predecessor.
    pub fn seed(&self) -> &str {
        &self.seed
    }

    /// The signature of a chunk whose content has this hash, in hex.
    pub fn chunk(&self, previous: &str, sha256_hex: &str) -> String {
        self.sign("AWS4-HMAC-SHA256-PAYLOAD", &[previous, EMPTY_SHA256, sha256_hex])
    }

    /// The signature of the trailer: the hash is over its lines `name:value\n`.
    pub fn trailer(&self, previous: &str, sha256_hex: &str) -> String {
        self.sign("AWS4-HMAC-SHA256-TRAILER", &[previous, sha256_hex])
    }

    fn sign(&self, kind: &str, rest: &[&str]) -> String {
        let mut text = [kind, &self.date, &self.scope].join("\n");
        for part in rest {
            text.push('\n');
            text.push_str(part);
        }
        self.key.sign(text.as_bytes())
    }
}

impl fmt::Debug for ChunkSigning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChunkSigning(..)")
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    ChunkHeader,
    Data {
        left: u64,
    },
    /// Behind a chunk's content.
    DataEnd,
    Trailer,
    Done,
}

/// Where the chain of signatures is.
struct Chain {
    signing: ChunkSigning,
    previous: String,
    /// What the chunk that is being read says its signature is.
    claimed: String,
    hasher: Sha256,
    /// Whether the trailer is signed too.
    trailer: bool,
}

/// Takes framed bytes, gives content.
pub struct ChunkDecoder {
    input: Bytes,
    /// A line whose end has not come yet.
    line: Vec<u8>,
    state: State,
    chain: Option<Chain>,
    /// Content still to come, by `x-amz-decoded-content-length`.
    left: u64,
    /// The last chunk's size.
    chunk_size: Option<u64>,
    announced: Option<Algorithm>,
    checksum: Option<Checksum>,
    /// The trailer's line as it is signed, and its signature.
    trailer_text: String,
    trailer_signature: Option<String>,
}

impl ChunkDecoder {
    /// `announced` is the checksum that `x-amz-trailer` promises.
    pub fn unsigned(decoded_length: u64, announced: Option<Algorithm>) -> Self {
        Self {
            input: Bytes::new(),
            line: Vec::new(),
            state: State::ChunkHeader,
            chain: None,
            left: decoded_length,
            chunk_size: None,
            announced,
            checksum: None,
            trailer_text: String::new(),
            trailer_signature: None,
        }
    }

    pub fn signed(
        signing: ChunkSigning,
        trailer: bool,
        decoded_length: u64,
        announced: Option<Algorithm>,
    ) -> Self {
        let (previous, claimed, hasher) = (signing.seed.clone(), String::new(), Sha256::new());
        let chain = Chain { signing, previous, claimed, hasher, trailer };
        Self { chain: Some(chain), ..Self::unsigned(decoded_length, announced) }
    }

    /// More framed bytes. Only when [`Self::next_piece`] has said `None`.
    pub fn push(&mut self, input: Bytes) {
        debug_assert!(self.input.is_empty(), "push only after next_piece said None");
        self.input = input;
    }

    /// The next content in what was pushed, without copying it; `None`: push more, or finish.
    pub fn next_piece(&mut self) -> Result<Option<Bytes>> {
        while !self.input.is_empty() {
            match self.state {
                State::Data { left } => return self.data(left).map(Some),
                State::Done => return Err(malformed("bytes behind the last chunk")),
                State::ChunkHeader | State::DataEnd | State::Trailer => {
                    if let Some(line) = self.take_line()? {
                        self.on_line(&line)?;
                    }
                }
            }
        }
        Ok(None)
    }

    /// The input has ended: whether all of it came and was right.
    pub fn finish(&self) -> Result<()> {
        match self.state {
            State::Done if self.input.is_empty() => Ok(()),
            _ => Err(malformed("the body ended inside its framing")),
        }
    }

    /// The checksum of the trailer, once it was read.
    pub fn checksum(&self) -> Option<Checksum> {
        self.checksum.filter(|_| self.state == State::Done)
    }

    fn data(&mut self, left: u64) -> Result<Bytes> {
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(self.input.len());
        let piece = self.input.split_to(len);
        if let Some(chain) = &mut self.chain {
            chain.hasher.update(&piece);
        }
        // As many as it had, at most: no conversion can fail.
        let left = left - piece.len() as u64;
        self.state = if left == 0 { State::DataEnd } else { State::Data { left } };
        Ok(piece)
    }

    /// A line without its CRLF. A bare LF does not end one: minio-go has it inside trailer lines.
    fn take_line(&mut self) -> Result<Option<Vec<u8>>> {
        while let Some(at) = memchr::memchr(b'\n', &self.input) {
            self.append_to_line(at + 1)?;
            if self.line.ends_with(b"\r\n") {
                let mut line = std::mem::take(&mut self.line);
                line.truncate(line.len() - 2);
                return Ok(Some(line));
            }
        }
        self.append_to_line(self.input.len())?;
        Ok(None)
    }

    fn append_to_line(&mut self, len: usize) -> Result<()> {
        if self.line.len() + len > MAX_LINE_BYTES {
            return Err(malformed("a line of the framing is too long"));
        }
        self.line.extend_from_slice(self.input.get(..len).unwrap_or_default());
        self.input.advance(len);
        Ok(())
    }

    fn on_line(&mut self, line: &[u8]) -> Result<()> {
        match self.state {
            State::ChunkHeader => self.chunk_header(line),
            State::DataEnd => self.data_end(line),
            State::Trailer if line.is_empty() => self.trailer_end(),
            _ => self.trailer_line(line),
        }
    }

    fn chunk_header(&mut self, line: &[u8]) -> Result<()> {
        let line = std::str::from_utf8(line).map_err(|_| malformed("a chunk header is no text"))?;
        let (size, extension) = line.split_once(';').unwrap_or((line, ""));
        let size = parse_size(size).ok_or_else(|| malformed("a chunk size is no hexadecimal number"))?;
        self.check_size(size)?;
        if let Some(chain) = &mut self.chain {
            let signature = extension.strip_prefix("chunk-signature=");
            chain.claimed = signature.ok_or_else(|| malformed("a chunk has no signature"))?.to_owned();
        }
        if size > 0 {
            self.state = State::Data { left: size };
            return Ok(());
        }
        self.state = State::Trailer;
        self.chunk_end()
    }

    fn check_size(&mut self, size: u64) -> Result<()> {
        if size > 0 && self.chunk_size.is_some_and(|previous| previous < MIN_CHUNK_BYTES) {
            return Err(S3Error::new(
                Code::InvalidChunkSizeError,
                "Only the last chunk is allowed to have a size less than 8192 bytes",
            ));
        }
        self.chunk_size = Some(size);
        self.left = self
            .left
            .checked_sub(size)
            .ok_or_else(|| malformed("more content than x-amz-decoded-content-length"))?;
        match size == 0 && self.left > 0 {
            true => Err(malformed("less content than x-amz-decoded-content-length")),
            false => Ok(()),
        }
    }

    fn data_end(&mut self, line: &[u8]) -> Result<()> {
        if !line.is_empty() {
            return Err(malformed("a chunk does not end with CRLF"));
        }
        self.state = State::ChunkHeader;
        self.chunk_end()
    }

    /// The chunk's content is complete: is its signature right?
    fn chunk_end(&mut self) -> Result<()> {
        let Some(chain) = &mut self.chain else {
            return Ok(());
        };
        let expected = chain.signing.chunk(&chain.previous, &hex(&chain.hasher.finalize_reset()));
        if !constant_time::equal(expected.as_bytes(), chain.claimed.as_bytes()) {
            return Err(refusal::mismatch());
        }
        chain.previous = expected;
        Ok(())
    }

    fn trailer_line(&mut self, line: &[u8]) -> Result<()> {
        let line =
            std::str::from_utf8(line).ok().and_then(|line| line.trim_end_matches('\n').split_once(':'));
        let (name, value) = line.ok_or_else(|| malformed_trailer("a trailer line has no name"))?;
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
        if name == "x-amz-trailer-signature" && self.chain.as_ref().is_some_and(|chain| chain.trailer) {
            return match self.trailer_signature.replace(value.to_owned()) {
                Some(_) => Err(malformed_trailer("two trailer signatures")),
                None => Ok(()),
            };
        }
        if self.announced.is_none_or(|algorithm| algorithm.header() != name) || !self.trailer_text.is_empty()
        {
            return Err(malformed_trailer("a trailer that x-amz-trailer does not announce"));
        }
        self.trailer_text = format!("{name}:{value}\n");
        Ok(())
    }

    fn trailer_end(&mut self) -> Result<()> {
        self.verify_trailer()?;
        if let Some(algorithm) = self.announced {
            let value = self.trailer_text.split_once(':').map(|(_, value)| value.trim());
            let value = value.ok_or_else(|| malformed_trailer("the announced trailer is missing"))?;
            self.checksum =
                Some(Checksum::from_base64(algorithm, value).ok_or_else(|| invalid_value(algorithm))?);
        }
        self.state = State::Done;
        Ok(())
    }

    fn verify_trailer(&self) -> Result<()> {
        let Some(chain) = self.chain.as_ref().filter(|chain| chain.trailer) else {
            return Ok(());
        };
        let claimed = self
            .trailer_signature
            .as_ref()
            .ok_or_else(|| malformed_trailer("the trailer has no signature"))?;
        let expected = chain.signing.trailer(&chain.previous, &hex(&Sha256::digest(&self.trailer_text)));
        match constant_time::equal(expected.as_bytes(), claimed.as_bytes()) {
            true => Ok(()),
            false => Err(refusal::mismatch()),
        }
    }
}

/// Hexadecimal digits and nothing else, no sign, no blank.
fn parse_size(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    digits.then(|| u64::from_str_radix(text, 16).ok()).flatten()
}

fn malformed(why: &'static str) -> S3Error {
    S3Error::new(
        Code::IncompleteBody,
        "The request body terminated unexpectedly, or its aws-chunked framing is malformed",
    )
    .because(why)
}

fn malformed_trailer(why: &'static str) -> S3Error {
    S3Error::new(
        Code::MalformedTrailerError,
        "The request contained trailing data that was not well-formed or did not conform to our published schema.",
    )
    .because(why)
}

fn invalid_value(algorithm: Algorithm) -> S3Error {
    S3Error::new(
        Code::InvalidRequest,
        format!("Value for {} trailing header is invalid.", algorithm.header()),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::auth::testing;

    const CRC: Option<Algorithm> = Some(Algorithm::Crc32);

    /// Pushes the pieces one by one; content and checksum.
    fn decode(mut decoder: ChunkDecoder, pieces: &[&[u8]]) -> Result<(Vec<u8>, Option<Checksum>)> {
        let mut content = Vec::new();
        for piece in pieces {
            decoder.push(Bytes::copy_from_slice(piece));
            while let Some(data) = decoder.next_piece()? {
                content.extend_from_slice(&data);
            }
        }
        decoder.finish()?;
        Ok((content, decoder.checksum()))
    }

    fn unsigned(text: &str, len: u64) -> Result<Vec<u8>> {
        decode(ChunkDecoder::unsigned(len, CRC), &[text.as_bytes()]).map(|(content, _)| content)
    }

    /// `hello` in one signed chunk with a signed trailer.
    fn signed_body() -> (ChunkSigning, Vec<u8>) {
        let signing = testing::chunk_signing();
        let line = "x-amz-checksum-crc32:NhCmhg==\n";
        let first = signing.chunk(signing.seed(), &hex(&Sha256::digest("hello")));
        let last = signing.chunk(&first, EMPTY_SHA256);
        let trailer = signing.trailer(&last, &hex(&Sha256::digest(line)));
        let text = format!(
            "5;chunk-signature={first}\r\nhello\r\n0;chunk-signature={last}\r\n{}\r\nx-amz-trailer-signature:{trailer}\r\n\r\n",
            line.trim_end()
        );
        (signing, text.into_bytes())
    }

    #[test]
    fn any_split_gives_the_same_content() {
        let (signing, body) = signed_body();
        for first in 0..=body.len() {
            for second in first..=body.len() {
                let pieces = [&body[..first], &body[first..second], &body[second..]];
                let (content, checksum) =
                    decode(ChunkDecoder::signed(signing.clone(), true, 5, CRC), &pieces).unwrap();
                assert_eq!(content, b"hello");
                assert_eq!(checksum.unwrap().to_base64(), "NhCmhg==");
            }
        }
        let bytes: Vec<&[u8]> = body.chunks(1).collect();
        assert_eq!(decode(ChunkDecoder::signed(signing, true, 5, CRC), &bytes).unwrap().0, b"hello");
    }

    #[test]
    fn every_changed_byte_is_refused() {
        let (signing, body) = signed_body();
        for at in 0..body.len() {
            for flip in [0x01, 0x80] {
                let mut changed = body.clone();
                changed[at] ^= flip;
                let outcome = decode(ChunkDecoder::signed(signing.clone(), true, 5, CRC), &[&changed]);
                assert!(outcome.is_err(), "byte {at}: {}", String::from_utf8_lossy(&changed));
            }
        }
    }

    #[test]
    fn every_shortened_body_is_refused() {
        let (signing, body) = signed_body();
        for len in 0..body.len() {
            assert!(decode(ChunkDecoder::signed(signing.clone(), true, 5, CRC), &[&body[..len]]).is_err());
        }
    }

    #[test]
    fn framing() {
        let code = |text: &str, len| unsigned(text, len).unwrap_err().code;
        assert_eq!(
            unsigned("5\r\nhello\r\n0\r\nX-Amz-Checksum-Crc32: NhCmhg==\n\r\n\r\n", 5).unwrap(),
            b"hello"
        );
        assert_eq!(code("5\r\nhello0\r\n0\r\n\r\n", 5), Code::IncompleteBody);
        assert_eq!(code("5\nhello\r\n0\r\n\r\n", 5), Code::IncompleteBody);
        assert_eq!(code("+5\r\nhello\r\n0\r\n\r\n", 5), Code::IncompleteBody);
        assert_eq!(code("\r\n", 5), Code::IncompleteBody);
        assert_eq!(code("11111111111111111\r\n", 5), Code::IncompleteBody);
        assert_eq!(code("5\r\nhello\r\n0\r\n", 4), Code::IncompleteBody);
        assert_eq!(code("5\r\nhello\r\n0\r\n", 6), Code::IncompleteBody);
        assert_eq!(code(&"1".repeat(5000), 5), Code::IncompleteBody);
        assert_eq!(code("5\r\nhello\r\n5\r\nhello\r\n0\r\n", 10), Code::InvalidChunkSizeError);
        assert_eq!(code("0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\nmore", 0), Code::IncompleteBody);
        assert_eq!(code("0\r\nx-amz-checksum-crc32:AAAA\r\n\r\n", 0), Code::InvalidRequest);
        assert_eq!(code("0\r\nx-amz-checksum-crc32c:AAAAAA==\r\n\r\n", 0), Code::MalformedTrailerError);
        assert_eq!(code("0\r\n\r\n", 0), Code::MalformedTrailerError);
        assert_eq!(code("0\r\nrubbish\r\n\r\n", 0), Code::MalformedTrailerError);
    }

    #[test]
    fn content_is_not_copied() {
        let mut decoder = ChunkDecoder::unsigned(10_000, None);
        let mut text = b"2710\r\n".to_vec();
        text.extend_from_slice(&[7; 10_000]);
        let input = Bytes::from(text);
        decoder.push(input.clone());
        let piece = decoder.next_piece().unwrap().unwrap();
        assert_eq!(piece.as_ptr(), input.slice(6..).as_ptr());
    }
}
