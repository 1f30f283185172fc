//! What a backend has cost.

use crate::Usage;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counted where the calls are made, by whoever makes them.
#[derive(Debug, Default)]
pub struct Meter {
    calls: AtomicU64,
    ingress_bytes: AtomicU64,
    egress_bytes: AtomicU64,
}

impl Meter {
    pub fn call(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    pub fn sent(&self, bytes: usize) {
        self.ingress_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub fn received(&self, bytes: usize) {
        self.egress_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub fn usage(&self) -> Usage {
        Usage {
            calls: self.calls.load(Ordering::Relaxed),
            ingress_bytes: self.ingress_bytes.load(Ordering::Relaxed),
            egress_bytes: self.egress_bytes.load(Ordering::Relaxed),
        }
    }
}
