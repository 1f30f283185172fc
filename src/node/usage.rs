//! What buckets and backends hold, from the ledger.

use crate::node::Node;
use serde::{Deserialize, Serialize};
use store::Usage;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Account {
    pub name: String,
    pub bytes: u64,
    pub objects: u64,
    /// Room that running writes hold.
    pub reserved_bytes: u64,
    /// Of a backend: deleted by clients, but still on the disk.
    pub awaiting_cleanup_bytes: u64,
    pub quota_bytes: Option<u64>,
}

impl Account {
    fn new(name: &str, usage: Usage) -> Self {
        Self {
            name: name.to_owned(),
            bytes: usage.bytes,
            objects: usage.objects,
            reserved_bytes: usage.reserved_bytes,
            awaiting_cleanup_bytes: usage.awaiting_bytes,
            quota_bytes: usage.quota_bytes,
        }
    }

    /// What counts against the quota.
    pub fn occupied_bytes(&self) -> u64 {
        self.bytes.saturating_add(self.reserved_bytes).saturating_add(self.awaiting_cleanup_bytes)
    }
}

/// In the order of the configuration.
pub fn buckets(node: &Node) -> Vec<Account> {
    let account = |bucket: &crate::config::Bucket| {
        let id = node.store.bucket(&bucket.name)?;
        Some(Account::new(bucket.name.as_str(), node.store.bucket_usage(id)))
    };
    node.config().buckets.iter().filter_map(account).collect()
}

pub fn backends(node: &Node) -> Vec<Account> {
    node.store.backends().iter().map(|status| Account::new(&status.name, status.usage)).collect()
}
