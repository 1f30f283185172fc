//! Points in time, as the records keep them.

/// Milliseconds since 1970-01-01 UTC: the resolution that S3 shows in listings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub u64);

impl Timestamp {
    pub fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// Whole seconds, rounded down: the resolution of HTTP dates and of the conditions on them.
    pub fn secs(self) -> u64 {
        self.0 / 1000
    }

    pub fn millis(self) -> u64 {
        self.0
    }

    pub fn saturating_add_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    pub fn saturating_sub_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_sub(ms))
    }
}
