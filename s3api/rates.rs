//! How much one client may ask for: requests and bytes a second, and connections at a time.
//!
//! A client has a purse that fills steadily up to its burst. A request takes a coin and is refused
//! where there is none. Bytes are paid when they have flowed, so that a purse can be in debt, and
//! nothing is taken from a client in debt until it is paid.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hash};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::S3Error;
use crate::proxies::household;

/// What a client may do. `None`: as much as it likes.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rate {
    pub requests: Option<Refill>,
    pub bytes: Option<Refill>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Refill {
    pub per_second: f64,
    /// What a purse holds at most: what comes at once after a pause.
    pub burst: f64,
}

/// Of every address, and of every credential that has none of its own.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct RateLimits {
    pub address: Rate,
    pub credential: Rate,
    pub connections_per_address: Option<usize>,
}

const SHARDS: usize = 16;
/// In memory: about 100 bytes each.
const MAX_PURSES_A_SHARD: usize = 4096;
/// A client that is told to wait for longer would rather believe that it is broken.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The purses of all clients of a kind.
pub(crate) struct Purses<K> {
    shards: Vec<Mutex<HashMap<K, Purse>>>,
    hasher: RandomState,
}

#[derive(Debug, Clone, Copy)]
struct Purse {
    requests: f64,
    bytes: f64,
    at: Instant,
}

impl Purse {
    fn full(rate: &Rate, now: Instant) -> Self {
        let burst = |refill: Option<Refill>| refill.map_or(0.0, |refill| refill.burst);
        Self { requests: burst(rate.requests), bytes: burst(rate.bytes), at: now }
    }

    fn refill(&mut self, rate: &Rate, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        let fill = |coins: &mut f64, refill: Option<Refill>| {
            if let Some(Refill { per_second, burst }) = refill {
                *coins = (*coins + passed * per_second).min(burst);
            }
        };
        fill(&mut self.requests, rate.requests);
        fill(&mut self.bytes, rate.bytes);
        self.at = now;
    }

    fn is_full(&self, rate: &Rate) -> bool {
        let full = |coins: f64, refill: Option<Refill>| refill.is_none_or(|refill| coins >= refill.burst);
        full(self.requests, rate.requests) && full(self.bytes, rate.bytes)
    }

    /// Takes a coin, or says how long it takes to have one.
    fn take(&mut self, rate: &Rate) -> Result<(), Duration> {
        let missing = |coins: f64, wanted: f64, refill: Option<Refill>| {
            refill.map_or(0.0, |refill| (wanted - coins).max(0.0) / refill.per_second)
        };
        let wait = missing(self.requests, 1.0, rate.requests).max(missing(self.bytes, 0.0, rate.bytes));
        if wait > 0.0 {
            return Err(Duration::try_from_secs_f64(wait).unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT));
        }
        if rate.requests.is_some() {
            self.requests -= 1.0;
        }
        Ok(())
    }
}

impl<K: Eq + Hash> Default for Purses<K> {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), hasher: RandomState::new() }
    }
}

impl<K: Eq + Hash + Clone> Purses<K> {
    /// Refuses a request of a client whose purse is empty.
    pub(crate) fn take(&self, client: &K, rate: &Rate, now: Instant) -> Result<(), S3Error> {
        if rate.requests.is_none() && rate.bytes.is_none() {
            return Ok(());
        }
        self.with(client, rate, now, |purse| purse.take(rate)).map_err(slow_down)
    }

    /// Pays for what has flowed.
    pub(crate) fn pay(&self, client: &K, rate: &Rate, bytes: u64, now: Instant) {
        if rate.bytes.is_some() && bytes > 0 {
            self.with(client, rate, now, |purse| purse.bytes -= bytes as f64);
        }
    }

    fn with<T>(&self, client: &K, rate: &Rate, now: Instant, act: impl FnOnce(&mut Purse) -> T) -> T {
        let shard = self.hasher.hash_one(client) as usize % SHARDS;
        let mut purses = self.shards[shard].lock();
        if let Some(purse) = purses.get_mut(client) {
            purse.refill(rate, now);
            return act(purse);
        }
        make_room(&mut purses, rate, now);
        act(purses.entry(client.clone()).or_insert(Purse::full(rate, now)))
    }
}

/// A full purse says nothing that a new one does not. Where all are in use, one client's is
/// forgotten: memory is bounded, and it gains one burst.
fn make_room<K: Eq + Hash + Clone>(purses: &mut HashMap<K, Purse>, rate: &Rate, now: Instant) {
    if purses.len() < MAX_PURSES_A_SHARD {
        return;
    }
    purses.retain(|_, purse| {
        purse.refill(rate, now);
        !purse.is_full(rate)
    });
    if purses.len() >= MAX_PURSES_A_SHARD
        && let Some(victim) = purses.keys().next().cloned()
    {
        purses.remove(&victim);
    }
}

