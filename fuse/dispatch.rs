//! From a request to its answer: off the event loops, in bounded time, whatever happens on the way.
//!
//! Each reply lies in a slot, and whoever comes first gives it: the work, or the watch over deadlines. So a disk, a
//! backend or a commit that hangs costs its caller an errno and nobody else anything. A reply that is dropped, as by
//! a panic, is answered EIO.

use parking_lot::Mutex;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::errno::{Answer, Errno};
use crate::figures::{Figures, Operation};
use crate::pool::Pool;

/// What reads records or bytes. It never waits for a commit, so commits may wait for it.
const MAX_READERS: usize = 32;
/// What waits for commits, and what is written.
const MAX_WRITERS: usize = 64;
/// The longest that a process waits for a read; nobody can interrupt it meanwhile.
pub const READ_PATIENCE: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// A reply that can be a refusal as well.
pub trait Refuse: Send + 'static {
    fn refuse(self, error: Errno);
}

/// What a read comes to.
pub enum Step<T> {
    Done(T),
    /// It waits for a network: no thread waits with it.
    Later(Pin<Box<dyn Future<Output = Answer<T>> + Send>>),
}

pub struct Dispatch {
    readers: Pool,
    writers: Pool,
    /// For what is written by an event loop itself: one loop is always left to ask the kernel for more.
    here: Semaphore,
    runtime: Handle,
    pending: Arc<Mutex<Vec<Pending>>>,
    read_patience: Duration,
    figures: Arc<Figures>,
}

/// A request that may come to be late.
struct Pending {
    until: Instant,
    reply: Weak<dyn Expire>,
}

trait Expire: Send + Sync {
    fn is_answered(&self) -> bool;
    fn expire(&self);
}

pub struct Slot<R> {
    reply: Mutex<Option<R>>,
    operation: Operation,
    began: Instant,
    figures: Arc<Figures>,
}

impl<R: Refuse> Expire for Slot<R> {
    fn is_answered(&self) -> bool {
        self.reply.lock().is_none()
    }

    fn expire(&self) {
        if let Some(reply) = self.take(Err(Errno::TIMEDOUT)) {
            tracing::error!("a file system request is answered ETIMEDOUT");
            reply.refuse(Errno::TIMEDOUT);
        }
    }
}

impl<R: Refuse> Slot<R> {
    /// For whoever comes first.
    fn take(&self, answer: Answer<()>) -> Option<R> {
        let reply = self.reply.lock().take()?;
        self.figures.ended(self.operation, answer, self.began.elapsed());
        Some(reply)
    }

    /// Lets `fill` put something into the reply; `None` if it was given already.
    pub fn with<T>(&self, fill: impl FnOnce(&mut R) -> T) -> Option<T> {
        self.reply.lock().as_mut().map(fill)
    }

    /// `late` undoes what the kernel never heard of.
    fn answer<T>(&self, answer: Answer<T>, send: impl FnOnce(R, T), late: impl FnOnce(T)) {
        let told = answer.as_ref().map(drop).map_err(|error| *error);
        match (self.take(told), answer) {
            (Some(reply), Ok(found)) => send(reply, found),
            (Some(reply), Err(error)) => reply.refuse(error),
            (None, Ok(found)) => late(found),
            (None, Err(_)) => {}
        }
    }
}

/// Nobody will give the answer any more: the reply says EIO itself.
impl<R> Drop for Slot<R> {
    fn drop(&mut self) {
        if self.reply.get_mut().is_some() {
            self.figures.ended(self.operation, Err(Errno::IO), self.began.elapsed());
        }
    }
}

impl Dispatch {
    pub fn start(runtime: Handle, figures: Arc<Figures>, loops: usize) -> std::io::Result<Self> {
        Self::with_patience(runtime, figures, loops, READ_PATIENCE)
    }

    fn with_patience(
        runtime: Handle,
        figures: Arc<Figures>,
        loops: usize,
        read_patience: Duration,
    ) -> std::io::Result<Self> {
        let pending = Arc::new(Mutex::new(Vec::new()));
        let watched = Arc::downgrade(&pending);
        std::thread::Builder::new().name("mount-deadlines".to_owned()).spawn(move || watch(&watched))?;
        let (readers, writers) =
            (Pool::new("mount-read", MAX_READERS), Pool::new("mount-write", MAX_WRITERS));
        let here = Semaphore::new(loops.saturating_sub(1));
        Ok(Self { readers, writers, here, runtime, pending, read_patience, figures })
    }

