//! What one connection may cost. Every number has a unit and a reason.

use crate::Options;
use std::time::Duration;
use types::Timestamp;

/// As many header lines as hyper parses without allocating. No S3 client sends half of it.
pub const MAX_HEADERS: usize = 100;
/// A request target; `http::Uri` holds 64 KiB at most, the longest key encodes to 3 KiB.
pub const MAX_TARGET_BYTES: usize = 32 << 10;
/// All chunk extensions of a body together: no S3 client sends any, hyper gives up at 16 KiB.
pub const MAX_CHUNK_EXTENSION_BYTES: usize = 8 << 10;
/// The trailer section of a chunked body: hyper gives up at 16 KiB.
pub const MAX_TRAILER_BYTES: usize = 8 << 10;
/// How much of an unread body is taken in so that the client can read an early answer and the
/// connection lives on. Most SDK parts that fail early are small or came with `Expect`.
pub const MAX_DRAIN_BYTES: u64 = 1 << 20;
pub const MAX_DRAIN_TIME: Duration = Duration::from_secs(1);
/// After our side is closed: closing with unread bytes makes the kernel send a reset, which can
/// destroy the answer on its way (RFC 9112, section 9.6).
pub const MAX_LINGER_BYTES: u64 = 4 << 20;
pub const MAX_LINGER_TIME: Duration = Duration::from_secs(2);
/// Connections above the limit that are being told so, rather than dropped.
pub const MAX_TURNED_AWAY: usize = 256;
/// hyper's own buffers must hold what the guard lets pass.
const MAX_HEAD_BYTES: usize = 256 << 10;

/// The part of [`Options`] that a connection needs: small, so that each has its own copy.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub max_head_bytes: usize,
    pub head_timeout: Duration,
    pub idle_timeout: Duration,
    pub body_timeout: Duration,
    pub min_body_bytes_per_second: u64,
    pub clock: fn() -> Timestamp,
}

impl Limits {
    /// How often a connection's timeouts are looked at: they are exceeded by a quarter at most.
    pub fn tick(&self) -> Duration {
        let shortest = self.head_timeout.min(self.idle_timeout).min(self.body_timeout);
        (shortest / 4).clamp(Duration::from_millis(10), Duration::from_secs(5))
    }
}

impl From<&Options> for Limits {
    fn from(options: &Options) -> Self {
        Self {
            max_head_bytes: options.max_head_bytes.min(MAX_HEAD_BYTES),
            head_timeout: options.head_timeout,
            idle_timeout: options.idle_timeout,
            body_timeout: options.body_timeout,
            min_body_bytes_per_second: options.min_body_bytes_per_second,
            clock: options.clock,
        }
    }
}
