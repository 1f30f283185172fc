//! Looks at the room on the disk, so that writes are refused before the disk is full.

use super::Stop;
use std::time::Duration;
use store::Store;

/// At 2 GB/s half a gigabyte arrives between two looks.
const EVERY: Duration = Duration::from_millis(250);

pub async fn run(store: Store, mut stop: Stop) {
    while stop.or_sleep(EVERY).await {
        store.watch_disk();
    }
}
