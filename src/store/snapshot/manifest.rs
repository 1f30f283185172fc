//! What a snapshot says of itself: text, so that a person can read it, closed by a checksum of its own, so
//! that half of one is none.

use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use types::Timestamp;
use types::hex::hex;

const TITLE: &str = "s3-orchestrator snapshot 1";

/// One file of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// In the directory of the records.
    pub name: String,
    pub size: u64,
    /// SHA-256 of its bytes, in hex: also what it is called on backends.
    pub sum: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Whose records they are.
    pub node: String,
    pub id: String,
    pub taken: Timestamp,
    /// Numbers below this one were noted in these records, if anything was to be noted of them.
    pub next: u64,
    pub files: Vec<File>,
}

impl Manifest {
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    pub fn encode(&self) -> String {
        let Self { node, id, taken, next, files } = self;
        let mut text = format!("{TITLE}\nnode {node}\nid {id}\ntaken {}\nnext {next}\n", taken.0);
        for File { name, size, sum } in files {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "file {size} {sum} {name}");
        }
        let end = hex(&Sha256::digest(text.as_bytes()));
        text.push_str(&format!("end {end}\n"));
        text
    }

    /// `None`: it is not whole, or of another version.
    pub fn decode(text: &str) -> Option<Self> {
        let (body, end) = text.strip_suffix('\n')?.rsplit_once('\n')?;
        let body = format!("{body}\n");
        if end.strip_prefix("end ")? != hex(&Sha256::digest(body.as_bytes())) {
            return None;
        }
        let mut lines = body.lines();
        if lines.next()? != TITLE {
            return None;
        }
        let node = lines.next()?.strip_prefix("node ")?.to_owned();
        let id = lines.next()?.strip_prefix("id ")?.to_owned();
        let taken = Timestamp(lines.next()?.strip_prefix("taken ")?.parse().ok()?);
        let next = lines.next()?.strip_prefix("next ")?.parse().ok()?;
        let files = lines.map(file).collect::<Option<Vec<_>>>()?;
        Some(Self { node, id, taken, next, files })
    }
}

fn file(line: &str) -> Option<File> {
    let mut words = line.strip_prefix("file ")?.splitn(3, ' ');
    let (size, sum, name) = (words.next()?, words.next()?, words.next()?);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    // It becomes a path, and part of a name on a backend.
    let is_safe = !name.starts_with('.') && name.bytes().all(plain) && !name.is_empty();
    let is_sum = sum.len() == 64 && sum.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_safe && is_sum).then_some(File {
        name: name.to_owned(),
        size: size.parse().ok()?,
        sum: sum.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn manifest(name: &str) -> Manifest {
        let file = File { name: name.to_owned(), size: 7, sum: "0f".repeat(32) };
        let id = "0000000000042".to_owned();
        Manifest { node: "ab".to_owned(), id, taken: Timestamp(42), next: 9, files: vec![file] }
    }

    #[test]
    fn it_is_read_as_it_was_written_or_not_at_all() {
        let whole = manifest("000012.sst");
        let text = whole.encode();
        assert_eq!(Manifest::decode(&text), Some(whole));
        for end in 0..text.len() {
            assert_eq!(Manifest::decode(&text[..end]), None, "{end} bytes of it");
        }
        assert_eq!(Manifest::decode(&text.replace("next 9", "next 8")), None);
    }

    #[test]
    fn no_name_leads_elsewhere() {
        for name in ["../x", "a/b", ".x", ""] {
            assert_eq!(Manifest::decode(&manifest(name).encode()), None, "{name}");
        }
    }
}
