//! Continuation tokens of listings: opaque, URL-safe, and good for one bucket.
//!
//! A token carries where the next page begins. It grants nothing, so the check only has to notice
//! tokens that were changed or that belong to another bucket; it outlives a restart of the node.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use store::ListStart;
use types::MAX_KEY_BYTES;

const AFTER: u8 = 1;
const AFTER_GROUP: u8 = 2;
const CHECK_LEN: usize = 12;

/// `None` for the beginning, which needs no token.
pub fn encode(bucket: &str, start: &ListStart) -> Option<String> {
    let (kind, text) = match start {
        ListStart::Beginning => return None,
        ListStart::After(text) => (AFTER, text),
        ListStart::AfterGroup(text) => (AFTER_GROUP, text),
    };
    let mut token = Vec::with_capacity(1 + CHECK_LEN + text.len());
    token.push(kind);
    token.extend_from_slice(&check(bucket, kind, text));
    token.extend_from_slice(text.as_bytes());
    Some(URL_SAFE_NO_PAD.encode(token))
}

/// `None` for everything that [`encode`] cannot have made for this bucket.
pub fn decode(bucket: &str, token: &str) -> Option<ListStart> {
    if token.len() > (1 + CHECK_LEN + 4 * MAX_KEY_BYTES) * 2 {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let (&kind, rest) = bytes.split_first()?;
    let (sum, text) = rest.split_at_checked(CHECK_LEN)?;
    let text = std::str::from_utf8(text).ok()?;
    if check(bucket, kind, text) != sum {
        return None;
    }
    match kind {
        AFTER => Some(ListStart::After(text.to_owned())),
        AFTER_GROUP => Some(ListStart::AfterGroup(text.to_owned())),
        _ => None,
    }
}

/// Lengths are mixed in so that no two inputs look alike.
fn check(bucket: &str, kind: u8, text: &str) -> [u8; CHECK_LEN] {
    let mut hash = Sha256::new();
    hash.update(b"s3-orchestrator list token 1\0");
    hash.update((bucket.len() as u64).to_le_bytes());
    hash.update(bucket);
    hash.update([kind]);
    hash.update(text);
    let mut sum = [0; CHECK_LEN];
    sum.iter_mut().zip(hash.finalize()).for_each(|(to, from)| *to = from);
    sum
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn round_trip_in_their_bucket_only() {
        for start in
            [ListStart::After("a/\u{e9}\u{1} b".to_owned()), ListStart::AfterGroup("dir/".to_owned())]
        {
            let token = encode("bucket", &start).unwrap();
            assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)), "{token}");
            assert_eq!(decode("bucket", &token), Some(start));
            assert_eq!(decode("other", &token), None);
        }
        assert_eq!(encode("bucket", &ListStart::Beginning), None);
    }

    #[test]
    fn any_change_is_noticed() {
        let token = encode("bucket", &ListStart::After("some/key".to_owned())).unwrap();
        for at in 0..token.len() {
            for replacement in ["A", "B", "~", ""] {
                let mut changed = token.clone();
                changed.replace_range(at..=at, replacement);
                if changed != token {
                    assert_eq!(decode("bucket", &changed), None, "{changed}");
                }
            }
        }
        for junk in ["", "A", "AQ", "1", "%", &"A".repeat(100_000)] {
            assert_eq!(decode("bucket", junk), None, "{junk:.20}");
        }
    }
}