fn slow_down(wait: Duration) -> S3Error {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    let mut error = S3Error::slow_down();
    error.headers = vec![("retry-after", seconds.max(1).to_string())];
    error
}

/// A credential's purse, for the bytes of a request that it made.
pub struct Toll {
    purses: Arc<Purses<String>>,
    access_key_id: String,
    rate: Rate,
}

impl Toll {
    /// Takes the coin of a request.
    pub(crate) fn take(
        purses: &Arc<Purses<String>>,
        access_key_id: &str,
        rate: Rate,
    ) -> Result<Self, S3Error> {
        let access_key_id = access_key_id.to_owned();
        purses.take(&access_key_id, &rate, Instant::now())?;
        Ok(Self { purses: Arc::clone(purses), access_key_id, rate })
    }

    pub(crate) fn pay(&self, bytes: u64) {
        self.purses.pay(&self.access_key_id, &self.rate, bytes, Instant::now());
    }
}

/// How many connections each address has.
#[derive(Clone, Default)]
pub(crate) struct Crowd(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// Dropping it leaves the crowd.
pub(crate) struct Member {
    crowd: Crowd,
    address: IpAddr,
}

impl Crowd {
    pub(crate) fn join(&self, address: IpAddr, limit: Option<usize>) -> Option<Member> {
        let address = household(address);
        let mut counts = self.0.lock();
        let count = counts.entry(address).or_default();
        if limit.is_some_and(|limit| *count >= limit) {
            return None;
        }
        *count += 1;
        drop(counts);
        Some(Member { crowd: self.clone(), address })
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut counts = self.crowd.0.lock();
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const RATE: Rate = Rate {
        requests: Some(Refill { per_second: 10.0, burst: 3.0 }),
        bytes: Some(Refill { per_second: 1000.0, burst: 1000.0 }),
    };

    fn after(begin: Instant, ms: u64) -> Instant {
        begin + Duration::from_millis(ms)
    }

    fn retry_after(error: &S3Error) -> &str {
        &error.headers.first().unwrap().1
    }

    #[test]
    fn a_burst_then_a_steady_rate() {
        let (purses, begin) = (Purses::default(), Instant::now());
        let granted = |ms| (0..10).filter(|_| purses.take(&"a", &RATE, after(begin, ms)).is_ok()).count();
        assert_eq!(granted(0), 3);
        assert_eq!(granted(100), 1);
        assert_eq!(granted(150), 0);
        assert_eq!(granted(350), 2);
        assert_eq!(granted(100_000), 3);
        assert!(purses.take(&"b", &RATE, after(begin, 100_000)).is_ok(), "another's purse");
    }

    #[test]
    fn bytes_are_paid_afterwards() {
        let (purses, begin) = (Purses::default(), Instant::now());
        assert!(purses.take(&"a", &RATE, begin).is_ok());
        purses.pay(&"a", &RATE, 6_500, begin);
        let refused = purses.take(&"a", &RATE, begin).unwrap_err();
        assert_eq!((refused.code, retry_after(&refused)), (crate::Code::SlowDown, "6"));
        assert!(purses.take(&"a", &RATE, after(begin, 5_400)).is_err());
        assert!(purses.take(&"a", &RATE, after(begin, 5_600)).is_ok());
    }

    #[test]
    fn without_limits_nothing_is_kept() {
        let purses = Purses::default();
        assert!((0..1000).all(|_| purses.take(&"a", &Rate::default(), Instant::now()).is_ok()));
        purses.pay(&"a", &Rate::default(), u64::MAX, Instant::now());
        assert!(purses.shards.iter().all(|shard| shard.lock().is_empty()));
    }

    #[test]
    fn memory_is_bounded_whoever_comes() {
        let (purses, begin) = (Purses::default(), Instant::now());
        for client in 0..(SHARDS * MAX_PURSES_A_SHARD * 2) {
            assert!(purses.take(&client, &RATE, begin).is_ok());
        }
        let kept: usize = purses.shards.iter().map(|shard| shard.lock().len()).sum();
        assert!(kept <= SHARDS * MAX_PURSES_A_SHARD, "{kept}");
    }

    #[test]
    fn a_crowd_is_limited_by_address() {
        let crowd = Crowd::default();
        let (a, b): (IpAddr, IpAddr) = ("1.2.3.4".parse().unwrap(), "1.2.3.5".parse().unwrap());
        let first = crowd.join(a, Some(2));
        let second = crowd.join(a, Some(2));
        assert!(first.is_some() && second.is_some() && crowd.join(a, Some(2)).is_none());
        assert!(crowd.join(b, Some(2)).is_some() && crowd.join(a, None).is_some());
        drop(first);
        assert!(crowd.join(a, Some(2)).is_some());
        drop(second);
        assert!(crowd.0.lock().is_empty());
    }
}
