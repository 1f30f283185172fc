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
