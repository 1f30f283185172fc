//! Threads of a mount's own: whoever waits there holds up nobody who serves sockets or asks the kernel for more.

use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

/// A thread that has nothing to do for so long ends.
const IDLE_FOR: Duration = Duration::from_secs(10);

type Job = Box<dyn FnOnce() + Send>;

/// Dropped, it does what was handed in, and its threads end.
pub struct Pool(Arc<Shared>);

struct Shared {
    name: &'static str,
    max_threads: usize,
    state: Mutex<State>,
    bell: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    idle: usize,
    threads: usize,
    closed: bool,
}

impl Pool {
    pub fn new(name: &'static str, max_threads: usize) -> Self {
        let state = Mutex::new(State::default());
        Self(Arc::new(Shared { name, max_threads, state, bell: Condvar::new() }))
    }

    /// At once, on a thread of its own, as long as there are not too many.
    pub fn run(&self, job: impl FnOnce() + Send + 'static) {
        let mut state = self.0.state.lock();
        state.jobs.push_back(Box::new(job));
        if state.jobs.len() <= state.idle {
            self.0.bell.notify_one();
        } else if state.threads < self.0.max_threads {
            state.threads += 1;
            drop(state);
            self.spawn();
        }
    }

    fn spawn(&self) {
        let shared = Arc::clone(&self.0);
        let spawned = std::thread::Builder::new().name(shared.name.to_owned()).spawn(move || shared.work());
        if let Err(error) = spawned {
            tracing::error!(%error, "no thread for a file system request");
            let mut state = self.0.state.lock();
            state.threads -= 1;
            if state.threads == 0 {
                // Nobody will do it; what is dropped is answered.
                state.jobs.clear();
            }
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.0.state.lock().closed = true;
        self.0.bell.notify_all();
    }
}

impl Shared {
    fn work(&self) {
        while let Some(job) = self.next() {
            if catch_unwind(AssertUnwindSafe(job)).is_err() {
                tracing::error!("a file system request panicked");
            }
        }
    }

    fn next(&self) -> Option<Job> {
        let mut state = self.state.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            state.idle += 1;
            let late = !state.closed && self.bell.wait_for(&mut state, IDLE_FOR).timed_out();
            state.idle -= 1;
            if (late || state.closed) && state.jobs.is_empty() {
                state.threads -= 1;
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn jobs_wait_for_each_other_only_when_there_are_too_many() {
        let pool = Pool::new("test", 3);
        let (sender, received) = mpsc::channel();
        let gates: Vec<_> = (0..3)
            .map(|number| {
                let (sender, (gate, opened)) = (sender.clone(), mpsc::channel::<()>());
                pool.run(move || {
                    sender.send(number).unwrap();
                    let _ = opened.recv();
                });
                gate
            })
            .collect();
        let mut began: Vec<i32> = (0..3).map(|_| received.recv().unwrap()).collect();
        began.sort_unstable();
        assert_eq!(began, [0, 1, 2]);
        pool.run(move || sender.send(3).unwrap());
        assert!(received.recv_timeout(Duration::from_millis(50)).is_err());
        drop(gates);
        assert_eq!(received.recv().unwrap(), 3);
    }

    #[test]
    fn a_panic_ends_its_job_only() {
        let pool = Pool::new("test", 1);
        let (sender, received) = mpsc::channel();
        pool.run(|| panic!("on purpose"));
        pool.run(move || sender.send(()).unwrap());
        received.recv_timeout(Duration::from_secs(10)).unwrap();
    }
}
