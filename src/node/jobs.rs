//! The background work of this node by name: how far it is, and the levers to hold it, hurry it or
//! break it off. A worker asks its [`Job`] between two steps; nothing here knows what it does.
//!
//! Some jobs go on as long as the node. Others were ordered, have an end, and a record that outlives
//! the node: `workers::ordered` carries them out.

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{JobProgress, JobRecord, JobState};
use tokio::sync::{Notify, watch};
use types::Timestamp;

/// Cheap to clone.
#[derive(Clone, Default)]
pub struct Jobs(Arc<Shared>);

#[derive(Default)]
struct Shared {
    jobs: Mutex<Vec<Arc<Job>>>,
    /// Ordered and not begun.
    orders: Mutex<VecDeque<(Arc<Job>, JobRecord)>>,
    ordered: Notify,
}

impl Jobs {
    /// A job that goes on as long as the node. One of the same name that has ended makes room.
    pub fn add(&self, name: impl Into<String>, about: impl Into<String>) -> Arc<Job> {
        self.put(Job::new(name.into(), about.into(), None))
    }

    /// A job that was ordered. If it has not ended it waits to be carried out.
    pub fn order(&self, record: JobRecord, about: &str) -> Arc<Job> {
        let job = Job::new(record.name(), about.to_owned(), Some(record.started));
        job.remember(&record);
        let job = self.put(job);
        match record.state {
            JobState::Paused => job.pause(),
            JobState::Running => {}
            over => job.finish(State::from(over), record.ended.unwrap_or(record.started)),
        }
        if record.state.is_live() {
            self.0.orders.lock().push_back((Arc::clone(&job), record));
            self.0.ordered.notify_one();
        }
        job
    }

    /// The next one to carry out.
    pub async fn next_order(&self) -> (Arc<Job>, JobRecord) {
        loop {
            let next = self.0.orders.lock().pop_front();
            match next {
                Some(order) => return order,
                None => self.0.ordered.notified().await,
            }
        }
    }

    fn put(&self, job: Job) -> Arc<Job> {
        let job = Arc::new(job);
        let mut jobs = self.0.jobs.lock();
        jobs.retain(|other| other.name != job.name);
        jobs.push(Arc::clone(&job));
        job
    }

    pub fn find(&self, name: &str) -> Option<Arc<Job>> {
        self.0.jobs.lock().iter().find(|job| job.name == name).cloned()
    }

    pub fn all(&self) -> Vec<Arc<Job>> {
        self.0.jobs.lock().clone()
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
    Done,
    /// It was broken off.
    Cancelled,
    /// It was there for one thing, and that cannot be done.
    Failed,
}

impl From<JobState> for State {
    fn from(state: JobState) -> Self {
        match state {
            JobState::Running => Self::Running,
            JobState::Paused => Self::Paused,
            JobState::Done => Self::Done,
            JobState::Cancelled => Self::Cancelled,
            JobState::Failed => Self::Failed,
        }
    }
}

/// How far a job is, at one moment.
#[derive(Debug, Clone)]
pub struct Report {
    pub name: String,
    pub about: String,
    pub state: State,
    /// Of one that was ordered: when.
    pub ordered: Option<Timestamp>,
    /// Since the work began that is now running, or that ran last.
    pub progress: JobProgress,
    /// Items a second in that work.
    pub rate: f64,
    pub byte_rate: f64,
    /// How long it will take at that rate.
    pub left: Option<Duration>,
    /// What it says of itself.
    pub message: String,
    /// Items since the node started.
    pub done_ever: u64,
    pub last_error: Option<(Timestamp, String)>,
    pub last_ended: Option<Timestamp>,
}

pub struct Job {
    name: String,
    about: String,
    ordered: Option<Timestamp>,
    progress: Mutex<Progress>,
    paused: watch::Sender<bool>,
    over: watch::Sender<bool>,
    now: Notify,
}

#[derive(Default)]
struct Progress {
    /// Since when, if work is running.
    running: Option<Instant>,
    /// How long it took, if work has run.
    took: Duration,
    made: JobProgress,
    /// What was done before the node started.
    before: JobProgress,
    message: String,
    done_ever: u64,
    cancelled: bool,
    /// When work should begin that has not.
    due: Option<Instant>,
    signs: u64,
    over: Option<State>,
    last_error: Option<(Timestamp, String)>,
    last_ended: Option<Timestamp>,
}

impl Job {
    fn new(name: String, about: String, ordered: Option<Timestamp>) -> Self {
        let ((paused, _), (over, _)) = (watch::channel(false), watch::channel(false));
        Self { name, about, ordered, progress: Mutex::default(), paused, over, now: Notify::new() }
    }

