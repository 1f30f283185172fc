//! Shows the service manager that the node works, for as long as it does: an empty commit has gone the way of
//! every write before each sign of life. A node whose committer hangs, or whose threads are all held up,
//! gives none and is started anew.

use super::Stop;
use crate::service;
use store::Store;

/// An answer may take two thirds of the time that there is.
const SIGNS_IN_TIME: u32 = 3;

pub async fn run(store: Store, mut stop: Stop) {
    let Some(limit) = service::watchdog() else { return };
    loop {
        let sign = async {
            match store.pulse().await {
                true => service::alive(),
                false => tracing::error!("the committer is gone: the watchdog will end this process"),
            }
        };
        if !stop.or(sign).await || !stop.or_sleep(limit / SIGNS_IN_TIME).await {
            return;
        }
    }
}
