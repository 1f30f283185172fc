//! Files that the kernel reads by itself (passthrough).
//!
//! The kernel wants all handles of an inode that are open at a time to be of one kind, and one backing file for
//! all of them. So the first handle decides, and the others follow until the last is gone.

use fuser::BackingId;
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[derive(Default)]
pub struct Backings {
    inodes: Mutex<HashMap<u64, Handles>>,
    /// The kernel has refused once, and will again. What a file system below refuses (as one that is stacked too
    /// high) says nothing of the others.
    refused: AtomicBool,
}

#[derive(Default)]
struct Handles {
    backing: Option<Arc<BackingId>>,
    passed: HashSet<u64>,
    plain: usize,
    /// Opens under way.
    seats: usize,
}

impl Handles {
    fn is_undecided(&self) -> bool {
        self.backing.is_none() && self.plain == 0
    }
}

/// An open under way. While there is one, the last handle that goes does not take the backing along: a release comes
/// some time after its close, and may fall into the next open.
pub struct Seat {
    backings: Arc<Backings>,
    ino: u64,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.backings.leave(self.ino, |handles| handles.seats = handles.seats.saturating_sub(1));
    }
}

impl Backings {
    /// Before an open looks for a file that the kernel could read, and whether it need look at all.
    pub fn enter(self: &Arc<Self>, ino: u64) -> (Seat, bool) {
        let mut inodes = self.inodes.lock();
        let handles = inodes.entry(ino).or_default();
        handles.seats += 1;
        let wanted = handles.is_undecided() && !self.refused.load(Ordering::Relaxed);
        (Seat { backings: Arc::clone(self), ino }, wanted)
    }

    /// How a handle is opened: with the backing that it shares, or without. `make` makes one for the first.
    pub fn open(
        &self,
        ino: u64,
        handle: u64,
        make: impl FnOnce() -> Option<std::io::Result<BackingId>>,
    ) -> Option<Arc<BackingId>> {
        let mut inodes = self.inodes.lock();
        let handles = inodes.entry(ino).or_default();
        if handles.is_undecided() {
            handles.backing = self.make(make);
        }
        match &handles.backing {
            Some(_) => {
                handles.passed.insert(handle);
            }
            None => handles.plain += 1,
        }
        handles.backing.clone()
    }

    fn make(&self, make: impl FnOnce() -> Option<std::io::Result<BackingId>>) -> Option<Arc<BackingId>> {
        if self.refused.load(Ordering::Relaxed) {
            return None;
        }
        match make()? {
            Ok(backing) => Some(Arc::new(backing)),
            Err(error) => {
                let for_all = matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::Unsupported);
                if for_all && !self.refused.swap(true, Ordering::Relaxed) {
                    tracing::info!(%error, "the kernel does not read files by itself here");
                }
                None
            }
        }
    }

    pub fn release(&self, ino: u64, handle: u64) {
        self.leave(ino, |handles| {
            if !handles.passed.remove(&handle) {
                handles.plain = handles.plain.saturating_sub(1);
            }
        });
    }

    fn leave(&self, ino: u64, leave: impl FnOnce(&mut Handles)) {
        let mut inodes = self.inodes.lock();
        let Some(handles) = inodes.get_mut(&ino) else { return };
        leave(handles);
        if handles.passed.is_empty() && handles.plain == 0 && handles.seats == 0 {
            inodes.remove(&ino);
        }
    }
}
