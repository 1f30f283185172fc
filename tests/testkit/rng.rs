//! Seeded chance: a failing run prints the seed that replays it.

use std::time::{SystemTime, UNIX_EPOCH};

/// The environment variable that replays a run.
pub const SEED_VARIABLE: &str = "TESTKIT_SEED";

/// The seed of a test; dropped while the test panics, it says how to run the same again.
#[derive(Debug)]
pub struct Seed(u64);

impl Seed {
    /// From the environment, or fresh.
    pub fn new() -> Self {
        let given = std::env::var(SEED_VARIABLE).ok();
        Self(given.and_then(|text| text.trim().parse().ok()).unwrap_or_else(fresh))
    }

    pub fn value(&self) -> u64 {
        self.0
    }

    pub fn rng(&self) -> Rng {
        Rng::new(self.0)
    }
}

impl Default for Seed {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("replay with {SEED_VARIABLE}={}", self.0);
        }
    }
}

fn fresh() -> u64 {
    let mut bytes = [0; 8];
    if getrandom::fill(&mut bytes).is_ok() {
        return u64::from_le_bytes(bytes);
    }
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_nanos() as u64)
}

/// SplitMix64: small, fast, and the same on every machine.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// A generator of its own for one client, so that its choices do not hang on the others' speed.
    pub fn fork(&mut self) -> Rng {
        Rng(self.next())
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The bias of the remainder is far below what a test could see.
        self.next() % bound.max(1)
    }

    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        let index = self.below(items.len() as u64) as usize;
        items.get(index).expect("the list to pick from is not empty")
    }

    /// Log-uniform up to `max`: small sizes are as frequent per decade as large ones.
    pub fn size(&mut self, max: u64) -> u64 {
        let bits = 64 - max.max(1).leading_zeros() as u64;
        let top = 1u64 << self.between(0, bits);
        self.below(top).min(max)
    }
}

/// Bytes that a seed always gives.
pub fn body(seed: u64, len: usize) -> Vec<u8> {
    let mut rng = Rng::new(seed);
    (0..len).map(|_| rng.next() as u8).collect()
}

/// SplitMix64's finaliser; also good for making one number of several.
pub fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_reference_sequence() {
        // First outputs for seed 0 of the reference SplitMix64 (https://prng.di.unimi.it/splitmix64.c).
        let mut rng = Rng::new(0);
        assert_eq!(rng.next(), 0xE220_A839_7B1D_CDAF);
        assert_eq!(rng.next(), 0x6E78_9E6A_A1B9_65F4);
        assert_eq!(rng.next(), 0x06C4_5D18_8009_454F);
    }

    #[test]
    fn bounds_hold_and_are_reached() {
        let mut rng = Rng::new(7);
        let drawn: Vec<u64> = (0..2000).map(|_| rng.between(3, 6)).collect();
        assert_eq!((drawn.iter().min(), drawn.iter().max()), (Some(&3), Some(&6)));
        assert!((0..2000).all(|_| rng.size(1000) <= 1000));
        assert!((0..2000).any(|_| rng.size(1000) > 500));
        assert!((0..2000).any(|_| rng.size(1000) == 0));
    }

    #[test]
    fn forks_differ() {
        let mut rng = Rng::new(1);
        assert_ne!(rng.fork().next(), rng.fork().next());
    }
}
