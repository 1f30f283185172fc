//! Work that an operator ordered: carried out a bounded step at a time, noted durably, and taken up
//! again after a restart.
//!
//! To add a kind: a file here with its [`Work`] and its [`Kind`], its line in [`KINDS`], and a command
//! that calls [`begin`].

mod drain;
mod lost;
mod rebalance;
mod reconcile;
mod scrub;
mod snapshot;

pub use drain::DRAIN;
pub use lost::{LOST, Order as LostOrder};
pub use rebalance::{Order as RebalanceOrder, REBALANCE, Strategy};
pub use reconcile::{IMPORT, Order as ReconcileOrder, RECONCILE};
pub use scrub::{Order as ScrubOrder, SCRUB};
pub use snapshot::{Order as SnapshotOrder, SNAPSHOT};

use super::Stop;
use crate::jobs::{Job, Jobs, State};
use crate::node::Node;
use crate::options::now;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{JobRecord, JobState, StoreError};
use tokio::task::JoinSet;

/// How much progress a crash forgets.
const NOTE_EVERY: Duration = Duration::from_secs(2);
const REST_AFTER_ERROR: Duration = Duration::from_secs(5);
/// Steps in a row that fail: by then it is no passing trouble.
const MAX_ERRORS: u32 = 12;

pub type Doing<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// What came of a step.
pub enum Step {
    /// There is more to do.
    More,
    /// Nothing can be done now: look again after this time, or when an operator asks.
    Rest(Duration),
    Done,
    /// It can never be done.
    Failed(String),
}

/// What an ordered job does. It may be dropped at any await and made anew from its record.
pub trait Work: Send {
    /// One bounded step. The record says how far the work is, and where to go on.
    fn step<'a>(&'a mut self, node: &'a Node, record: &'a mut JobRecord) -> Doing<'a, Step>;

    /// It is held by its operator, or let go on.
    fn hold<'a>(&'a mut self, _node: &'a Node, _record: &'a JobRecord, _held: bool) -> Doing<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    /// It was broken off: puts right what is half done. Tried again until it succeeds.
    fn undo<'a>(&'a mut self, _node: &'a Node, _record: &'a mut JobRecord) -> Doing<'a, ()> {
        Box::pin(async { Ok(()) })
    }
}

pub struct Kind {
    /// What the job's name begins with, and the command's.
    pub name: &'static str,
    pub about: &'static str,
    /// Reads the order; what is wrong with it in words.
    pub work: fn(&JobRecord) -> Result<Box<dyn Work>, String>,
}

const KINDS: &[&Kind] = &[&DRAIN, &REBALANCE, &RECONCILE, &IMPORT, &SCRUB, &SNAPSHOT, &LOST];

/// Orders a job: it is noted durably and begins at once. `None`: one of its name has not ended yet.
pub async fn begin(
    node: &Node,
    kind: &Kind,
    subject: &str,
    order: &str,
) -> Result<Option<Arc<Job>>, StoreError> {
    let record = node.store.begin_job(kind.name, subject, order).await?;
    Ok(record.map(|record| node.jobs.order(record, kind.about)))
}

fn kind_of(record: &JobRecord) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == record.kind).copied()
}

/// What the node before this one left: to be gone on with, or to be looked at.
pub async fn remember(node: &Node) -> Result<(), StoreError> {
    for record in node.store.jobs().await? {
        let about = kind_of(&record).map_or("of another version", |kind| kind.about);
        node.jobs.order(record, about);
    }
    Ok(())
}

/// Carries out what is ordered, side by side.
pub async fn run(node: Arc<Node>, mut stop: Stop) {
    let mut running = JoinSet::new();
    while let Some((job, record)) = stop.unless_ordered(next_order(&node.jobs, &mut running)).await {
        let run = Run { node: Arc::clone(&node), job, record, noted: Instant::now(), errors: 0 };
        running.spawn(run.until_over(stop.clone()));
    }
    while let Some(ended) = running.join_next().await {
        report(ended);
    }
}

async fn next_order(jobs: &Jobs, running: &mut JoinSet<()>) -> (Arc<Job>, JobRecord) {
    loop {
        tokio::select! {
            order = jobs.next_order() => return order,
            Some(ended) = running.join_next() => report(ended),
        }
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a job panicked");
    }
}

/// One job being carried out.
struct Run {
    node: Arc<Node>,
    job: Arc<Job>,
    record: JobRecord,
    /// When its record was last written.
    noted: Instant,
    errors: u32,
}