    fn slot<R: Refuse>(&self, operation: Operation, reply: R, patience: Duration) -> Arc<Slot<R>> {
        let (began, figures) = (Instant::now(), Arc::clone(&self.figures));
        figures.began();
        let slot = Arc::new(Slot { reply: Mutex::new(Some(reply)), operation, began, figures });
        let weak = Arc::downgrade(&slot);
        self.pending.lock().push(Pending { until: began + patience, reply: weak });
        slot
    }

    /// What was done on the spot.
    pub fn answered(&self, operation: Operation) {
        self.figures.began();
        self.figures.ended(operation, Ok(()), Duration::ZERO);
    }

    /// For what reads records: it may wait for the disk. `late` undoes what the kernel never heard of.
    pub fn read<R: Refuse, T: 'static>(
        &self,
        operation: Operation,
        reply: R,
        work: impl FnOnce() -> Answer<T> + Send + 'static,
        send: impl FnOnce(R, T) + Send + 'static,
        late: impl FnOnce(T) + Send + 'static,
    ) {
        let slot = self.slot(operation, reply, self.read_patience);
        self.readers.run(move || slot.answer(work(), send, late));
    }

    /// As `read`, where the work fills the reply.
    pub fn fill<R: Refuse>(
        &self,
        operation: Operation,
        reply: R,
        work: impl FnOnce(&Slot<R>) -> Answer<()> + Send + 'static,
        send: impl FnOnce(R) + Send + 'static,
    ) {
        let slot = self.slot(operation, reply, self.read_patience);
        self.readers.run(move || {
            let answer = work(&slot);
            slot.answer(answer, |reply, ()| send(reply), drop);
        });
    }

    /// For what reads bytes, perhaps over a network.
    pub fn fetch<R: Refuse, T: Send + 'static>(
        &self,
        operation: Operation,
        reply: R,
        work: impl FnOnce() -> Answer<Step<T>> + Send + 'static,
        send: impl FnOnce(R, T) + Send + 'static,
    ) {
        let patience = self.read_patience;
        let (slot, runtime) = (self.slot(operation, reply, patience), self.runtime.clone());
        self.readers.run(move || match work() {
            Ok(Step::Done(found)) => slot.answer(Ok(found), send, drop),
            Ok(Step::Later(fetching)) => {
                runtime.spawn(async move {
                    // Nothing goes on behind it.
                    let found = tokio::time::timeout(patience, fetching).await;
                    slot.answer(found.unwrap_or(Err(Errno::TIMEDOUT)), send, drop);
                });
            }
            Err(error) => slot.answer(Err(error), send, drop),
        });
    }

    /// For what is written: it may wait for a commit of the same file.
    pub fn write<R: Refuse, T: 'static>(
        &self,
        operation: Operation,
        reply: R,
        patience: Duration,
        work: impl FnOnce() -> Answer<T> + Send + 'static,
        send: impl FnOnce(R, T) + Send + 'static,
        late: impl FnOnce(T) + Send + 'static,
    ) {
        self.go_on(self.slot(operation, reply, patience), work, send, late);
    }

    /// As `write`, on the event loop that asks, without a copy of what is written: half of what a small write costs is
    /// the way to another thread. If too many loops do so already, or `work` would have to wait for more than the disk
    /// and says `None`, the slot comes back, to `go_on` with.
    pub fn write_here<R: Refuse, T>(
        &self,
        operation: Operation,
        reply: R,
        patience: Duration,
        work: impl FnOnce() -> Option<Answer<T>>,
        send: impl FnOnce(R, T),
    ) -> Result<(), Arc<Slot<R>>> {
        let slot = self.slot(operation, reply, patience);
        let Ok(_turn) = self.here.try_acquire() else { return Err(slot) };
        match work() {
            Some(answer) => slot.answer(answer, send, drop),
            None => return Err(slot),
        }
        Ok(())
    }

    /// On a thread of the mount's own.
    pub fn go_on<R: Refuse, T: 'static>(
        &self,
        slot: Arc<Slot<R>>,
        work: impl FnOnce() -> Answer<T> + Send + 'static,
        send: impl FnOnce(R, T) + Send + 'static,
        late: impl FnOnce(T) + Send + 'static,
    ) {
        self.writers.run(move || slot.answer(work(), send, late));
    }

    /// For what is a commit: it goes on also when nobody waits for it any more.
    pub fn commit<R: Refuse, T: 'static>(
        &self,
        operation: Operation,
        reply: R,
        patience: Duration,
        work: impl Future<Output = Answer<T>> + Send + 'static,
        send: impl FnOnce(R, T) + Send + 'static,
        late: impl FnOnce(T) + Send + 'static,
    ) {
        let runtime = self.runtime.clone();
        self.write(operation, reply, patience, move || runtime.block_on(work), send, late);
    }
}

