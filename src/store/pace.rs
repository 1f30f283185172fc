//! How fast copies may flow to and from a backend, and how often work that nobody waits for may call it, so
//! that clients have the rest.

use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What may come at once after a rest.
const BURST: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub struct Pace {
    /// Bytes or calls a second; 0 is as fast as it goes.
    rate: AtomicU64,
    /// When all that was let through will have been due.
    due: Mutex<Instant>,
    taken: AtomicU64,
}

impl Pace {
    pub fn new(rate: Option<u64>) -> Self {
        Self { rate: rate.unwrap_or(0).into(), due: Mutex::new(Instant::now()), taken: AtomicU64::new(0) }
    }

    pub fn set(&self, rate: Option<u64>) {
        self.rate.store(rate.unwrap_or(0), Ordering::Relaxed);
    }

    /// Waits until so much more may come.
    pub async fn take(&self, amount: u64) {
        self.taken.fetch_add(amount, Ordering::Relaxed);
        let wait = self.book(amount, Instant::now());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    /// All that was asked for since the start.
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// How much may come and wait no longer than `patience`.
    pub fn within(&self, patience: Duration) -> u64 {
        self.room(patience, Instant::now())
    }

    fn room(&self, patience: Duration, now: Instant) -> u64 {
        let rate = self.rate.load(Ordering::Relaxed);
        if rate == 0 {
            return u64::MAX;
        }
        let start = (*self.due.lock()).max(now.checked_sub(BURST).unwrap_or(now));
        let free = (now + patience).saturating_duration_since(start);
        (free.as_secs_f64() * rate as f64) as u64
    }

    fn book(&self, amount: u64, now: Instant) -> Duration {
        let rate = self.rate.load(Ordering::Relaxed);
        if rate == 0 {
            return Duration::ZERO;
        }
        let cost = Duration::from_secs_f64(amount as f64 / rate as f64);
        let mut due = self.due.lock();
        // What nobody used is not saved up for longer than a burst.
        let start = due.max(now.checked_sub(BURST).unwrap_or(now));
        *due = start + cost;
        due.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_in_a_time_is_what_waits_no_longer() {
        let pace = Pace::new(Some(100));
        let now = Instant::now() + Duration::from_secs(60);
        let second = Duration::from_secs(1);
        assert_eq!(pace.room(second, now), 125);
        assert_eq!(pace.book(125, now), second);
        assert_eq!((pace.room(second, now), pace.room(2 * second, now)), (0, 100));
        pace.set(None);
        assert_eq!(pace.room(second, now), u64::MAX);
    }

    #[test]
    fn bytes_take_their_time_and_a_rest_saves_up_little() {
        let pace = Pace::new(Some(1000));
        let now = Instant::now() + Duration::from_secs(60);
        assert_eq!(pace.book(250, now), Duration::ZERO);
        assert_eq!(pace.book(500, now), Duration::from_millis(500));
        assert_eq!(pace.book(500, now), Duration::from_millis(1000));
        assert_eq!(pace.book(1000, now + Duration::from_secs(1)), Duration::from_millis(1000));
        pace.set(None);
        assert_eq!(pace.book(u64::MAX, now), Duration::ZERO);
    }
}
