//! The background work: how far it is, and holding it, hurrying it, breaking it off.

use super::Fault;
use crate::jobs::{Job, Report, State};
use crate::node::Node;
use crate::times::rfc3339;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use store::JobState as Noted;

/// How long an answer waits for the step under way of a job that is broken off.
const CANCEL_PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    List {},
    Show { name: String },
    Pause { name: String },
    Resume { name: String },
    Cancel { name: String },
    Run { name: String },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Jobs {
    pub jobs: Vec<JobLine>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JobLine {
    pub name: String,
    pub about: String,
    pub state: JobState,
    /// When it was ordered; nothing of one that goes on as long as the node.
    pub started: Option<String>,
    /// Of the work that is running, or ran last.
    pub done: u64,
    pub total: Option<u64>,
    pub rate_per_second: f64,
    pub done_bytes: u64,
    pub total_bytes: Option<u64>,
    pub bytes_per_second: u64,
    /// How long it will take at this rate.
    pub seconds_left: Option<u64>,
    /// What it says of itself.
    pub message: String,
    pub done_since_start: u64,
    pub last_ended: Option<String>,
    pub last_error: Option<JobError>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JobError {
    pub at: String,
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    Waiting,
    Running,
    Paused,
    Done,
    Cancelled,
    Failed,
}

pub async fn answer(node: Arc<Node>, request: Request) -> Result<Jobs, Fault> {
    let jobs = match request {
        Request::List {} => node.jobs.all(),
        Request::Show { name } => vec![find(&node, &name)?],
        Request::Pause { name } => vec![hold(&node, &name, true).await?],
        Request::Resume { name } => vec![hold(&node, &name, false).await?],
        Request::Run { name } => vec![hurry(&node, &name)?],
        Request::Cancel { name } => vec![cancel(&node, &name).await?],
    };
    Ok(Jobs { jobs: jobs.iter().map(|job| JobLine::from(job.report())).collect() })
}

/// One that was ordered is held over a restart too: that is noted first.
async fn hold(node: &Node, name: &str, held: bool) -> Result<Arc<Job>, Fault> {
    let job = find_live(node, name)?;
    if job.is_ordered() {
        let noted = node.store.change_job(name, move |record| match record.state {
            Noted::Running if held => record.state = Noted::Paused,
            Noted::Paused if !held => record.state = Noted::Running,
            _ => {}
        });
        noted.await?;
    }
    if held {
        job.pause()
    } else {
        job.resume()
    }
    Ok(job)
}

fn hurry(node: &Node, name: &str) -> Result<Arc<Job>, Fault> {
    let job = find_live(node, name)?;
    job.run_now();
    Ok(job)
}

pub async fn cancel(node: &Node, name: &str) -> Result<Arc<Job>, Fault> {
    let job = find_live(node, name)?;
    if !job.cancel() {
        return Err(Fault::conflict(format!("{name} has nothing running to cancel")));
    }
    if job.is_ordered() {
        // One that takes longer for its step is shown as it is.
        let _ = tokio::time::timeout(CANCEL_PATIENCE, job.ended()).await;
    }
    Ok(job)
}

fn find_live(node: &Node, name: &str) -> Result<Arc<Job>, Fault> {
    let job = find(node, name)?;
    match job.is_over() {
        true => Err(Fault::conflict(format!("{name} has ended"))),
        false => Ok(job),
    }
}

fn find(node: &Node, name: &str) -> Result<Arc<Job>, Fault> {
    node.jobs.find(name).ok_or_else(|| {
        let names: Vec<_> = node.jobs.all().iter().map(|job| job.name().to_owned()).collect();
        Fault::not_found(format!("there is no job \"{name}\"; there are: {}", names.join(", ")))
    })
}

impl From<Report> for JobLine {
    fn from(report: Report) -> Self {
        Self {
            name: report.name,
            about: report.about,
            state: report.state.into(),
            started: report.ordered.map(rfc3339),
            done: report.progress.items,
            total: report.progress.total_items,
            rate_per_second: (report.rate * 10.0).round() / 10.0,
            done_bytes: report.progress.bytes,
            total_bytes: report.progress.total_bytes,
            bytes_per_second: report.byte_rate as u64,
            seconds_left: report.left.map(|left| left.as_secs()),
            message: report.message,
            done_since_start: report.done_ever,
            last_ended: report.last_ended.map(rfc3339),
            last_error: report.last_error.map(|(at, message)| JobError { at: rfc3339(at), message }),
        }
    }
}

impl From<State> for JobState {
    fn from(state: State) -> Self {
        match state {
            State::Waiting => Self::Waiting,
            State::Running => Self::Running,
            State::Paused => Self::Paused,
            State::Done => Self::Done,
            State::Cancelled => Self::Cancelled,
            State::Failed => Self::Failed,
        }
    }
}

impl JobState {
    /// There is nothing more to come of it.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Cancelled | Self::Failed)
    }
}
