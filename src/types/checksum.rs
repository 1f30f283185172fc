//! The checksums that S3 clients can ask for: their values, and how they come to be.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::Digest as _;

use crate::algorithm::{Algorithm, ChecksumKind};
use crate::crc::Zeros;

/// A checksum's value: as many bytes as its algorithm has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checksum {
    algorithm: Algorithm,
    bytes: [u8; 32],
    /// Parts, for a composite one: shown as `-N`.
    parts: Option<u16>,
}

impl Checksum {
    pub fn new(algorithm: Algorithm, value: &[u8]) -> Option<Self> {
        let mut bytes = [0; 32];
        if value.len() != algorithm.len() {
            return None;
        }
        bytes.get_mut(..value.len())?.copy_from_slice(value);
        Some(Self { algorithm, bytes, parts: None })
    }

    #[must_use]
    pub fn composite_of(self, parts: u16) -> Self {
        Self { parts: Some(parts), ..self }
    }

    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub fn kind(&self) -> ChecksumKind {
        match self.parts {
            Some(_) => ChecksumKind::Composite,
            None => ChecksumKind::FullObject,
        }
    }

    pub fn parts(&self) -> Option<u16> {
        self.parts
    }

    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.algorithm.len()).unwrap_or_default()
    }

    /// Base64 of a value without `-N`.
    pub fn from_base64(algorithm: Algorithm, text: &str) -> Option<Self> {
        Self::new(algorithm, &STANDARD.decode(text.trim()).ok()?)
    }

    /// Base64, with `-N` behind a composite value.
    pub fn to_base64(&self) -> String {
        let mut text = STANDARD.encode(self.bytes());
        if let Some(n) = self.parts {
            text.push('-');
            text.push_str(&n.to_string());
        }
        text
    }

    fn crc_value(&self) -> u64 {
        self.bytes().iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
    }

    /// The checksum of two contents one behind the other; only CRCs can tell.
    pub fn combine(&self, next: &Checksum, next_len: u64) -> Option<Checksum> {
        let zeros = Zeros::of(self.algorithm).filter(|_| self.algorithm == next.algorithm)?;
        let value = zeros.combine(self.crc_value(), next.crc_value(), next_len);
        Self::new(self.algorithm, value.to_be_bytes().get(8 - self.algorithm.len()..)?)
    }
}

/// Computes one checksum over a stream.
pub struct Hasher {
    algorithm: Algorithm,
    state: State,
}

enum State {
    Crc(crc_fast::Digest),
    Sha1(sha1::Sha1),
    Sha256(sha2::Sha256),
}

impl Hasher {
    pub fn new(algorithm: Algorithm) -> Self {
        let state = match (algorithm.crc(), algorithm) {
            (Some(crc), _) => State::Crc(crc_fast::Digest::new(crc)),
            (None, Algorithm::Sha1) => State::Sha1(sha1::Sha1::new()),
            (None, _) => State::Sha256(sha2::Sha256::new()),
        };
        Self { algorithm, state }
    }

    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub fn update(&mut self, data: &[u8]) {
        match &mut self.state {
            State::Crc(digest) => digest.update(data),
            State::Sha1(digest) => digest.update(data),
            State::Sha256(digest) => digest.update(data),
        }
    }

    pub fn finish(self) -> Checksum {
        let value = match self.state {
            State::Crc(digest) => {
                let bytes = digest.finalize().to_be_bytes();
                Checksum::new(self.algorithm, bytes.get(8 - self.algorithm.len()..).unwrap_or_default())
            }
            State::Sha1(digest) => Checksum::new(self.algorithm, &digest.finalize()),
            State::Sha256(digest) => Checksum::new(self.algorithm, &digest.finalize()),
        };
        value.expect("a digest has its algorithm's length")
    }
}

/// The composite checksum of parts: the hash over the parts' raw values.
pub fn composite(algorithm: Algorithm, parts: &[Checksum]) -> Option<Checksum> {
    let mut hasher = Hasher::new(algorithm);
    for part in parts {
        if part.algorithm() != algorithm {
            return None;
        }
        hasher.update(part.bytes());
    }
    Some(hasher.finish().composite_of(u16::try_from(parts.len()).ok()?))
}

/// CRC32C of a chunk, as the records keep it: every read is checked against it.
pub fn chunk_sum(data: &[u8]) -> u32 {
    // A 32-bit CRC comes back in the low half of the 64 bits.
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, data) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(algorithm: Algorithm, data: &[u8]) -> Checksum {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(data);
        hasher.finish()
    }

    /// Values of `hello` as the AWS clients compute them.
    #[test]
    fn known_values() {
        for (algorithm, value) in [
            (Algorithm::Crc32, "NhCmhg=="),
            (Algorithm::Crc32c, "mnG7TA=="),
            (Algorithm::Crc64Nvme, "M3eFcAZSQlc="),
            (Algorithm::Sha1, "qvTGHdzF6KLavt4PO0gs2a6pQ00="),
            (Algorithm::Sha256, "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ="),
        ] {
            let computed = sum(algorithm, b"hello");
            assert_eq!(computed.to_base64(), value);
            assert_eq!(Checksum::from_base64(algorithm, value), Some(computed));
        }
        assert_eq!(chunk_sum(b"hello"), 0x9a71_bb4c);
    }

    #[test]
    fn crcs_combine() {
        for algorithm in [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme] {
            let combined = sum(algorithm, b"hel").combine(&sum(algorithm, b"lo"), 2);
            assert_eq!(combined, Some(sum(algorithm, b"hello")));
        }
        assert_eq!(sum(Algorithm::Sha1, b"").combine(&sum(Algorithm::Sha1, b""), 0), None);
    }

    #[test]
    fn composites_show_their_parts() {
        let part = sum(Algorithm::Crc32, b"hello");
        let whole = composite(Algorithm::Crc32, &[part, part]).map(|c| c.to_base64());
        assert!(whole.is_some_and(|text| text.ends_with("==-2")));
        assert_eq!(composite(Algorithm::Sha1, &[part]), None);
    }

    #[test]
    fn wrong_lengths_are_refused() {
        assert_eq!(Checksum::from_base64(Algorithm::Crc32, "AAAAAAA="), None);
        assert_eq!(Checksum::from_base64(Algorithm::Crc32, "not base64"), None);
    }
}
