//! Where a request's body ends and the next head may begin: a length, or chunks.
//!
//! The guard counts along with the bytes it passes on; it keeps none of them.

use crate::limits::{MAX_CHUNK_EXTENSION_BYTES, MAX_TRAILER_BYTES};

/// The rest of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(u64),
    Chunked(Chunks),
}

/// The chunks are not what RFC 9112, section 7.1 allows, or too long-winded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadChunk;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chunks {
    at: At,
    extension_bytes: usize,
    trailer_bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Size {
        size: u64,
        digits: u8,
    },
    Extension {
        size: u64,
    },
    SizeFeed {
        size: u64,
    },
    Data {
        left: u64,
    },
    DataReturn,
    DataFeed,
    /// The first byte of a line of the trailer section.
    Line,
    InLine,
    LineFeed,
    LastFeed,
    End,
}

impl Framing {
    pub(crate) fn length(bytes: u64) -> Self {
        Self::Length(bytes)
    }

    pub(crate) fn chunked() -> Self {
        let at = At::Size { size: 0, digits: 0 };
        Self::Chunked(Chunks { at, extension_bytes: 0, trailer_bytes: 0 })
    }

    pub(crate) fn ended(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunks) => chunks.at == At::End,
        }
    }

    /// How many of these bytes still belong to the body; fewer than all means that it ended.
    pub(crate) fn consume(&mut self, bytes: &[u8]) -> Result<usize, BadChunk> {
        match self {
            Self::Length(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= taken as u64;
                Ok(taken)
            }
            Self::Chunked(chunks) => chunks.consume(bytes),
        }
    }
}

impl Chunks {
    fn consume(&mut self, bytes: &[u8]) -> Result<usize, BadChunk> {
        let mut taken = 0;
        while self.at != At::End {
            if let At::Data { left } = self.at {
                taken += self.skip(left, bytes.len() - taken);
            }
            let Some(byte) = bytes.get(taken) else { break };
            self.at = self.step(*byte)?;
            taken += 1;
        }
        Ok(taken)
    }

    /// Content is not looked at.
    fn skip(&mut self, left: u64, available: usize) -> usize {
        let skipped = usize::try_from(left).unwrap_or(usize::MAX).min(available);
        let left = left - skipped as u64;
        self.at = if left == 0 { At::DataReturn } else { At::Data { left } };
        skipped
    }

    fn step(&mut self, byte: u8) -> Result<At, BadChunk> {
        match (self.at, byte) {
            (At::Size { size, digits }, _) => self.size(size, digits, byte),
            (At::Extension { size }, b'\r') => Ok(At::SizeFeed { size }),
            (At::Extension { size }, _) => self.extension(size, byte),
            (At::SizeFeed { size: 0 }, b'\n') => Ok(At::Line),
            (At::SizeFeed { size }, b'\n') => Ok(At::Data { left: size }),
            (At::DataReturn, b'\r') => Ok(At::DataFeed),
            (At::DataFeed, b'\n') => Ok(At::Size { size: 0, digits: 0 }),
            (At::Line, b'\r') => Ok(At::LastFeed),
            (At::LastFeed, b'\n') => Ok(At::End),
            (At::InLine, b'\r') => Ok(At::LineFeed),
            (At::LineFeed, b'\n') => Ok(At::Line),
            // A trailer line that begins with a blank would be a folded one.
            (At::Line, b' ' | b'\t' | b':') => Err(BadChunk),
            (At::Line | At::InLine, _) => self.trailer(byte),
            _ => Err(BadChunk),
        }
    }

    /// 15 hexadecimal digits: no sum of them overflows, here or in hyper.
    fn size(&mut self, size: u64, digits: u8, byte: u8) -> Result<At, BadChunk> {
        if let Some(digit) = (byte as char).to_digit(16) {
            let size = (size << 4) | u64::from(digit);
            return if digits < 15 { Ok(At::Size { size, digits: digits + 1 }) } else { Err(BadChunk) };
        }
        match byte {
            _ if digits == 0 => Err(BadChunk),
            b'\r' => Ok(At::SizeFeed { size }),
            b';' => self.extension(size, byte),
            _ => Err(BadChunk),
        }
    }

    fn extension(&mut self, size: u64, byte: u8) -> Result<At, BadChunk> {
        self.extension_bytes += 1;
        let sound = is_text(byte) && self.extension_bytes <= MAX_CHUNK_EXTENSION_BYTES;
        if sound { Ok(At::Extension { size }) } else { Err(BadChunk) }
    }

    fn trailer(&mut self, byte: u8) -> Result<At, BadChunk> {
        self.trailer_bytes += 1;
        let sound = is_text(byte) && self.trailer_bytes <= MAX_TRAILER_BYTES;
        if sound { Ok(At::InLine) } else { Err(BadChunk) }
    }
}

fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= 0x20 && byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] =
        b"5;name=value\r\nhello\r\nA\r\n0123456789\r\n0\r\nx-amz-checksum-crc32: AAAAAA==\r\n\r\n";

    #[test]
    fn chunks_end_where_they_end_at_every_split() {
        let bytes = [BODY, b"GET / HTTP/1.1"].concat();
        for split in 0..=bytes.len() {
            let mut framing = Framing::chunked();
            let (first, second) = bytes.split_at(split);
            let taken = framing.consume(first).and_then(|taken| Ok(taken + framing.consume(second)?));
            assert_eq!((taken, framing.ended()), (Ok(BODY.len()), true), "split at {split}");
        }
    }

    #[test]
    fn a_length_ends_where_it_says() {
        let mut framing = Framing::length(5);
        assert_eq!(framing.consume(b"abc"), Ok(3));
        assert!(!framing.ended());
        assert_eq!(framing.consume(b"deGET /"), Ok(2));
        assert!(framing.ended());
    }

    #[test]
    fn ambiguous_chunks_are_refused() {
        for bytes in [
            b"\r\n".as_slice(),
            b"x\r\n",
            b"0x5\r\nhello\r\n",
            b"+5\r\nhello\r\n",
            b" 5\r\nhello\r\n",
            b"5 \r\nhello\r\n",
            b"5\nhello\r\n",
            b"5\rX",
            b"5;a\nb\r\nhello",
            b"5;a\0b\r\nhello",
            b"5\r\nhelloX",
            b"5\r\nhello\n",
            b"5\r\nhello\rX",
            b"0\r\n\n",
            b"0\r\n\rX",
            b"0\r\n: value\r\n\r\n",
            b"0\r\n folded\r\n\r\n",
            b"0\r\na: b\n\r\n",
            b"1000000000000000\r\n",
            b"ffffffffffffffffffff\r\n",
        ] {
            assert_eq!(Framing::chunked().consume(bytes), Err(BadChunk), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn extensions_and_trailers_are_bounded() {
        let mut extensions = Framing::chunked();
        let chunk = [b"1;".as_slice(), &[b'a'; 100], b"\r\nx\r\n"].concat();
        let refused = (0..1000).position(|_| extensions.consume(&chunk).is_err());
        assert_eq!(refused, Some(MAX_CHUNK_EXTENSION_BYTES / 101));

        let trailer = [b"0\r\n".as_slice(), &b"a: b\r\n".repeat(10_000)].concat();
        assert_eq!(Framing::chunked().consume(&trailer), Err(BadChunk));
    }
}
