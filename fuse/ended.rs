//! The end of a session, for whoever waits for it.

use parking_lot::{Condvar, Mutex};
use std::time::{Duration, Instant};

#[derive(Default)]
pub struct Ended {
    ended: Mutex<bool>,
    bell: Condvar,
}

impl Ended {
    pub fn set(&self) {
        *self.ended.lock() = true;
        self.bell.notify_all();
    }

    pub fn is_set(&self) -> bool {
        *self.ended.lock()
    }

    /// Whether it came in time.
    pub fn wait(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        let mut ended = self.ended.lock();
        while !*ended {
            if self.bell.wait_until(&mut ended, until).timed_out() {
                break;
            }
        }
        *ended
    }
}
