//! A commit is acknowledged when every kernel that caches names has let go of what it changed.
//!
//! Listeners hear of a commit on the committer's thread, where nobody may wait. A gate says whether
//! what its listener heard is done with; whoever acknowledges waits here, on no lock and not on the
//! committer's thread, for a bounded time. Without gates it costs the look at a counter.

use parking_lot::RwLock;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;

use crate::Store;

/// After this the answer goes out all the same: one kernel that hangs must not stop the node.
const DEADLINE: Duration = Duration::from_secs(2);

/// The end of what a listener has to do after a commit.
pub trait Gate: Send + Sync {
    /// `None`: nothing is under way. Otherwise it resolves when all that was heard so far is done.
    fn passed(&self) -> Option<oneshot::Receiver<()>>;

    /// Commits what must be seen by whoever reads from now on; resolves when it is done.
    fn owed(&self) -> Option<oneshot::Receiver<()>> {
        None
    }
}

#[derive(Default)]
pub(crate) struct Barrier {
    count: AtomicUsize,
    gates: RwLock<Vec<Arc<dyn Gate>>>,
    late: AtomicU64,
    /// How many things gates owe to whoever reads.
    owed: AtomicUsize,
}

impl Barrier {
    /// Acknowledgements that did not wait for a mount any longer.
    pub fn late(&self) -> u64 {
        self.late.load(Ordering::Relaxed)
    }

    async fn collect(&self) {
        if self.owed.load(Ordering::Acquire) == 0 {
            return;
        }
        let owed: Vec<_> = self.gates.read().iter().filter_map(|gate| gate.owed()).collect();
        for paid in owed {
            // Late or gone: what is owed comes by itself, only later.
            let _ = tokio::time::timeout(DEADLINE, paid).await;
        }
    }

    fn waiting(&self) -> Vec<oneshot::Receiver<()>> {
        if self.count.load(Ordering::Acquire) == 0 {
            return Vec::new();
        }
        self.gates.read().iter().filter_map(|gate| gate.passed()).collect()
    }

    async fn wait(&self) {
        let waiting = self.waiting();
        if waiting.is_empty() {
            return;
        }
        let all = async {
            for passed in waiting {
                // A gate that is gone has no kernel behind it any more.
                let _ = passed.await;
            }
        };
        if tokio::time::timeout(DEADLINE, all).await.is_err() {
            let late = self.late.fetch_add(1, Ordering::Relaxed) + 1;
            tracing::error!(late, "a mount did not take a change in time; it is acknowledged all the same");
        }
    }
}

impl Store {
    pub fn add_gate(&self, gate: Arc<dyn Gate>) {
        let barrier = &self.0.barrier;
        let mut gates = barrier.gates.write();
        gates.push(gate);
        barrier.count.store(gates.len(), Ordering::Release);
    }

    pub fn remove_gate(&self, gate: &Arc<dyn Gate>) {
        let barrier = &self.0.barrier;
        let mut gates = barrier.gates.write();
        gates.retain(|kept| !Arc::ptr_eq(kept, gate));
        barrier.count.store(gates.len(), Ordering::Release);
    }

    /// Something is to be committed, at the latest when somebody reads; until `paid`.
    pub fn owe(&self) {
        self.0.barrier.owed.fetch_add(1, Ordering::AcqRel);
    }

    pub fn paid(&self) {
        self.0.barrier.owed.fetch_sub(1, Ordering::AcqRel);
    }

    /// Before anything is read for a client: what a mount owes is there first.
    pub(crate) async fn collect(&self) {
        self.0.barrier.collect().await;
    }

    /// Waits for all mounts, after a commit and before its acknowledgement.
    pub(crate) async fn settle(&self) {
        self.0.barrier.wait().await;
    }
}
