//! Entity tags.

use std::fmt;

/// MD5 of the content, or of the parts' MD5s with the number of parts behind a hyphen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ETag {
    pub md5: [u8; 16],
    /// `None` for an object written in one piece.
    pub parts: Option<u16>,
}

impl ETag {
    pub fn single(md5: [u8; 16]) -> Self {
        Self { md5, parts: None }
    }

    /// Parses `hex` or `hex-N`, with or without quotes; `None` for text that names no ETag of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(text);
        let (hex, parts) = match text.split_once('-') {
            Some((hex, n)) if n.bytes().all(|b| b.is_ascii_digit()) => (hex, Some(n.parse().ok()?)),
            Some(_) => return None,
            None => (text, None),
        };
        Some(Self { md5: parse_hex(hex)?, parts })
    }
}

fn parse_hex(hex: &str) -> Option<[u8; 16]> {
    if hex.len() != 32 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    Some(u128::from_str_radix(hex, 16).ok()?.to_be_bytes())
}

/// Without quotes; headers and XML add them.
impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.md5))?;
        match self.parts {
            Some(n) => write!(f, "-{n}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn etags_read_back() {
        let single = ETag::single([0xab; 16]);
        let multi = ETag { md5: [1; 16], parts: Some(10_000) };
        for tag in [single, multi] {
            assert_eq!(ETag::parse(&tag.to_string()), Some(tag));
            assert_eq!(ETag::parse(&format!("\"{tag}\"")), Some(tag));
        }
        for bad in ["", "\"", "abc", "*", &"z".repeat(32), &format!("{single}-x")] {
            assert_eq!(ETag::parse(bad), None, "{bad}");
        }
    }
}
