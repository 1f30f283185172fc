//! Keeps as many good copies of each object as its bucket asks for.

use super::Stop;
use std::time::Duration;
use store::Store;
use types::BlobId;

/// After a failure, and between two looks at whether something else is asked for now.
const REST: Duration = Duration::from_secs(5);

/// Works on the queue as it fills.
pub async fn run(store: Store, mut stop: Stop) {
    while stop.or(store.copies_due()).await {
        loop {
            // What a pass that is broken off was copying is copied anew by the next node.
            let Some(passed) = stop.unless_ordered(store.copies_pass()).await else { return };
            match passed {
                Ok(progress) if progress.done == 0 => break,
                Ok(progress) => tracing::debug!(done = progress.done, later = progress.left, "copies"),
                Err(error) => {
                    tracing::warn!(%error, "work on copies failed; it is tried again");
                    if !stop.or_sleep(REST).await {
                        return;
                    }
                    break;
                }
            }
        }
    }
}

/// Fills the queue when something else is asked for: other numbers of copies, other backends, one lost.
pub async fn audit(store: Store, mut stop: Stop) {
    loop {
        match walk(&store, &mut stop).await {
            Ok(()) => {}
            Err(error) => tracing::warn!(%error, "the walk over all blobs failed; it is begun again"),
        }
        let due = async {
            // Sooner if something was changed by command.
            let _ = tokio::time::timeout(REST, store.audit_wanted()).await;
        };
        if !stop.or(due).await {
            return;
        }
    }
}

async fn walk(store: &Store, stop: &mut Stop) -> Result<(), store::StoreError> {
    let Some(asked) = store.audit_due().await? else { return Ok(()) };
    tracing::info!("copies are held against what is asked for now");
    for bucket in store.bucket_ids() {
        let mut after = None;
        while stop.or(async {}).await {
            after = store.adopt_step(bucket, after).await?;
            if after.is_none() {
                break;
            }
        }
    }
    let mut after: Option<BlobId> = None;
    while stop.or(async {}).await {
        after = store.audit_step(after).await?;
        if after.is_none() {
            return store.audit_done(asked).await;
        }
    }
    Ok(())
}