/// How a turn of the loop ended.
enum Turn {
    Again(Duration),
    Over(JobState),
    /// The node stops.
    Stopped,
}

impl Run {
    async fn until_over(mut self, mut stop: Stop) {
        let name = self.job.name().to_owned();
        let work = kind_of(&self.record).map(|kind| (kind.work)(&self.record));
        let mut work = match work.unwrap_or_else(|| Err("this version does not know such work".to_owned())) {
            Ok(work) => work,
            Err(why) => {
                self.record.message = why;
                return self.end(JobState::Failed, &mut stop).await;
            }
        };
        self.job.take_up();
        tracing::info!(job = name, "begun or gone on with");
        loop {
            match self.turn(&mut *work, &mut stop).await {
                Turn::Again(rest) => self.rest(rest, &mut stop).await,
                Turn::Over(state) => return self.end(state, &mut stop).await,
                Turn::Stopped => return self.note_progress().await,
            }
        }
    }

    async fn turn(&mut self, work: &mut dyn Work, stop: &mut Stop) -> Turn {
        if self.job.cancelled() {
            let undone = work.undo(&self.node, &mut self.record).await;
            return self.judge(undone.map(|()| Turn::Over(JobState::Cancelled)));
        }
        if self.job.is_paused() {
            return self.hold(work, stop).await;
        }
        let step = work.step(&self.node, &mut self.record);
        let Some(outcome) = stop.unless_ordered(step).await else { return Turn::Stopped };
        self.job.tell(&self.record);
        if self.noted.elapsed() >= NOTE_EVERY {
            self.note_progress().await;
        }
        let turn = outcome.map(|step| match step {
            Step::More => Turn::Again(Duration::ZERO),
            Step::Rest(rest) => Turn::Again(rest),
            Step::Done => Turn::Over(JobState::Done),
            Step::Failed(why) => {
                self.record.message = why;
                Turn::Over(JobState::Failed)
            }
        });
        self.judge(turn)
    }

    /// Until its operator lets it go on.
    async fn hold(&mut self, work: &mut dyn Work, stop: &mut Stop) -> Turn {
        self.note_progress().await;
        if let Err(error) = work.hold(&self.node, &self.record, true).await {
            return self.judge(Err(error));
        }
        if !stop.or(self.job.permitted()).await {
            return Turn::Stopped;
        }
        let let_go = work.hold(&self.node, &self.record, false).await;
        self.judge(let_go.map(|()| Turn::Again(Duration::ZERO)))
    }

    /// Trouble passes, or it does not.
    fn judge(&mut self, turn: Result<Turn, StoreError>) -> Turn {
        let error = match turn {
            Ok(turn) => {
                self.errors = 0;
                self.job.recovered();
                return turn;
            }
            Err(error) => error,
        };
        tracing::warn!(job = self.job.name(), %error, "a step failed; it is tried again");
        self.job.failed(now(), &error);
        self.errors += 1;
        if self.errors < MAX_ERRORS || self.job.cancelled() {
            return Turn::Again(REST_AFTER_ERROR);
        }
        self.record.message = error.to_string();
        Turn::Over(JobState::Failed)
    }

    async fn rest(&self, rest: Duration, stop: &mut Stop) {
        if !rest.is_zero() {
            stop.or(async {
                tokio::select! {
                    () = tokio::time::sleep(rest) => {}
                    () = self.job.wanted() => {}
                }
            })
            .await;
        }
    }

    async fn end(&mut self, state: JobState, stop: &mut Stop) {
        let at = now();
        (self.record.state, self.record.ended) = (state, Some(at));
        while let Err(error) = self.note().await {
            tracing::warn!(job = self.job.name(), %error, "the end of a job could not be noted");
            if !stop.or_sleep(REST_AFTER_ERROR).await {
                return;
            }
        }
        self.job.tell(&self.record);
        self.job.finish(State::from(state), at);
        tracing::info!(job = self.job.name(), ?state, outcome = self.record.message, "ended");
    }

    /// Lost progress is made again.
    async fn note_progress(&mut self) {
        if let Err(error) = self.note().await {
            tracing::warn!(job = self.job.name(), %error, "progress could not be noted");
        }
    }

    /// Whether it is held is its operator's to say, not ours.
    async fn note(&mut self) -> Result<(), StoreError> {
        self.noted = Instant::now();
        let record = self.record.clone();
        let noted = self.node.store.change_job(self.job.name(), move |known| {
            let state = if record.state.is_live() { known.state } else { record.state };
            *known = JobRecord { state, ..record };
        });
        noted.await.map(drop)
    }
}
