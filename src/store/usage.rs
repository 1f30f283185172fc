//! What buckets and backends hold, from the ledger, and how the backends are doing.

use meta::{Account, BackendState, EMBEDDED, Order, Traffic};
use std::sync::atomic::Ordering;
use std::time::Duration;
use types::{BucketId, Timestamp};

use crate::breaker::Circuit;
use crate::{MonthlyLimits, Store, StoreError};

const PROBE_PATIENCE: Duration = Duration::from_secs(5);

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

/// A backend as an operator wants to see it.
#[derive(Debug, Clone)]
pub struct BackendStatus {
    pub name: String,
    pub state: BackendState,
    pub state_since: Timestamp,
    pub circuit: Circuit,
    /// How long it has not answered.
    pub down_for: Option<Duration>,
    /// Down for so long that its replicas are made anew elsewhere.
    pub lost: bool,
    pub remote: bool,
    pub quota: Option<u64>,
    pub usage: Usage,
    /// This month's.
    pub traffic: Traffic,
    pub limits: MonthlyLimits,
    /// Replicas found missing or damaged since the start.
    pub bad_found: u64,
}

impl Store {
    /// In the order of the configuration.
    pub fn backends(&self) -> Vec<BackendStatus> {
        let (inner, now) = (&self.0, self.now());
        let status = |member: &std::sync::Arc<crate::member::Member>| BackendStatus {
            name: member.name.clone(),
            state: member.state(),
            state_since: member.state_since(),
            circuit: member.circuit(),
            down_for: member.breaker.down_since().map(|since| since.elapsed()),
            lost: inner.is_lost(member),
            remote: member.backend.is_remote(),
            quota: inner.meta.ledger().quota(Account::Backend(member.id)),
            usage: self.usage(Account::Backend(member.id)),
            traffic: member.count(&inner.meta, now),
            limits: member.limits(),
            bad_found: member.bad_found.load(Ordering::Relaxed),
        };
        inner.fleet.members().iter().map(status).collect()
    }

    /// Changes what a backend may be used for, durably. `false`: there is none of this name.
    pub async fn set_backend_state(&self, name: &str, state: BackendState) -> Result<bool, StoreError> {
        let Some(member) = self.0.fleet.named(name) else { return Ok(false) };
        let (id, now) = (member.id, self.now());
        self.commit(Order::Alone, move |txn| Ok(txn.set_backend_state(id, state, now)?)).await?;
        if member.state() != state {
            member.set_state(state, now);
            self.0.bells.audit.notify_one();
        }
        Ok(true)
    }

    /// Somebody knows that a backend is well: it is used again at once. `false`: there is none of this
    /// name.
    pub fn trust_backend(&self, name: &str) -> bool {
        let member = self.0.fleet.named(name);
        member.map(|member| member.succeeded()).is_some()
    }

    /// Brings what the backends were asked for into the durable counters, and tries those that are left
    /// alone for their failures.
    pub async fn watch_backends(&self) {
        let now = self.now();
        for member in self.0.fleet.members().iter() {
            member.count(&self.0.meta, now);
            let idle = member.circuit() == Circuit::Open;
            if idle && member.admits() {
                let probe = tokio::time::timeout(PROBE_PATIENCE, member.backend.probe()).await;
                match probe {
                    Ok(outcome) => drop(member.judge(outcome)),
                    Err(_) => drop(member.too_late()),
                }
            }
        }
    }

    pub fn bucket_usage(&self, bucket: BucketId) -> Usage {
        self.usage(Account::Bucket(bucket))
    }

    pub fn backend_usage(&self) -> Usage {
        self.usage(Account::Backend(EMBEDDED))
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
