//! Identities that the node hands out. None is ever used twice.

use std::fmt;

/// A bucket's place in the metadata; stays the same while the bucket is in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketId(pub u32);

/// One blob, for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobId(pub u64);

/// One version of one object, in commit order; the mount uses it as inode number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

/// A multipart upload: a sequence number, so that uploads of one key list in the order in which
/// they began, and random bits, so that an id cannot be guessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UploadId {
    pub sequence: u64,
    pub secret: u64,
}

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl BlobId {
    /// A number as `Display` writes it; whether it is written just so is for the caller to say.
    pub fn parse(text: &str) -> Option<Self> {
        u64::from_str_radix(text, 16).ok().map(Self)
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.sequence, self.secret)
    }
}

impl UploadId {
    /// The inverse of `Display`; `None` for anything that this node cannot have made.
    pub fn parse(text: &str) -> Option<Self> {
        let hex = |s: &str| {
            let lower = s.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
            lower.then(|| u64::from_str_radix(s, 16).ok()).flatten()
        };
        if text.len() != 32 || !text.is_ascii() {
            return None;
        }
        let (sequence, secret) = text.split_at(16);
        Some(Self { sequence: hex(sequence)?, secret: hex(secret)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upload_ids_survive_the_wire() {
        let id = UploadId { sequence: 7, secret: u64::MAX };
        assert_eq!(UploadId::parse(&id.to_string()), Some(id));
        for bad in ["", "7", &"g".repeat(32), &"+".repeat(32), &"é".repeat(16)] {
            assert_eq!(UploadId::parse(bad), None, "{bad}");
        }
    }
}
