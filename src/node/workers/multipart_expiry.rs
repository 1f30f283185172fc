//! Removes multipart uploads that were begun long ago and never finished.

use super::Stop;
use std::time::Duration;
use store::Store;

const AT_MOST_EVERY: Duration = Duration::from_secs(60);
/// A short expiry is looked after more often, so that it is late by a tenth of itself at most.
const LATE_BY: u32 = 10;

pub async fn run(store: Store, expiry: Duration, mut stop: Stop) {
    let every = interval(expiry);
    while stop.or_sleep(every).await {
        match store.expire_uploads().await {
            Ok(0) => {}
            Ok(expired) => tracing::info!(expired, "unfinished multipart uploads removed"),
            Err(error) => tracing::warn!(%error, "expiry of multipart uploads failed; it is tried again"),
        }
    }
}

fn interval(expiry: Duration) -> Duration {
    (expiry / LATE_BY).clamp(Duration::from_millis(10), AT_MOST_EVERY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_expiries_are_looked_after_more_often() {
        assert_eq!(interval(Duration::from_secs(86_400)), Duration::from_secs(60));
        assert_eq!(interval(Duration::from_secs(2)), Duration::from_millis(200));
        assert_eq!(interval(Duration::from_nanos(1)), Duration::from_millis(10));
    }
}
