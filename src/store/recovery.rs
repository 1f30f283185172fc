//! What a crash leaves: intents without a commit. Their bytes go to the cleanup queue.

use meta::{Meta, Order};

use crate::StoreError;

pub fn settle_intents(meta: &Meta) -> Result<(), StoreError> {
    let intents = meta.intents()?;
    if intents.is_empty() {
        return Ok(());
    }
    tracing::info!(intents = intents.len(), "unfinished writes of the last run go to the cleanup queue");
    meta.commit_and_wait(Order::Shared, move |txn| {
        for (id, _) in intents {
            txn.abandon_intent(id)?;
        }
        Ok(())
    })
}
