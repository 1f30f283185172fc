//! A circuit breaker: a backend that fails again and again is left alone for a while, then tried once.
//!
//! Only the backend's own failures count: a client that leaves, a replica that is not there, a full disk
//! say nothing against it.

use parking_lot::Mutex;
use std::time::{Duration, Instant};

/// Failures in a row that open it: one may be chance.
const FAILURES: u32 = 3;
/// How long it stays open before one call is let through.
const OPEN: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Circuit {
    Closed,
    Open,
    /// One call is under way that decides.
    HalfOpen,
}

#[derive(Debug)]
enum State {
    Closed { failures: u32 },
    Open { since: Instant, retry_at: Instant },
    HalfOpen { since: Instant, begun: Instant },
}

#[derive(Debug)]
pub struct Breaker(Mutex<State>);

impl Default for Breaker {
    fn default() -> Self {
        Self(Mutex::new(State::Closed { failures: 0 }))
    }
}

impl Breaker {
    pub fn circuit(&self) -> Circuit {
        match &*self.0.lock() {
            State::Closed { .. } => Circuit::Closed,
            State::Open { .. } => Circuit::Open,
            State::HalfOpen { .. } => Circuit::HalfOpen,
        }
    }

    /// Since when it has not been closed.
    pub fn down_since(&self) -> Option<Instant> {
        match &*self.0.lock() {
            State::Closed { .. } => None,
            State::Open { since, .. } | State::HalfOpen { since, .. } => Some(*since),
        }
    }

    pub fn is_closed(&self) -> bool {
        self.circuit() == Circuit::Closed
    }

    /// Whether a call may be made now. After an open time one caller is told yes and is the probe.
    pub fn admits(&self, now: Instant) -> bool {
        let mut state = self.0.lock();
        match *state {
            State::Closed { .. } => true,
            State::Open { since, retry_at } if now >= retry_at => {
                *state = State::HalfOpen { since, begun: now };
                true
            }
            State::Open { .. } => false,
            // A probe that never reported (its caller was dropped) must not close the way for ever.
            State::HalfOpen { since, begun } if now >= begun + OPEN => {
                *state = State::HalfOpen { since, begun: now };
                true
            }
            State::HalfOpen { .. } => false,
        }
    }

    /// Whether it was closed by this.
    pub fn succeeded(&self) -> bool {
        let mut state = self.0.lock();
        let closed = !matches!(*state, State::Closed { .. });
        *state = State::Closed { failures: 0 };
        closed
    }

    /// Whether it was opened by this.
    pub fn failed(&self, now: Instant) -> bool {
        let mut state = self.0.lock();
        match &mut *state {
            State::Closed { failures } => {
                *failures += 1;
                if *failures < FAILURES {
                    return false;
                }
                *state = State::Open { since: now, retry_at: now + OPEN };
                true
            }
            State::Open { .. } => false,
            State::HalfOpen { since, .. } => {
                *state = State::Open { since: *since, retry_at: now + OPEN };
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_after_failures_in_a_row_and_closes_after_one_probe() {
        let (breaker, start) = (Breaker::default(), Instant::now());
        assert!(!breaker.failed(start) && !breaker.failed(start));
        assert!(!breaker.succeeded(), "a success in between begins anew");
        assert!(!breaker.failed(start) && !breaker.failed(start) && breaker.failed(start));
        assert!(!breaker.admits(start + OPEN / 2));
        assert!(breaker.admits(start + OPEN), "one probe");
        assert!(!breaker.admits(start + OPEN), "and no second");
        assert_eq!(breaker.circuit(), Circuit::HalfOpen);
        assert!(!breaker.failed(start + OPEN));
        assert!(!breaker.admits(start + OPEN));
        assert!(breaker.admits(start + 2 * OPEN));
        assert_eq!(breaker.down_since(), Some(start));
        assert!(breaker.succeeded());
        assert!(breaker.is_closed() && breaker.admits(start));
    }

    #[test]
    fn a_probe_that_never_reports_is_followed_by_another() {
        let (breaker, start) = (Breaker::default(), Instant::now());
        (0..FAILURES).for_each(|_| {
            breaker.failed(start);
        });
        assert!(breaker.admits(start + OPEN));
        assert!(breaker.admits(start + 2 * OPEN));
    }
}
