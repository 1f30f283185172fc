//! Empties the cleanup queue as it fills.

use super::Stop;
use std::time::Duration;
use store::Store;

/// Work that is due but held up (a reader still has the blob) is looked at again after this time,
/// instead of at once and for ever.
const REST: Duration = Duration::from_millis(200);
/// After a failure: the disk will not be well again in a moment.
const REST_AFTER_ERROR: Duration = Duration::from_secs(5);

pub async fn run(store: Store, mut stop: Stop) {
    while stop.or(store.cleanup_due()).await {
        let rest = drain(&store, &mut stop).await;
        if !stop.or_sleep(rest).await {
            return;
        }
    }
}

/// Passes until one finds nothing to do; how long to rest then.
async fn drain(store: &Store, stop: &mut Stop) -> Duration {
    // A pass runs to its end; the order to stop is looked at between two.
    while stop.or(async {}).await {
        match store.cleanup_pass().await {
            Ok(progress) if progress.done == 0 => return REST,
            Ok(progress) => tracing::debug!(done = progress.done, left = progress.left, "cleanup"),
            Err(error) => {
                tracing::warn!(%error, "cleanup failed; it is tried again");
                return REST_AFTER_ERROR;
            }
        }
    }
    REST
}