    // For the worker.

    /// Waits while the job is held and not broken off. Before each step.
    pub async fn permitted(&self) {
        self.sign();
        // The sender lives as long as the job.
        let _ = self.paused.subscribe().wait_for(|paused| !paused || self.cancelled()).await;
    }

    /// Resolves when an operator wants the work done now.
    pub async fn wanted(&self) {
        self.now.notified().await;
    }

    /// It gets on, in work that counts nothing meanwhile.
    pub fn sign(&self) {
        self.progress.lock().signs += 1;
    }

    /// Until that time has passed, or the job is wanted. Work should begin then.
    pub async fn rest(&self, time: Duration) {
        self.rests(time);
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            () = self.wanted() => {}
        }
    }

    fn rests(&self, time: Duration) {
        self.progress.lock().due = Instant::now().checked_add(time);
    }

    /// Work begins; of so many items, if that is known.
    pub fn begin(&self, total: Option<u64>) {
        let mut progress = self.progress.lock();
        progress.running = Some(Instant::now());
        (progress.due, progress.signs) = (None, progress.signs + 1);
        progress.took = Duration::ZERO;
        progress.made = JobProgress { total_items: total, ..JobProgress::default() };
        progress.cancelled = false;
    }

    /// How far ordered work was when the node started.
    fn remember(&self, record: &JobRecord) {
        let mut progress = self.progress.lock();
        (progress.before, progress.made) = (record.progress, record.progress);
        progress.message.clone_from(&record.message);
    }

    /// Ordered work begins, or goes on after a restart.
    pub fn take_up(&self) {
        self.progress.lock().running = Some(Instant::now());
    }

    /// How far ordered work is by now.
    pub fn tell(&self, record: &JobRecord) {
        let mut progress = self.progress.lock();
        progress.done_ever += record.progress.items.saturating_sub(progress.made.items);
        progress.made = record.progress;
        progress.signs += 1;
        progress.message.clone_from(&record.message);
    }

