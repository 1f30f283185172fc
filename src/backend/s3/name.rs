//! Names of replicas in a provider's bucket: `{bucket}/{key}` for people, `.{blob id}` for uniqueness.
//!
//! Providers are not alike in what a key may hold: some keep keys as paths of files, some clean
//! paths, some decode twice, XML cannot carry control characters. What any of them may trip over is
//! written as `!XX`, and what is too long is cut. The name need not be read back: the identity beside the replica has
//! the key.

use crate::{Location, MAX_LOCATION_BYTES};
use types::BlobId;

/// File systems below a provider allow 255 bytes, and some servers add a suffix of their own.
const SEGMENT_MAX_BYTES: usize = 200;
/// Marks a name that was cut; a `!` of a key is escaped itself, so no key can look like this.
const CUT: &str = "!-";
const HASH_CHARS: usize = 16;
const CUT_BYTES: usize = CUT.len() + HASH_CHARS;
/// Servers that keep paths make a directory for each slash, and some are slow where there are hundreds.
const DEPTH_MAX: usize = 32;
/// `.` and the blob id.
const SUFFIX_BYTES: usize = 17;
/// Besides controls: what AWS advises to avoid in keys, without the letters of other languages
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html>).
const ESCAPED: &str = "!\\{}^%`[]\"<>~#|?*:";

pub fn readable(name: &str, blob: BlobId) -> Location {
    let mut safe = String::with_capacity(name.len() + SUFFIX_BYTES);
    for (nth, segment) in name.split('/').enumerate() {
        if nth > 0 {
            safe.push('/');
        }
        push_segment(&mut safe, segment);
    }
    let depth = safe.match_indices('/').nth(DEPTH_MAX).map_or(safe.len(), |(at, _)| at);
    if depth < safe.len() || safe.len() > MAX_LOCATION_BYTES - SUFFIX_BYTES {
        safe = cut(&safe, depth.min(MAX_LOCATION_BYTES - SUFFIX_BYTES - CUT_BYTES));
    }
    Location::new(format!("{safe}.{blob}"))
}

/// For owners who want no names at the provider. Spread by the id's fast end, as some providers
/// divide their load by the beginning of keys.
pub fn opaque(blob: BlobId) -> Location {
    Location::new(format!("{:02x}/{blob}", blob.0 % 256))
}

fn push_segment(safe: &mut String, segment: &str) {
    let escaped = match segment {
        // Servers that keep paths would clean these away.
        "" => "!2F".to_owned(),
        "." => "!2E".to_owned(),
        ".." => "!2E!2E".to_owned(),
        _ => segment.chars().map(escape).collect(),
    };
    match escaped.len() > SEGMENT_MAX_BYTES {
        true => safe.push_str(&cut(&escaped, SEGMENT_MAX_BYTES - CUT_BYTES)),
        false => safe.push_str(&escaped),
    }
}

fn escape(c: char) -> String {
    if !c.is_control() && !ESCAPED.contains(c) && !matches!(c, '\u{fffe}' | '\u{ffff}') {
        return c.to_string();
    }
    let mut buffer = [0; 4];
    c.encode_utf8(&mut buffer).bytes().map(|byte| format!("!{byte:02X}")).collect()
}

/// At most `kept` bytes of the beginning, and a hash of the whole.
fn cut(name: &str, kept: usize) -> String {
    let kept = name.floor_char_boundary(kept);
    let hash = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, name.as_bytes());
    // A slash at the cut would make an empty segment.
    let kept = name.get(..kept).unwrap_or_default().trim_end_matches('/');
    format!("{kept}{CUT}{hash:0width$x}", width = HASH_CHARS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(readable_name: &str) -> String {
        readable(readable_name, BlobId(0xab)).as_str().to_owned()
    }

    #[test]
    fn names_can_be_read() {
        assert_eq!(name("photos/2026/Übung 1+2.jpg"), "photos/2026/Übung 1+2.jpg.00000000000000ab");
        assert_eq!(opaque(BlobId(0x1ab)).as_str(), "ab/00000000000001ab");
    }

    #[test]
    fn no_server_can_trip_over_a_name() {
        assert_eq!(name("b//x"), "b/!2F/x.00000000000000ab");
        assert_eq!(name("b/../."), "b/!2E!2E/!2E.00000000000000ab");
        assert_eq!(name("b/a\u{1}%\\"), "b/a!01!25!5C.00000000000000ab");
        assert_eq!(name("b/x/"), "b/x/!2F.00000000000000ab");
    }

    #[test]
    fn the_longest_keys_fit() {
        let bucket = "b".repeat(63);
        for key in
            ["k".repeat(1024), "ü".repeat(512), "k/".repeat(512), "\u{1}".repeat(1024), "/".repeat(1024)]
        {
            let name = name(&format!("{bucket}/{key}"));
            assert!(name.len() <= MAX_LOCATION_BYTES, "{} {name}", name.len());
            assert!(name.split('/').all(|segment| segment.len() <= 255 && !segment.is_empty()), "{name}");
            assert!(name.matches('/').count() <= DEPTH_MAX, "{name}");
            assert!(name.ends_with(".00000000000000ab"));
        }
    }
}
