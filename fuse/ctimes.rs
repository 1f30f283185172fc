//! When what is said of a file changed (mode, owner, times, attributes, name), which no record says: known as long as
//! the kernel knows the inode.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::attr::{Attr, Time};

#[derive(Default)]
pub struct ChangeTimes {
    times: Mutex<HashMap<u64, Time>>,
    /// As `times` has; mostly none.
    count: AtomicUsize,
}

impl ChangeTimes {
    pub fn note(&self, ino: u64, now: Time) {
        let mut times = self.times.lock();
        times.insert(ino, now);
        self.count.store(times.len(), Ordering::Relaxed);
    }

    pub fn shown(&self, attr: Attr) -> Attr {
        if !self.any() {
            return attr;
        }
        let noted = self.times.lock().get(&attr.ino).copied();
        Attr { ctime: noted.map_or(attr.ctime, |noted| attr.ctime.max(noted)), ..attr }
    }

    pub fn forget(&self, ino: u64) {
        let mut times = self.times.lock();
        times.remove(&ino);
        self.count.store(times.len(), Ordering::Relaxed);
    }

    /// Without waiting for anybody.
    pub fn any(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }
}
