//! The table `ledger`: exact bytes and objects per bucket and per backend, and what is reserved.
//!
//! Durable counters change in the batch of the commit that causes them. Reservations live in
//! memory only: after a crash the intents say what they were for.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use types::BucketId;

use crate::codec::{DecodeError, Decoded, Reader, Writer};
use crate::replica::BackendId;

const FORMAT: u8 = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Account {
    Bucket(BucketId),
    Backend(BackendId),
}

impl Account {
    pub fn key(self) -> Vec<u8> {
        let (kind, id) = match self {
            Self::Bucket(id) => (b'b', id.0),
            Self::Backend(id) => (b'd', u32::from(id.0)),
        };
        let mut key = vec![kind];
        key.extend_from_slice(&id.to_be_bytes());
        key
    }

    pub fn from_key(key: &[u8]) -> Decoded<Self> {
        let bad = DecodeError("bad ledger key");
        let (kind, id) = key.split_first().ok_or(bad)?;
        let id = u32::from_be_bytes(id.try_into().map_err(|_| bad)?);
        match kind {
            b'b' => Ok(Self::Bucket(BucketId(id))),
            b'd' => u16::try_from(id).map(|id| Self::Backend(BackendId(id))).map_err(|_| bad),
            _ => Err(bad),
        }
    }
}

/// For a bucket: bytes of its objects and of parts in uploads, number of objects. For a backend:
/// bytes and number of referenced blobs, and bytes that wait for cleanup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    pub bytes: u64,
    pub objects: u64,
    pub awaiting_bytes: u64,
}

impl Counters {
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new(FORMAT);
        w.varint(self.bytes);
        w.varint(self.objects);
        w.varint(self.awaiting_bytes);
        w.finish()
    }

    pub fn decode(value: &[u8]) -> Decoded<Self> {
        let mut r = Reader::new(value, FORMAT)?;
        let counters = Self { bytes: r.varint()?, objects: r.varint()?, awaiting_bytes: r.varint()? };
        r.end()?;
        Ok(counters)
    }

    pub fn apply(&mut self, delta: Delta) {
        let add = |value: &mut u64, change: i64| {
            *value = value.checked_add_signed(change).expect("a ledger never goes below nothing");
        };
        add(&mut self.bytes, delta.bytes);
        add(&mut self.objects, delta.objects);
        add(&mut self.awaiting_bytes, delta.awaiting_bytes);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Delta {
    bytes: i64,
    objects: i64,
    awaiting_bytes: i64,
}

impl Delta {
    pub fn object(size: u64) -> Self {
        Self { bytes: signed(size), objects: 1, awaiting_bytes: 0 }
    }

    pub fn bytes(size: u64) -> Self {
        Self { bytes: signed(size), objects: 0, awaiting_bytes: 0 }
    }

    pub fn to_cleanup(size: u64) -> Self {
        Self { bytes: -signed(size), objects: -1, awaiting_bytes: signed(size) }
    }

    pub fn back_from_cleanup(size: u64) -> Self {
        Self::to_cleanup(size).negated()
    }

    pub fn gone(size: u64) -> Self {
        Self::stray(size).negated()
    }

    pub fn stray(size: u64) -> Self {
        Self { bytes: 0, objects: 0, awaiting_bytes: signed(size) }
    }

    #[must_use]
    pub fn negated(self) -> Self {
        Self { bytes: -self.bytes, objects: -self.objects, awaiting_bytes: -self.awaiting_bytes }
    }
}

fn signed(size: u64) -> i64 {
    i64::try_from(size).expect("sizes are below 8 EiB")
}

#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    counters: Counters,
    reserved: u64,
    quota: Option<u64>,
}

impl Entry {
    fn occupied(&self) -> u64 {
        self.counters.bytes.saturating_add(self.counters.awaiting_bytes).saturating_add(self.reserved)
    }
}

/// All accounts, shared by the committer and by whoever reserves.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<HashMap<Account, Entry>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaExceeded(pub Account);

impl Ledger {
    pub(crate) fn load(&self, account: Account, counters: Counters) {
        self.0.lock().entry(account).or_default().counters = counters;
    }

    pub fn set_quota(&self, account: Account, quota: Option<u64>) {
        self.0.lock().entry(account).or_default().quota = quota;
    }

    /// What counts against the quota: bytes there, bytes that wait for cleanup, bytes reserved.
    pub fn occupied(&self, account: Account) -> u64 {
        self.0.lock().get(&account).map_or(0, Entry::occupied)
    }

    pub fn counters(&self, account: Account) -> Counters {
        self.0.lock().get(&account).map(|entry| entry.counters).unwrap_or_default()
    }

    pub fn reserved(&self, account: Account) -> u64 {
        self.0.lock().get(&account).map_or(0, |entry| entry.reserved)
    }

    /// What an account's quota leaves; `None` without one.
    pub fn left(&self, account: Account) -> Option<u64> {
        let accounts = self.0.lock();
        let entry = accounts.get(&account)?;
        entry.quota.map(|quota| quota.saturating_sub(entry.occupied()))
    }

