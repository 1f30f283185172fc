//! Bodies whose every byte names its origin.
//!
//! A body is a row of 32-byte records: which seed and key, which generation, which record. Where bytes are wrong, the
//! records found there say whose they are: another key's, an older generation's, another place's, or nobody's.

use crate::rng::mix;
use bytes::Bytes;
use std::fmt;

const RECORD: usize = 32;
const MAGIC: u32 = 0x5333_4F21;

/// One generation of a key's content. Two contents are equal when they have the same bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Content {
    /// Seed and key, made one number.
    pub stream: u64,
    /// Never the same twice in one run.
    pub generation: u64,
    pub size: u64,
}

/// The bodies of one run.
#[derive(Debug, Clone, Copy)]
pub struct Bodies {
    seed: u64,
}

impl Bodies {
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    pub fn content(&self, key: &str, generation: u64, size: u64) -> Content {
        // FNV-1a, begun at the seed: any hash would do, this one needs no crate.
        let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
        let stream = key.as_bytes().iter().fold(mix(self.seed), fold);
        Content { stream, generation, size }
    }
}

impl Content {
    pub fn bytes(&self) -> Bytes {
        self.slice(0, self.size)
    }

    /// Bytes `start..end`, wherever they begin: a part, or a range.
    pub fn slice(&self, start: u64, end: u64) -> Bytes {
        let end = end.min(self.size);
        let start = start.min(end);
        let first = start / RECORD as u64;
        let last = end.div_ceil(RECORD as u64);
        let mut out = Vec::with_capacity(((last - first) as usize) * RECORD);
        for index in first..last {
            out.extend_from_slice(&self.record(index));
        }
        let skip = (start - first * RECORD as u64) as usize;
        Bytes::from(out).slice(skip..skip + (end - start) as usize)
    }

    fn record(&self, index: u64) -> [u8; RECORD] {
        let mut out = [0; RECORD];
        let check = check(self.stream, self.generation, index);
        let words = [u64::from(MAGIC) | (u64::from(check) << 32), self.stream, self.generation, index];
        for (place, word) in out.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        out
    }

    /// Whether `got` is exactly this content; if not, where it differs and whose bytes are there.
    pub fn verify(&self, got: &[u8]) -> Result<(), String> {
        self.verify_range(0, self.size, got)
    }

    pub fn verify_range(&self, start: u64, end: u64, got: &[u8]) -> Result<(), String> {
        let want = self.slice(start, end);
        if want[..] == *got {
            return Ok(());
        }
        if let Some(at) = want.iter().zip(got).position(|(want, got)| want != got) {
            let at = start + at as u64;
            return Err(format!("{self:?}: byte {at} is wrong; there: {}", describe(got, start, at)));
        }
        Err(format!("{self:?}: {} bytes came, {} were expected", got.len(), want.len()))
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "generation {} of stream {:016x} ({} bytes)", self.generation, self.stream, self.size)
    }
}

fn check(stream: u64, generation: u64, index: u64) -> u32 {
    mix(stream ^ mix(generation ^ mix(index))) as u32
}

/// Reads the generation off the first record of a body: which write is this?
pub fn generation_of(body: &[u8]) -> Option<u64> {
    parse(body.get(..RECORD)?).map(|(_, generation, _)| generation)
}

fn parse(record: &[u8]) -> Option<(u64, u64, u64)> {
    let word = |n: usize| Some(u64::from_le_bytes(record.get(n * 8..n * 8 + 8)?.try_into().ok()?));
    let (head, stream, generation, index) = (word(0)?, word(1)?, word(2)?, word(3)?);
    let genuine = head as u32 == MAGIC && (head >> 32) as u32 == check(stream, generation, index);
    genuine.then_some((stream, generation, index))
}

/// Whose bytes lie at `at` of a body of which `got` begins at `start`.
fn describe(got: &[u8], start: u64, at: u64) -> String {
    let aligned = at / RECORD as u64 * RECORD as u64;
    let Some(from) = aligned.checked_sub(start).map(|from| from as usize) else {
        return "a cut record".to_owned();
    };
    match got.get(from..from + RECORD) {
        None => "a cut record".to_owned(),
        Some(record) if record.iter().all(|b| *b == 0) => "zeros".to_owned(),
        Some(record) => match parse(record) {
            Some((stream, generation, index)) => {
                format!("record {index} of generation {generation} of stream {stream:016x}")
            }
            None => format!("no record of ours: {record:02x?}"),
        },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn slices_are_of_one_piece() {
        let content = Bodies::new(1).content("k", 5, 1000);
        let whole = content.bytes();
        assert_eq!(whole.len(), 1000);
        for (start, end) in [(0, 0), (0, 1), (31, 33), (32, 64), (500, 1000), (999, 5000)] {
            let want = &whole[start as usize..(end as usize).min(1000)];
            assert_eq!(content.slice(start, end)[..], *want);
            content.verify_range(start, end, want).unwrap();
        }
    }

    #[test]
    fn every_wrong_byte_is_seen_and_named() {
        let bodies = Bodies::new(1);
        let (new, old) = (bodies.content("k", 6, 100), bodies.content("k", 5, 100));
        let torn = [&new.bytes()[..64], &old.bytes()[64..]].concat();
        let why = new.verify(&torn).unwrap_err();
        assert!(why.contains("record 2 of generation 5"), "{why}");
        for at in 0..100 {
            let mut flipped = new.bytes().to_vec();
            flipped[at] ^= 1;
            assert!(new.verify(&flipped).is_err());
        }
        assert!(new.verify(&new.bytes()[..99]).unwrap_err().contains("99 bytes came"));
        assert!(new.verify(&[0; 100]).unwrap_err().contains("zeros"));
        assert_eq!(generation_of(&new.bytes()), Some(6));
    }

    #[test]
    fn keys_and_seeds_have_their_own_streams() {
        let of = |seed, key| Bodies::new(seed).content(key, 0, 1).stream;
        assert_ne!(of(1, "a"), of(1, "b"));
        assert_ne!(of(1, "a"), of(2, "a"));
    }
}