    /// A step is done: so many items more, and so many known to be left.
    pub fn step(&self, done: u64, left: Option<u64>) {
        let mut progress = self.progress.lock();
        progress.made.items += done;
        progress.signs += 1;
        progress.done_ever += done;
        progress.made.total_items = left.map(|left| progress.made.items + left).or(progress.made.total_items);
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
    pub fn finish(&self, state: State, at: Timestamp) {
        self.end(at);
        self.progress.lock().over = Some(state);
        self.over.send_replace(true);
    }

    pub fn failed(&self, at: Timestamp, error: &dyn std::fmt::Display) {
        self.progress.lock().last_error = Some((at, error.to_string()));
    }

    /// The last failure is a thing of the past.
    pub fn recovered(&self) {
        self.progress.lock().last_error = None;
    }

    pub fn is_paused(&self) -> bool {
        *self.paused.borrow()
    }

    // For the operator.

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn is_ordered(&self) -> bool {
        self.ordered.is_some()
    }

    pub fn is_over(&self) -> bool {
        *self.over.borrow()
    }

    /// Resolves when it is over for good.
    pub async fn ended(&self) {
        // The sender lives as long as the job.
        let _ = self.over.subscribe().wait_for(|over| *over).await;
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
        let live = self.is_ordered() && !self.is_over();
        let cancelled = {
            let mut progress = self.progress.lock();
            progress.cancelled = live || progress.running.is_some();
            progress.cancelled
        };
        // Wakes one that is held.
        self.paused.send_modify(|_| {});
        self.now.notify_one();
        cancelled
    }

    /// How often it has shown that it lives, if it should be at work: it runs, or is due. `None`: nothing is
    /// asked of it now.
    pub fn signs(&self, now: Instant) -> Option<u64> {
        let paused = self.is_paused();
        let progress = self.progress.lock();
        let due = progress.due.is_some_and(|due| due <= now);
        match progress.state(paused) {
            State::Running => Some(progress.signs),
            State::Waiting if due => Some(progress.signs),
            _ => None,
        }
    }

    pub fn report(&self) -> Report {
        // Not under the lock: whoever is held looks at both the other way round.
        let paused = self.is_paused();
        let progress = self.progress.lock();
        let took = progress.running.map_or(progress.took, |since| since.elapsed());
        let (made, before) = (progress.made, progress.before);
        let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / took.as_secs_f64().max(0.001);
        let (rate, byte_rate) = (rate(made.items, before.items), rate(made.bytes, before.bytes));
        let state = progress.state(paused);
        let by_bytes = left(made.bytes, made.total_bytes, byte_rate);
        let left = by_bytes.or_else(|| left(made.items, made.total_items, rate));
        Report {
            name: self.name.clone(),
            about: self.about.clone(),
            state,
            ordered: self.ordered,
            progress: made,
            rate,
            byte_rate,
            left: left.filter(|_| state == State::Running),
            message: progress.message.clone(),
            done_ever: progress.done_ever,
            last_error: progress.last_error.clone(),
            last_ended: progress.last_ended,
        }
    }
}

impl Progress {
    fn state(&self, paused: bool) -> State {
        match self.over {
            Some(over) => over,
            None if paused => State::Paused,
            None if self.running.is_some() => State::Running,
            None => State::Waiting,
        }
    }
}

/// How long what is left will take; `None` if nobody can tell.
fn left(done: u64, total: Option<u64>, rate: f64) -> Option<Duration> {
    let more = total?.checked_sub(done).filter(|more| *more > 0 && rate > 0.0)?;
    Duration::try_from_secs_f64(more as f64 / rate).ok()
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
        let job = jobs.add("cleanup", "deletes");
        assert!(!job.cancel());
        job.begin(Some(10));
        job.step(4, Some(8));
        assert!(job.cancel() && job.cancelled());
        let report = jobs.find("cleanup").unwrap().report();
        assert_eq!((report.progress.items, report.progress.total_items), (4, Some(12)));
        jobs.add("cleanup", "again");
        assert_eq!(jobs.all().len(), 1);
    }

    #[tokio::test]
    async fn an_order_is_carried_out_once_and_can_be_broken_off_while_it_is_held() {
        let jobs = Jobs::default();
        let mut record = JobRecord::new("drain", "usb", "", Timestamp(1));
        record.state = JobState::Paused;
        record.progress.bytes = 70;
        jobs.order(record.clone(), "");
        record.state = JobState::Done;
        jobs.order(JobRecord { kind: "scrub".to_owned(), ..record }, "");
        let (job, record) = jobs.next_order().await;
        assert_eq!((job.name(), job.report().state), ("drain/usb", State::Paused));
        assert!(jobs.find("scrub/usb").unwrap().is_over());
        job.take_up();
        assert_eq!(record.progress.bytes, 70);
        assert!(job.cancel());
        job.permitted().await;
        job.finish(State::Cancelled, Timestamp(5));
        job.ended().await;
        assert!(!job.cancel(), "it has ended");
        assert_eq!((job.report().state, job.report().progress.bytes), (State::Cancelled, 70));
    }

    #[test]
    fn signs_of_life_are_asked_for_while_there_is_work() {
        let job = Jobs::default().add("scrub", "");
        let now = Instant::now();
        assert_eq!(job.signs(now), None, "nobody said when it should begin");
        job.rests(Duration::from_secs(60));
        assert_eq!(job.signs(now), None);
        let late = job.signs(now + Duration::from_secs(61)).unwrap();
        job.begin(None);
        let began = job.signs(now).unwrap();
        job.step(0, None);
        let stepped = job.signs(now).unwrap();
        assert!(late < began && began < stepped, "{late} {began} {stepped}");
        job.pause();
        assert_eq!(job.signs(now), None, "it is held");
        job.resume();
        job.end(Timestamp(1));
        assert_eq!(job.signs(now + Duration::from_secs(600)), None);
    }

    #[test]
    fn what_is_left_is_told_when_somebody_can_know() {
        assert_eq!(left(50, Some(100), 10.0), Some(Duration::from_secs(5)));
        assert_eq!(left(50, Some(100), 0.0), None);
        assert_eq!(left(50, None, 10.0), None);
        assert_eq!(left(100, Some(100), 10.0), None);
    }
}
