//! The aws-chunked decoder, signed and not, wherever the bytes are cut.
//!
//! Input: a line `FLAGS LENGTH CUT`, then the framed bytes. Flags: `s` signed chunks, `t` a signed
//! trailer, `c` an announced CRC32, `b` the bytes are content that is framed and signed here, in
//! chunks of 8192 bytes, and then changed at a place that CUT chooses.

use crate::pieces::cut;
use crate::text::first_line;
use bytes::Bytes;
use s3api::Code;
use s3api::auth::{ChunkDecoder, ChunkSigning};
use s3api::fuzz::auth::chunk_signing;
use sha2::{Digest, Sha256};
use std::sync::LazyLock;
use types::Algorithm;
use types::checksum::Hasher;

const CHUNK: usize = 8192;

static SIGNING: LazyLock<ChunkSigning> = LazyLock::new(chunk_signing);

struct Setup<'a> {
    flags: &'a str,
    length: u64,
    cut: usize,
}

pub fn run(data: &[u8]) {
    let (line, bytes) = first_line(data);
    let Ok(line) = std::str::from_utf8(line) else { return };
    let mut words = line.split(' ');
    let flags = words.next().unwrap_or_default();
    let length = words.next().and_then(|word| word.parse().ok()).unwrap_or(bytes.len() as u64);
    let cut = words.next().and_then(|word| word.parse().ok()).unwrap_or(1);
    let setup = Setup { flags, length, cut };
    match setup.has('b') {
        true => framed(&setup, bytes),
        false => raw(&setup, bytes),
    }
}

impl Setup<'_> {
    fn has(&self, flag: char) -> bool {
        self.flags.contains(flag)
    }

    fn decoder(&self) -> ChunkDecoder {
        let announced = self.has('c').then_some(Algorithm::Crc32);
        match self.has('s') {
            true => ChunkDecoder::signed(SIGNING.clone(), self.has('t'), self.length, announced),
            false => ChunkDecoder::unsigned(self.length, announced),
        }
    }

    /// The content that came, and how it ended.
    fn decode(&self, bytes: &[u8], size: usize) -> (Vec<u8>, Result<(), Code>) {
        let mut content = Vec::new();
        let mut decoder = self.decoder();
        let outcome = decode(&mut decoder, bytes, size, &mut content);
        (content, outcome)
    }
}

fn decode(decoder: &mut ChunkDecoder, bytes: &[u8], size: usize, content: &mut Vec<u8>) -> Result<(), Code> {
    for piece in cut(bytes, size) {
        decoder.push(Bytes::copy_from_slice(piece));
        while let Some(data) = decoder.next_piece().map_err(|error| error.code)? {
            assert!(!data.is_empty());
            content.extend_from_slice(&data);
        }
    }
    decoder.finish().map_err(|error| error.code)
}

fn raw(setup: &Setup<'_>, bytes: &[u8]) {
    let whole = setup.decode(bytes, 0);
    assert!(whole.0.len() as u64 <= setup.length, "more content than was announced");
    assert!(whole.1.is_err() || whole.0.len() as u64 == setup.length);
    assert_eq!(whole, setup.decode(bytes, 1));
    assert_eq!(whole, setup.decode(bytes, setup.cut % 64));
}

fn framed(setup: &Setup<'_>, content: &[u8]) {
    let setup = Setup { length: content.len() as u64, ..*setup };
    let mut wire = frame(&setup, content);
    assert_eq!(setup.decode(&wire, setup.cut), (content.to_vec(), Ok(())));
    let at = setup.cut % wire.len();
    wire[at] ^= 1 << (setup.cut / wire.len() % 8);
    let (changed, outcome) = setup.decode(&wire, 0);
    // Without signatures the content is held by the checksum, which is not the decoder's to verify.
    assert!(outcome.is_err() || !setup.has('s') || changed == content, "a change went unnoticed");
}

fn frame(setup: &Setup<'_>, content: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    let mut previous = SIGNING.seed().to_owned();
    for chunk in content.chunks(CHUNK).chain([&[][..]]) {
        wire.extend_from_slice(format!("{:x}", chunk.len()).as_bytes());
        if setup.has('s') {
            previous = SIGNING.chunk(&previous, &hex(chunk));
            wire.extend_from_slice(format!(";chunk-signature={previous}").as_bytes());
        }
        wire.extend_from_slice(b"\r\n");
        wire.extend_from_slice(chunk);
        if !chunk.is_empty() {
            wire.extend_from_slice(b"\r\n");
        }
    }
    wire.extend_from_slice(trailer(setup, content, &previous).as_bytes());
    wire
}

fn trailer(setup: &Setup<'_>, content: &[u8], previous: &str) -> String {
    let mut text = String::new();
    if setup.has('c') {
        let mut hasher = Hasher::new(Algorithm::Crc32);
        hasher.update(content);
        text = format!("x-amz-checksum-crc32:{}\n", hasher.finish().to_base64());
    }
    let signature = SIGNING.trailer(previous, &hex(text.as_bytes()));
    let mut wire = text.replace('\n', "\r\n");
    if setup.has('s') && setup.has('t') {
        wire.push_str(&format!("x-amz-trailer-signature:{signature}\r\n"));
    }
    wire + "\r\n"
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