    pub fn quota(&self, account: Account) -> Option<u64> {
        self.0.lock().get(&account).and_then(|entry| entry.quota)
    }

    pub(crate) fn apply(&self, account: Account, delta: Delta) -> Counters {
        let mut accounts = self.0.lock();
        let entry = accounts.entry(account).or_default();
        entry.counters.apply(delta);
        entry.counters
    }

    /// Whether what is there, and what others reserved, fits beside this reservation's own bytes.
    pub(crate) fn fits(&self, account: Account, own_reservation: u64) -> bool {
        let accounts = self.0.lock();
        let Some(entry) = accounts.get(&account) else { return true };
        entry.quota.is_none_or(|quota| entry.occupied() - own_reservation <= quota)
    }

    /// Room for bytes that may be there already, whatever the quota says.
    pub fn hold(self: &Arc<Self>, account: Account, bytes: u64) -> Reservation {
        self.0.lock().entry(account).or_default().reserved += bytes;
        Reservation { ledger: Arc::clone(self), held: vec![(account, bytes)] }
    }

    /// Takes room before the bytes are sent.
    pub fn reserve(self: &Arc<Self>, wanted: &[(Account, u64)]) -> Result<Reservation, QuotaExceeded> {
        let mut reservation =
            Reservation { ledger: Arc::clone(self), held: Vec::with_capacity(wanted.len()) };
        for (account, bytes) in wanted {
            reservation.grow(*account, *bytes)?;
        }
        Ok(reservation)
    }
}

/// Room that a write holds until it is committed or given up.
#[derive(Debug)]
pub struct Reservation {
    ledger: Arc<Ledger>,
    held: Vec<(Account, u64)>,
}

impl Reservation {
    /// Takes all of it or nothing.
    pub fn grow_all(&mut self, wanted: &[(Account, u64)]) -> Result<(), QuotaExceeded> {
        let before = self.held.len();
        wanted.iter().try_for_each(|(account, bytes)| self.grow(*account, *bytes)).inspect_err(|_| {
            let mut accounts = self.ledger.0.lock();
            for (account, bytes) in self.held.drain(before..) {
                accounts.entry(account).or_default().reserved -= bytes;
            }
        })
    }

    pub fn grow(&mut self, account: Account, bytes: u64) -> Result<(), QuotaExceeded> {
        let mut accounts = self.ledger.0.lock();
        let entry = accounts.entry(account).or_default();
        if bytes > 0 && entry.quota.is_some_and(|quota| entry.occupied().saturating_add(bytes) > quota) {
            return Err(QuotaExceeded(account));
        }
        entry.reserved += bytes;
        self.held.push((account, bytes));
        Ok(())
    }

    /// Gives one account's room back before the rest.
    pub fn release(&mut self, account: Account) {
        let mut accounts = self.ledger.0.lock();
        let entry = accounts.entry(account).or_default();
        self.held.retain(|(held, bytes)| {
            if *held == account {
                entry.reserved -= bytes;
            }
            *held != account
        });
    }

    /// Moves one account's room to a reservation of its own.
    pub fn split(&mut self, account: Account) -> Self {
        let (moved, kept) = self.held.drain(..).partition(|(held, _)| *held == account);
        self.held = kept;
        Self { ledger: Arc::clone(&self.ledger), held: moved }
    }

    pub(crate) fn held(&self, account: Account) -> u64 {
        self.held.iter().filter(|(held, _)| *held == account).map(|(_, bytes)| bytes).sum()
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut accounts = self.ledger.0.lock();
        for (account, bytes) in self.held.drain(..) {
            accounts.entry(account).or_default().reserved -= bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const BUCKET: Account = Account::Bucket(BucketId(1));

    #[test]
    fn reservations_count_against_the_quota_until_dropped() {
        let ledger = Arc::new(Ledger::default());
        ledger.set_quota(BUCKET, Some(100));
        let first = ledger.reserve(&[(BUCKET, 60)]).unwrap();
        assert!(ledger.reserve(&[(BUCKET, 41)]).is_err());
        assert!(ledger.reserve(&[(BUCKET, 40)]).is_ok());
        ledger.apply(BUCKET, Delta::object(60));
        assert!(ledger.fits(BUCKET, first.held(BUCKET)));
        drop(first);
        assert_eq!(ledger.reserved(BUCKET), 0);
        assert!(ledger.reserve(&[(BUCKET, 41)]).is_err());
        let mut all_or_nothing = ledger.reserve(&[]).unwrap();
        assert!(all_or_nothing.grow_all(&[(BUCKET, 30), (BUCKET, 30)]).is_err());
        assert_eq!(ledger.reserved(BUCKET), 0);
        assert_eq!(ledger.counters(BUCKET), Counters { bytes: 60, objects: 1, awaiting_bytes: 0 });
    }

    #[test]
    fn accounts_read_back() {
        for account in [BUCKET, Account::Backend(BackendId(7))] {
            assert_eq!(Account::from_key(&account.key()), Ok(account));
        }
        assert!(Account::from_key(b"x1234").is_err());
    }
}