/// Until nobody dispatches any more.
fn watch(watched: &Weak<Mutex<Vec<Pending>>>) {
    while let Some(pending) = watched.upgrade() {
        let late = expired(&mut pending.lock(), Instant::now());
        drop(pending);
        late.iter().for_each(|reply| reply.expire());
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Takes out what was answered, and what is too late.
fn expired(pending: &mut Vec<Pending>, now: Instant) -> Vec<Arc<dyn Expire>> {
    let mut late = Vec::new();
    pending.retain(|request| match request.reply.upgrade() {
        Some(reply) if reply.is_answered() => false,
        Some(reply) if request.until <= now => {
            late.push(reply);
            false
        }
        found => found.is_some(),
    });
    late
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, channel};

    /// As fuser's replies do, it says EIO when nobody says anything.
    struct Reply(Option<Sender<Answer<u32>>>);

    impl Refuse for Reply {
        fn refuse(mut self, error: Errno) {
            self.0.take().unwrap().send(Err(error)).unwrap();
        }
    }

    impl Drop for Reply {
        fn drop(&mut self) {
            if let Some(sender) = self.0.take() {
                sender.send(Err(Errno::IO)).unwrap();
            }
        }
    }

    fn send(mut reply: Reply, found: u32) {
        reply.0.take().unwrap().send(Ok(found)).unwrap();
    }

    fn reply() -> (Reply, Receiver<Answer<u32>>) {
        let (sender, receiver) = channel();
        (Reply(Some(sender)), receiver)
    }

    fn answer(receiver: &Receiver<Answer<u32>>) -> Answer<u32> {
        receiver.recv_timeout(Duration::from_secs(10)).unwrap()
    }

    const PATIENCE: Duration = Duration::from_millis(300);
    const LOOPS: usize = 2;

    fn with_dispatch(act: impl FnOnce(&Dispatch)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        act(&Dispatch::with_patience(runtime.handle().clone(), Arc::default(), LOOPS, PATIENCE).unwrap());
        runtime.shutdown_background();
    }

    #[test]
    fn answers_and_errors_come_as_they_are() {
        with_dispatch(|dispatch| {
            let (good, good_answer) = reply();
            dispatch.read(Operation::Lookup, good, || Ok(1), send, drop);
            let (bad, bad_answer) = reply();
            dispatch.write(Operation::Write, bad, PATIENCE, || Err(Errno::NOSPC), send, drop);
            let (later, later_answer) = reply();
            dispatch.fetch(Operation::Read, later, || Ok(Step::Later(Box::pin(async { Ok(2) }))), send);
            let (committed, commit_answer) = reply();
            dispatch.commit(Operation::Fsync, committed, PATIENCE, async { Ok(3) }, send, drop);
            assert_eq!(answer(&good_answer), Ok(1));
            assert_eq!(answer(&bad_answer), Err(Errno::NOSPC));
            assert_eq!(answer(&later_answer), Ok(2));
            assert_eq!(answer(&commit_answer), Ok(3));
        });
    }

    #[test]
    fn a_panic_is_answered_and_the_next_request_too() {
        with_dispatch(|dispatch| {
            for _ in 0..2 * MAX_READERS {
                let (bad, receiver) = reply();
                dispatch.read(Operation::Lookup, bad, || panic!("on purpose"), send, drop);
                assert_eq!(answer(&receiver), Err(Errno::IO));
            }
            let (later, receiver) = reply();
            let panics = || Ok(Step::Later(Box::pin(async { panic!("on purpose") })));
            dispatch.fetch(Operation::Read, later, panics, send);
            assert_eq!(answer(&receiver), Err(Errno::IO));
            let (good, receiver) = reply();
            dispatch.read(Operation::Lookup, good, || Ok(1), send, drop);
            assert_eq!(answer(&receiver), Ok(1));
        });
    }

    #[test]
    fn what_hangs_is_answered_in_time_and_undone_when_it_comes_back() {
        with_dispatch(|dispatch| {
            let (gate, opened) = channel::<()>();
            let (undo, undone) = channel();
            let (hangs, receiver) = reply();
            let work = move || {
                let _ = opened.recv();
                Ok(7)
            };
            dispatch.read(Operation::Lookup, hangs, work, send, move |found| undo.send(found).unwrap());
            let (other, other_answer) = reply();
            dispatch.read(Operation::Lookup, other, || Ok(1), send, drop);
            assert_eq!(answer(&other_answer), Ok(1));
            assert_eq!(answer(&receiver), Err(Errno::TIMEDOUT));
            drop(gate);
            assert_eq!(undone.recv_timeout(Duration::from_secs(10)).unwrap(), 7);
        });
    }

    #[test]
    fn a_loop_writes_itself_unless_it_is_the_last_or_would_wait() {
        with_dispatch(|dispatch| {
            let ((outer, outer_answer), (inner, inner_answer)) = (reply(), reply());
            let write = |reply, work: &dyn Fn() -> Option<Answer<u32>>| {
                dispatch.write_here(Operation::Write, reply, PATIENCE, work, send)
            };
            let busy = Mutex::new(Some(inner));
            let nested = || {
                let slot = write(busy.lock().take().unwrap(), &|| Some(Ok(0))).unwrap_err();
                dispatch.go_on(slot, || Ok(2), send, drop);
                assert_eq!(answer(&inner_answer), Ok(2));
                Some(Ok(1))
            };
            assert!(write(outer, &nested).is_ok());
            assert_eq!(answer(&outer_answer), Ok(1));
            let (waits, waits_answer) = reply();
            let slot = write(waits, &|| None).unwrap_err();
            dispatch.go_on(slot, || Err(Errno::NOSPC), send, drop);
            assert_eq!(answer(&waits_answer), Err(Errno::NOSPC));
        });
    }

    #[test]
    fn also_when_all_threads_hang() {
        with_dispatch(|dispatch| {
            let (gate, opened) = channel::<()>();
            let opened = Arc::new(Mutex::new(opened));
            let waiting: Vec<_> = (0..MAX_READERS + 5)
                .map(|_| {
                    let ((hangs, receiver), opened) = (reply(), Arc::clone(&opened));
                    dispatch.read(
                        Operation::Lookup,
                        hangs,
                        move || {
                            let _ = opened.lock().recv();
                            Ok(0)
                        },
                        send,
                        drop,
                    );
                    receiver
                })
                .collect();
            assert!(waiting.iter().all(|receiver| answer(receiver) == Err(Errno::TIMEDOUT)));
            let (remote, receiver) = reply();
            dispatch.commit(Operation::Fsync, remote, PATIENCE, async { Ok(3) }, send, drop);
            assert_eq!(answer(&receiver), Ok(3));
            drop(gate);
        });
    }

    #[test]
    fn a_network_that_never_answers_keeps_no_thread() {
        with_dispatch(|dispatch| {
            let stalled: Vec<_> = (0..4 * MAX_READERS)
                .map(|_| {
                    let (stalls, receiver) = reply();
                    let never = || Ok(Step::Later(Box::pin(std::future::pending())));
                    dispatch.fetch(Operation::Read, stalls, never, send);
                    receiver
                })
                .collect();
            let (good, receiver) = reply();
            dispatch.read(Operation::Lookup, good, || Ok(1), send, drop);
            assert_eq!(answer(&receiver), Ok(1));
            assert!(stalled.iter().all(|receiver| answer(receiver) == Err(Errno::TIMEDOUT)));
        });
    }
}
