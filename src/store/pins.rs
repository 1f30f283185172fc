//! Blobs that somebody reads: cleanup waits for them.

use meta::{CleanupTask, Queued};
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use std::collections::HashMap;
use std::sync::Arc;
use types::BlobId;

#[derive(Default)]
pub struct Pins {
    held: Arc<Mutex<HashMap<BlobId, usize>>>,
    gate: RwLock<()>,
}

/// A blob stays readable while one of these exists.
pub struct Pin {
    held: Arc<Mutex<HashMap<BlobId, usize>>>,
    blob: BlobId,
}

impl Pins {
    /// Held from reading a record until its blob is pinned, so that cleanup cannot come between.
    pub fn enter(&self) -> RwLockReadGuard<'_, ()> {
        self.gate.read()
    }

    pub fn pin(&self, blob: BlobId) -> Pin {
        *self.held.lock().entry(blob).or_default() += 1;
        Pin { held: Arc::clone(&self.held), blob }
    }

    pub fn holds(&self, blob: BlobId) -> bool {
        self.held.lock().contains_key(&blob)
    }

    /// Which of these nobody reads. They are unreferenced, so nobody will begin to.
    pub fn unpinned(&self, tasks: Vec<Queued<CleanupTask>>) -> Vec<Queued<CleanupTask>> {
        let _nobody_between = self.gate.write();
        let held = self.held.lock();
        tasks.into_iter().filter(|queued| !held.contains_key(&queued.task.blob())).collect()
    }
}

impl Clone for Pin {
    fn clone(&self) -> Self {
        *self.held.lock().entry(self.blob).or_default() += 1;
        Self { held: Arc::clone(&self.held), blob: self.blob }
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut held = self.held.lock();
        if let Some(count) = held.get_mut(&self.blob) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.blob);
            }
        }
    }
}
