//! Tries backends that failed, and makes what was asked of them durable.

use super::Stop;
use std::time::Duration;
use store::Store;

const EVERY: Duration = Duration::from_secs(1);

pub async fn run(store: Store, mut stop: Stop) {
    while stop.or_sleep(EVERY).await {
        store.watch_backends().await;
    }
}
