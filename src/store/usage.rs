//! What a bucket and the backend hold, from the ledger.

use meta::Account;
use types::BucketId;

use crate::Store;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Of a bucket: its objects and the parts of its unfinished uploads. Of the backend: blobs that are in use.
    pub bytes: u64,
    pub objects: u64,
    /// Of the backend: what nobody uses and cleanup has not deleted yet.
    pub awaiting_bytes: u64,
    /// Room that running writes hold.
    pub reserved_bytes: u64,
    pub quota_bytes: Option<u64>,
}

impl Store {
    pub fn bucket_usage(&self, bucket: BucketId) -> Usage {
        self.usage(Account::Bucket(bucket))
    }

    pub fn backend_usage(&self) -> Usage {
        self.usage(Account::Backend(meta::EMBEDDED))
    }

    fn usage(&self, account: Account) -> Usage {
        let ledger = self.0.meta.ledger();
        let counters = ledger.counters(account);
        Usage {
            bytes: counters.bytes,
            objects: counters.objects,
            awaiting_bytes: counters.awaiting_bytes,
            reserved_bytes: ledger.reserved(account),
            quota_bytes: ledger.quota(account),
        }
    }
}
