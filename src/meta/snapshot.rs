//! A copy of everything, taken while commits go on.

use std::path::Path;
use std::sync::atomic::Ordering;
use types::Timestamp;

use crate::Meta;
use crate::commit::Order;
use crate::engine::Table;
use crate::error::MetaError;

const LAST_KEY: &[u8] = b"snapshot";

impl Meta {
    /// Every number below this one has been handed out.
    pub fn next_number(&self) -> u64 {
        self.sequence.next.load(Ordering::Relaxed)
    }

    /// Leaves a consistent copy of all tables in a new directory of the same file system. Whatever was committed
    /// before is in it. Blocks.
    pub fn checkpoint(&self, into: &Path) -> Result<(), MetaError> {
        // What was handed in before this is settled when it is answered.
        self.commit_and_wait(Order::Shared, |_| Ok::<(), MetaError>(()))?;
        Ok(self.engine.checkpoint(into)?)
    }

    /// When the last snapshot was taken that came to all of its backends.
    pub fn last_snapshot(&self) -> Result<Option<Timestamp>, MetaError> {
        let value = self.engine.get(Table::System, LAST_KEY)?;
        Ok(value.and_then(|bytes| bytes.try_into().ok()).map(|bytes| Timestamp(u64::from_be_bytes(bytes))))
    }

    pub fn note_snapshot(&self, taken: Timestamp) -> Result<(), MetaError> {
        self.commit_and_wait(Order::Shared, move |txn| {
            txn.put(Table::System, LAST_KEY.to_vec(), taken.0.to_be_bytes().to_vec());
            Ok(())
        })
    }
}
