//! One call to a provider: watched for progress, tried again within limits.

use super::fault::judge;
use crate::meter::Meter;
use crate::{BackendError, Fault, Result};
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use std::error::Error;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// A retry costs this many tokens; a call that succeeds gives one back. A provider that fails for
/// long is so asked hardly more often than there is work: retries do not multiply its load.
const RETRY_COST: i64 = 5;
const RETRY_TOKENS: i64 = 500;
const BACKOFF_BASE: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// Counts what moved, so that a transfer that is slow can be told from one that stands still.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<State>);

#[derive(Debug, Default)]
struct State {
    moved: AtomicU64,
    waiting: AtomicBool,
}

impl Progress {
    pub fn moved(&self) {
        self.0.moved.fetch_add(1, Ordering::Relaxed);
        self.0.waiting.store(false, Ordering::Relaxed);
    }

    /// Whoever writes has nothing for now: that is not the provider's fault.
    pub fn waiting(&self) {
        self.0.waiting.store(true, Ordering::Relaxed);
    }

    fn count(&self) -> u64 {
        self.0.moved.load(Ordering::Relaxed)
    }

    fn is_waiting(&self) -> bool {
        self.0.waiting.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
pub struct Caller {
    pub meter: Arc<Meter>,
    /// No byte for as long as this (up to twice as long): the call has failed.
    pub stall: Duration,
    attempts: u32,
    tokens: AtomicI64,
    random: fn() -> u64,
}

impl Caller {
    pub fn new(stall: Duration, attempts: u32, random: fn() -> u64) -> Self {
        let tokens = AtomicI64::new(RETRY_TOKENS);
        Self { meter: Arc::default(), stall, attempts: attempts.max(1), tokens, random }
    }

    /// `make` begins the call anew for each attempt.
    pub async fn call<T, E, F>(&self, what: &str, make: impl Fn(Progress) -> F) -> Result<T>
    where
        E: Error + ProvideErrorMetadata + 'static,
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    {
        let mut attempt = 1;
        loop {
            let failed = match self.once(what, &make).await {
                Ok(value) => {
                    self.give_back();
                    return Ok(value);
                }
                Err(error) => error,
            };
            if !failed.fault.may_pass() || attempt >= self.attempts || !self.take_retry() {
                return Err(failed);
            }
            tracing::debug!(what, attempt, error = %failed, "a call to a provider is tried again");
            tokio::time::sleep(self.backoff(attempt)).await;
            attempt += 1;
        }
    }

    /// Without retries, for what cannot be sent twice.
    pub async fn once<T, E, F>(&self, what: &str, make: impl FnOnce(Progress) -> F) -> Result<T>
    where
        E: Error + ProvideErrorMetadata + 'static,
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    {
        self.meter.call();
        let progress = Progress::default();
        match self.watch(&progress, make(progress.clone())).await? {
            Ok(value) => Ok(value),
            Err(error) => {
                let judged = judge(&error);
                Err(BackendError::new(judged.fault, format!("{what}: {}", judged.detail)))
            }
        }
    }

    pub async fn watch<T>(&self, progress: &Progress, work: impl Future<Output = T>) -> Result<T> {
        let mut work = pin!(work);
        let mut seen = progress.count();
        loop {
            tokio::select! {
                done = &mut work => return Ok(done),
                () = tokio::time::sleep(self.stall) => {}
            }
            let now = progress.count();
            if now == seen && !progress.is_waiting() {
                let detail = format!("no progress for {} ms", self.stall.as_millis());
                return Err(BackendError::new(Fault::Unavailable, detail));
            }
            seen = now;
        }
    }

    fn take_retry(&self) -> bool {
        let taken = self.tokens.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |tokens| {
            (tokens >= RETRY_COST).then_some(tokens - RETRY_COST)
        });
        taken.is_ok()
    }

    fn give_back(&self) {
        // `Err` is a budget that is full.
        let _ = self.tokens.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |tokens| {
            (tokens < RETRY_TOKENS).then_some(tokens + 1)
        });
    }

    /// Between nothing and twice as much each time ("full jitter"), so that many callers do not come
    /// back together.
    fn backoff(&self, attempt: u32) -> Duration {
        let most = BACKOFF_BASE.saturating_mul(1 << attempt.min(10)).min(BACKOFF_MAX);
        let micros = u64::try_from(most.as_micros()).unwrap_or(u64::MAX).max(1);
        Duration::from_micros((self.random)() % micros)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn retries_end_with_their_budget_and_come_back_with_success() {
        let caller = Caller::new(Duration::from_secs(1), 3, || 7);
        let taken = (0..1000).filter(|_| caller.take_retry()).count();
        assert_eq!(taken, 100);
        (0..4).for_each(|_| caller.give_back());
        assert!(!caller.take_retry());
        caller.give_back();
        assert!(caller.take_retry());
    }

    #[tokio::test]
    async fn slow_is_not_stalled() {
        let caller = Caller::new(Duration::from_millis(300), 3, || 7);
        let progress = Progress::default();
        let slow = async {
            for _ in 0..10 {
                tokio::time::sleep(Duration::from_millis(100)).await;
                progress.moved();
            }
        };
        caller.watch(&progress, slow).await.unwrap();
        let stalled = caller.watch(&progress, std::future::pending::<()>()).await;
        assert_eq!(stalled.unwrap_err().fault, Fault::Unavailable);
    }
}
