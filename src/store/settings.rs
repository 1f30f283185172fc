//! What may change while the store is open: buckets, quotas, limits.

use meta::{Account, BucketRecord};
use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use types::{BucketId, BucketName, Timestamp};

use crate::{BackendOptions, BucketOptions, Limits, Options, OrderError, Policy, Store, StoreError};

#[derive(Debug, Clone)]
pub struct Settings {
    pub buckets: Vec<BucketOptions>,
    /// Those that are new are opened. Of the others what lies there stays as it is, and what is asked of
    /// them changes.
    pub backends: Vec<BackendOptions>,
    pub max_object_size_bytes: u64,
    pub multipart_expiry: Duration,
}

/// The settings in force.
pub(crate) struct InForce {
    pub(crate) buckets: RwLock<HashMap<BucketName, BucketRecord>>,
    policies: RwLock<HashMap<BucketId, Policy>>,
    max_object_size_bytes: AtomicU64,
    multipart_expiry_ms: AtomicU64,
}

impl InForce {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            buckets: RwLock::default(),
            policies: RwLock::default(),
            max_object_size_bytes: options.max_object_size_bytes.into(),
            multipart_expiry_ms: millis(options.multipart_expiry).into(),
        }
    }

    pub(crate) fn multipart_expiry_ms(&self) -> u64 {
        self.multipart_expiry_ms.load(Ordering::Relaxed)
    }

    /// Finds or makes the buckets, and says how much each may hold. The one whose making fails is as
    /// it was, and so are all behind it.
    pub(crate) fn open_buckets(
        &self,
        meta: &meta::Meta,
        wanted: &[BucketOptions],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        for bucket in wanted {
            let record = meta.bucket(&bucket.name, now)?;
            meta.ledger().set_quota(Account::Bucket(record.id), bucket.quota);
            self.policies.write().insert(record.id, bucket.policy);
            self.buckets.write().insert(bucket.name.clone(), record);
        }
        Ok(())
    }

    pub(crate) fn policy(&self, bucket: BucketId) -> Option<Policy> {
        self.policies.read().get(&bucket).copied()
    }

    pub(crate) fn policies(&self) -> Vec<(BucketId, Policy)> {
        let mut policies: Vec<_> = self.policies.read().iter().map(|(id, policy)| (*id, *policy)).collect();
        policies.sort_unstable_by_key(|(id, _)| *id);
        policies
    }

    pub(crate) fn bucket_name(&self, bucket: BucketId) -> Option<BucketName> {
        let buckets = self.buckets.read();
        buckets.iter().find(|(_, record)| record.id == bucket).map(|(name, _)| name.clone())
    }
}

impl Store {
    /// From now on; nothing has changed if a new backend cannot be opened. A bucket or backend that is not
    /// named any more keeps its objects, and its id.
    pub async fn change(&self, settings: Settings) -> Result<(), OrderError> {
        let (now, inner) = (self.now(), Arc::clone(&self.0));
        let changed = tokio::task::spawn_blocking(move || {
            inner.fleet.enlist(&inner.meta, &inner.local, &settings.backends, now)?;
            inner.settings.open_buckets(&inner.meta, &settings.buckets, now)?;
            let InForce { max_object_size_bytes, multipart_expiry_ms, .. } = &inner.settings;
            max_object_size_bytes.store(settings.max_object_size_bytes, Ordering::Relaxed);
            multipart_expiry_ms.store(millis(settings.multipart_expiry), Ordering::Relaxed);
            // Other copies may be asked for, and there may be another place for them.
            inner.bells.audit.notify_one();
            Ok(())
        });
        changed.await.unwrap_or_else(|error| Err(StoreError::Storage(error.to_string()).into()))
    }

    pub fn bucket(&self, name: &BucketName) -> Option<BucketId> {
        self.0.settings.buckets.read().get(name).map(|record| record.id)
    }

    /// When the bucket was first configured here.
    pub fn bucket_created(&self, name: &BucketName) -> Option<Timestamp> {
        self.0.settings.buckets.read().get(name).map(|record| record.created)
    }

    /// By name.
    pub fn buckets(&self) -> Vec<(BucketName, BucketId)> {
        let buckets = self.0.settings.buckets.read();
        let mut all: Vec<_> = buckets.iter().map(|(name, record)| (name.clone(), record.id)).collect();
        all.sort_by(|a, b| a.0.as_str().cmp(b.0.as_str()));
        all
    }

    pub fn limits(&self) -> Limits {
        Limits { max_object_size_bytes: self.0.settings.max_object_size_bytes.load(Ordering::Relaxed) }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
