//! The background work of this node by name: how far it is, and the levers to hold it, hurry it or
//! break it off. A worker asks its [`Job`] between two steps; nothing here knows what it does.

use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};
use types::Timestamp;

/// Cheap to clone.
#[derive(Clone, Default)]
pub struct Jobs(Arc<Mutex<Vec<Arc<Job>>>>);

impl Jobs {
    /// A job that goes on as long as the node. One of the same name that has ended makes room.
    pub fn add(&self, name: impl Into<String>, about: impl Into<String>) -> Arc<Job> {
        let job = Arc::new(Job::new(name.into(), about.into()));
        let mut jobs = self.0.lock();
        jobs.retain(|other| other.name != job.name);
        jobs.push(Arc::clone(&job));
        job
    }

    pub fn find(&self, name: &str) -> Option<Arc<Job>> {
        self.0.lock().iter().find(|job| job.name == name).cloned()
    }

    pub fn all(&self) -> Vec<Arc<Job>> {
        self.0.lock().clone()
    }
}

/// What a job is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing is due.
    Waiting,
    Running,
    /// Held by its operator: it begins no further step.
    Paused,
    /// It was there for one thing, and that is done.
    Finished,
    /// It was broken off.
    Cancelled,
}

/// How far a job is, at one moment.
#[derive(Debug, Clone)]
pub struct Report {
    pub name: String,
    pub about: String,
    pub state: State,
    /// Items since the work began that is now running, or that ran last.
    pub done: u64,
    /// Items of that work altogether, as far as it is known.
    pub total: Option<u64>,
    /// Items a second in that work.
    pub rate: f64,
    /// Items since the node started.
    pub done_ever: u64,
    pub last_error: Option<(Timestamp, String)>,
    pub last_ended: Option<Timestamp>,
}

pub struct Job {
    name: String,
    about: String,
    progress: Mutex<Progress>,
    paused: watch::Sender<bool>,
    now: Notify,
}

#[derive(Default)]
struct Progress {
    /// Since when, if work is running.
    running: Option<Instant>,
    /// How long it took, if work has run.
    took: Duration,
    done: u64,
    total: Option<u64>,
    done_ever: u64,
    cancelled: bool,
    over: Option<State>,
    last_error: Option<(Timestamp, String)>,
    last_ended: Option<Timestamp>,
}

impl Job {
    fn new(name: String, about: String) -> Self {
        let (paused, _) = watch::channel(false);
        Self { name, about, progress: Mutex::default(), paused, now: Notify::new() }
    }

    // For the worker.

    /// Waits while the job is held. Before each step.
    pub async fn permitted(&self) {
        // The sender lives as long as the job.
        let _ = self.paused.subscribe().wait_for(|paused| !paused).await;
    }

    /// Resolves when an operator wants the work done now.
    pub async fn wanted(&self) {
        self.now.notified().await;
    }

    /// Work begins; of so many items, if that is known.
    pub fn begin(&self, total: Option<u64>) {
        let mut progress = self.progress.lock();
        progress.running = Some(Instant::now());
        progress.took = Duration::ZERO;
        (progress.done, progress.total, progress.cancelled) = (0, total, false);
    }

    /// A step is done: so many items more, and so many known to be left.
    pub fn step(&self, done: u64, left: Option<u64>) {
        let mut progress = self.progress.lock();
        progress.done += done;
        progress.done_ever += done;
        progress.total = left.map(|left| progress.done + left).or(progress.total);
    }

    /// Whether this work was broken off: ask between two steps.
    pub fn cancelled(&self) -> bool {
        self.progress.lock().cancelled
    }

    /// The work is over for now; more may become due.
    pub fn end(&self, at: Timestamp) {
        let mut progress = self.progress.lock();
        progress.took = progress.running.take().map_or(Duration::ZERO, |since| since.elapsed());
        progress.last_ended = Some(at);
        // What comes next was not broken off.
        progress.cancelled = false;
    }

    /// The job was there for one thing, and is over for good.
    #[allow(dead_code, reason = "the jobs of this version go on as long as the node")]
    pub fn finish(&self, at: Timestamp) {
        let state = if self.cancelled() { State::Cancelled } else { State::Finished };
        self.end(at);
        self.progress.lock().over = Some(state);
    }

    pub fn failed(&self, at: Timestamp, error: &dyn std::fmt::Display) {
        self.progress.lock().last_error = Some((at, error.to_string()));
    }

    /// The last failure is a thing of the past.
    pub fn recovered(&self) {
        self.progress.lock().last_error = None;
    }

    // For the operator.

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn pause(&self) {
        self.paused.send_replace(true);
    }

    pub fn resume(&self) {
        self.paused.send_replace(false);
    }

    pub fn run_now(&self) {
        self.now.notify_one();
    }

    /// The work that is running ends after its present step; false if none is.
    pub fn cancel(&self) -> bool {
        let mut progress = self.progress.lock();
        progress.cancelled = progress.running.is_some();
        progress.cancelled
    }

    pub fn report(&self) -> Report {
        let progress = self.progress.lock();
        let took = progress.running.map_or(progress.took, |since| since.elapsed());
        Report {
            name: self.name.clone(),
            about: self.about.clone(),
            state: self.state(&progress),
            done: progress.done,
            total: progress.total,
            rate: progress.done as f64 / took.as_secs_f64().max(0.001),
            done_ever: progress.done_ever,
            last_error: progress.last_error.clone(),
            last_ended: progress.last_ended,
        }
    }

    fn state(&self, progress: &Progress) -> State {
        match progress.over {
            Some(over) => over,
            None if *self.paused.borrow() => State::Paused,
            None if progress.running.is_some() => State::Running,
            None => State::Waiting,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn a_held_job_begins_no_step() {
        let job = Jobs::default().add("scrub", "");
        job.pause();
        let step = tokio::time::timeout(Duration::from_millis(20), job.permitted());
        assert!(step.await.is_err());
        assert_eq!(job.report().state, State::Paused);
        job.resume();
        job.permitted().await;
    }

    #[tokio::test]
    async fn a_wish_that_comes_early_is_not_lost() {
        let job = Jobs::default().add("cleanup", "");
        job.run_now();
        job.wanted().await;
    }

    #[test]
    fn a_job_that_was_broken_off_goes_on_with_what_comes_next() {
        let job = Jobs::default().add("cleanup", "");
        job.begin(None);
        assert!(job.cancel() && job.cancelled());
        job.end(Timestamp(1));
        assert!(!job.cancelled());
        assert_eq!(job.report().state, State::Waiting);
    }

    #[test]
    fn progress_is_counted_and_cancelling_is_for_running_work_only() {
        let jobs = Jobs::default();
        let job = jobs.add("scrub", "reads everything");
        assert!(!job.cancel());
        job.begin(Some(10));
        job.step(4, Some(8));
        assert!(job.cancel() && job.cancelled());
        job.finish(Timestamp(5));
        let report = jobs.find("scrub").unwrap().report();
        assert_eq!((report.done, report.total, report.state), (4, Some(12), State::Cancelled));
        jobs.add("scrub", "again");
        assert_eq!(jobs.all().len(), 1);
    }
}
