//! How much more a bucket can take: what statfs of a mount says.

use meta::Account;
use types::BucketId;

use crate::Store;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    pub used_bytes: u64,
    pub objects: u64,
    /// The least of what the bucket's quota, the backend's and the disk leave.
    pub free_bytes: u64,
}

impl Store {
    pub fn room(&self, bucket: BucketId) -> Room {
        let ledger = self.0.meta.ledger();
        let account = Account::Bucket(bucket);
        let counters = ledger.counters(account);
        let free = [ledger.left(account), ledger.left(Account::Backend(meta::EMBEDDED))];
        let free_bytes = free.into_iter().flatten().fold(self.0.disk.room_for_objects(), u64::min);
        Room { used_bytes: counters.bytes, objects: counters.objects, free_bytes }
    }
}
