//! `[scrub]`: how often every copy is verified, and how fast.

use super::keys;
use super::reader::{Reader, Section};
use std::time::Duration;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scrub {
    /// Within which every copy is verified once.
    pub period: Duration,
    pub bytes_per_second: u64,
    /// Also copies at providers.
    pub providers: bool,
}

impl Default for Scrub {
    fn default() -> Self {
        Self {
            period: Duration::from_secs(30 * 24 * 3600),
            // 40 TB a month, and a small part of what a disk can do.
            bytes_per_second: 16 << 20,
            // Most providers ask money for every byte that is read.
            providers: false,
        }
    }
}

pub fn read<'a>(reader: &mut Reader<'a>, top: &Section<'a>) -> Scrub {
    let mut scrub = Scrub::default();
    let Some(section) = reader.table(top, "scrub", "[scrub]", keys::SCRUB) else {
        return scrub;
    };
    scrub.period = reader.duration(&section, "period").unwrap_or(scrub.period);
    scrub.bytes_per_second = reader.size(&section, "rate").unwrap_or(scrub.bytes_per_second);
    scrub.providers = reader.boolean(&section, "providers").unwrap_or(scrub.providers);
    scrub
}
