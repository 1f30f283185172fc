//! The name of one request, in its answer and in the logs.
//!
//! A client may choose it with `X-Request-Id`; otherwise it is 64 random bits.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use std::cell::RefCell;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

const MAX_CLIENT_ID_BYTES: usize = 128;
/// Ids per call to the kernel.
const POOL: usize = 64;

/// Printable ASCII, at most 128 characters. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// The client's id if it is fit to be printed, else a new one.
    pub fn choose(headers: &HeaderMap) -> Self {
        headers
            .get("x-request-id")
            .and_then(|value| Self::from_client(value.as_bytes()))
            .unwrap_or_else(Self::generate)
    }

    /// `None` unless printable, at most 128 characters, and not blank.
    pub fn from_client(text: &[u8]) -> Option<Self> {
        let printable = text.iter().all(|byte| matches!(byte, 0x20..=0x7e));
        if text.is_empty() || text.len() > MAX_CLIENT_ID_BYTES || !printable {
            return None;
        }
        HeaderValue::from_bytes(text).ok().map(Self)
    }

    pub fn generate() -> Self {
        const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
        let mut bits = random_bits();
        let mut text = [0u8; 16];
        for digit in &mut text {
            *digit = DIGITS[(bits & 15) as usize];
            bits >>= 4;
        }
        let value = HeaderValue::from_maybe_shared(Bytes::copy_from_slice(&text));
        Self(value.expect("hexadecimal digits are a header value"))
    }

    pub fn as_str(&self) -> &str {
        self.0.to_str().expect("checked to be printable when it was made")
    }

    pub fn header(&self) -> &HeaderValue {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

struct Pool {
    bits: [u64; POOL],
    left: usize,
}

fn random_bits() -> u64 {
    thread_local! {
        static BITS: RefCell<Pool> = const { RefCell::new(Pool { bits: [0; POOL], left: 0 }) };
    }
    BITS.with_borrow_mut(|pool| {
        if pool.left == 0 {
            refill(&mut pool.bits);
            pool.left = POOL;
        }
        pool.left -= 1;
        pool.bits[pool.left]
    })
}

/// One call to the kernel for all of them.
fn refill(bits: &mut [u64; POOL]) {
    static FALLBACK: AtomicU64 = AtomicU64::new(1);
    let mut bytes = [[0u8; 8]; POOL];
    let filled = getrandom::fill(bytes.as_flattened_mut());
    for (slot, bytes) in bits.iter_mut().zip(bytes) {
        // An id is a label, not a secret: without a random source a number in sequence will do.
        *slot =
            if filled.is_ok() { u64::from_le_bytes(bytes) } else { FALLBACK.fetch_add(1, Ordering::Relaxed) };
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn generated_ids_differ_and_have_sixteen_digits() {
        let ids: HashSet<String> = (0..1000).map(|_| RequestId::generate().to_string()).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().all(|id| id.len() == 16 && id.bytes().all(|b| b"0123456789ABCDEF".contains(&b))));
    }

    #[test]
    fn a_sane_client_id_is_kept() {
        let mut headers = HeaderMap::new();
        headers.insert("x-request-id", HeaderValue::from_static("my trace ~1"));
        assert_eq!(RequestId::choose(&headers).as_str(), "my trace ~1");
    }

    #[test]
    fn an_unfit_client_id_is_replaced() {
        for text in ["", "tab\there", "é", &"x".repeat(129)] {
            assert!(RequestId::from_client(text.as_bytes()).is_none(), "{text:?}");
        }
        assert!(RequestId::from_client("x".repeat(128).as_bytes()).is_some());
        assert!(RequestId::from_client(b"a\r\nb").is_none());
        assert!(RequestId::from_client(b"a\x7f").is_none());
    }
}
