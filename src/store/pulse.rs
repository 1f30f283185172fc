//! Whether the store lives, for whoever would start it anew if it did not.

use meta::Order;

use crate::{Store, StoreError};

impl Store {
    /// Goes the way of every write, through the committer and its sync, and changes nothing. True for any
    /// answer, also that nothing is written any more; false if nobody is there who could. Does not come back
    /// as long as the disk does not.
    pub async fn pulse(&self) -> bool {
        let answer: Result<(), StoreError> = self.commit_alone(Order::Shared, |_| Ok(())).await;
        !matches!(answer, Err(StoreError::Busy))
    }
}
