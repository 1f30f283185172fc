//! What each backend was asked for in a month: calls, bytes in, bytes out.
//!
//! Counted in memory, with a ceiling on disk that is always above: a crash may count a little too
//! much, never too little.

use parking_lot::Mutex;
use std::collections::HashMap;

use crate::codec::{DecodeError, Decoded, Reader, Writer};
use crate::engine::Table;
use crate::replica::BackendId;

const FORMAT: u8 = 1;
/// How far the ceiling on disk is raised above what was counted: what a crash adds at most.
const CALLS_STEP: u64 = 512;
const BYTES_STEP: u64 = 256 << 20;

/// Year times 100 plus month, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month(pub u32);

impl Month {
    /// Days to civil dates by Howard Hinnant's algorithm
    /// (<https://howardhinnant.github.io/date_algorithms.html#civil_from_days>).
    pub fn of(at: types::Timestamp) -> Self {
        let days = at.secs() / 86_400 + 719_468;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        let year = era * 400 + year_of_era + u64::from(month <= 2);
        Self(u32::try_from(year * 100 + month).unwrap_or(u32::MAX))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    pub calls: u64,
    pub ingress_bytes: u64,
    pub egress_bytes: u64,
}

impl Traffic {
    fn plus(self, more: Self) -> Self {
        Self {
            calls: self.calls.saturating_add(more.calls),
            ingress_bytes: self.ingress_bytes.saturating_add(more.ingress_bytes),
            egress_bytes: self.egress_bytes.saturating_add(more.egress_bytes),
        }
    }

    fn any_above(self, other: Self) -> bool {
        self.calls > other.calls
            || self.ingress_bytes > other.ingress_bytes
            || self.egress_bytes > other.egress_bytes
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new(FORMAT);
        w.varint(self.calls);
        w.varint(self.ingress_bytes);
        w.varint(self.egress_bytes);
        w.finish()
    }

    pub fn decode(value: &[u8]) -> Decoded<Self> {
        let mut r = Reader::new(value, FORMAT)?;
        let traffic = Self { calls: r.varint()?, ingress_bytes: r.varint()?, egress_bytes: r.varint()? };
        r.end()?;
        Ok(traffic)
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Counter {
    counted: Traffic,
    ceiling: Traffic,
    raising: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Meter(Mutex<HashMap<(BackendId, Month), Counter>>);

impl Meter {
    pub fn load(&self, backend: BackendId, month: Month, traffic: Traffic) {
        let counter = Counter { counted: traffic, ceiling: traffic, raising: false };
        self.0.lock().insert((backend, month), counter);
    }

    pub fn read(&self, backend: BackendId, month: Month) -> Traffic {
        self.0.lock().get(&(backend, month)).map(|counter| counter.counted).unwrap_or_default()
    }

    /// What the ceiling must become, if it is time to raise it: see [`Meter::raised`].
    pub fn count(&self, backend: BackendId, month: Month, more: Traffic) -> Option<Traffic> {
        let mut counters = self.0.lock();
        let counter = counters.entry((backend, month)).or_default();
        counter.counted = counter.counted.plus(more);
        let half =
            Traffic { calls: CALLS_STEP / 2, ingress_bytes: BYTES_STEP / 2, egress_bytes: BYTES_STEP / 2 };
        if counter.raising || !counter.counted.plus(half).any_above(counter.ceiling) {
            return None;
        }
        counter.raising = true;
        let step = Traffic { calls: CALLS_STEP, ingress_bytes: BYTES_STEP, egress_bytes: BYTES_STEP };
        Some(counter.counted.plus(step))
    }

    pub fn raised(&self, backend: BackendId, month: Month, ceiling: Option<Traffic>) {
        if let Some(counter) = self.0.lock().get_mut(&(backend, month)) {
            counter.raising = false;
            counter.ceiling = ceiling.unwrap_or(counter.ceiling);
        }
    }

    /// Exact values for a clean stop.
    pub fn records(&self) -> Vec<(Table, Vec<u8>, Option<Vec<u8>>)> {
        let counters = self.0.lock();
        let changed = counters.iter().filter(|(_, counter)| counter.counted != counter.ceiling);
        let record = |(backend, month): &(BackendId, Month), counter: &Counter| {
            (Table::Ledger, key(*backend, *month), Some(counter.counted.encode()))
        };
        changed.map(|(of, counter)| record(of, counter)).collect()
    }
}

pub fn key(backend: BackendId, month: Month) -> Vec<u8> {
    let mut key = vec![b'u'];
    key.extend_from_slice(&u32::from(backend.0).to_be_bytes());
    key.extend_from_slice(&month.0.to_be_bytes());
    key
}

/// `None`: the key of an account, not of a month.
pub fn split_key(key: &[u8]) -> Option<Decoded<(BackendId, Month)>> {
    let rest = key.strip_prefix(b"u")?;
    let parsed = rest.split_first_chunk::<4>().and_then(|(backend, month)| {
        let backend = u16::try_from(u32::from_be_bytes(*backend)).ok()?;
        Some((BackendId(backend), Month(u32::from_be_bytes(month.try_into().ok()?))))
    });
    Some(parsed.ok_or(DecodeError("bad key of a month's traffic")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use types::Timestamp;

    #[test]
    fn months_of_known_days() {
        for (secs, month) in
            [(0, 197_001), (951_782_399, 200_002), (951_868_800, 200_003), (1_767_225_599, 202_512)]
        {
            assert_eq!(Month::of(Timestamp::from_secs(secs)), Month(month), "{secs}");
        }
    }

    #[test]
    fn the_ceiling_is_raised_before_it_is_reached() {
        let (meter, backend, month) = (Meter::default(), BackendId(3), Month(202_601));
        let call = Traffic { calls: 1, ..Traffic::default() };
        let ceiling = meter.count(backend, month, call).unwrap();
        assert!(meter.count(backend, month, call).is_none(), "one raise at a time");
        meter.raised(backend, month, Some(ceiling));
        let mut counted = 2;
        while counted < 10_000 {
            counted += 1;
            if let Some(raised) = meter.count(backend, month, call) {
                meter.raised(backend, month, Some(raised));
                assert!(raised.calls > counted);
            }
        }
        assert_eq!(meter.read(backend, month).calls, 10_000);
        assert_eq!(split_key(&key(backend, month)), Some(Ok((backend, month))));
        assert_eq!(split_key(b"b1234"), None);
    }
}
