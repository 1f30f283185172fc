//! The background work: how far it is, and holding it, hurrying it, breaking it off.

use super::{Fault, FaultCode};
use crate::jobs::{Job, Report, State};
use crate::node::Node;
use crate::times::rfc3339;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    List {},
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
    /// Of the work that is running, or ran last.
    pub done: u64,
    pub total: Option<u64>,
    pub rate_per_second: f64,
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
    Finished,
    Cancelled,
}

pub async fn answer(node: Arc<Node>, request: Request) -> Result<Jobs, Fault> {
    let jobs = match request {
        Request::List {} => node.jobs.all(),
        Request::Pause { name } => vec![act(&node, &name, Job::pause)?],
        Request::Resume { name } => vec![act(&node, &name, Job::resume)?],
        Request::Run { name } => vec![act(&node, &name, Job::run_now)?],
        Request::Cancel { name } => vec![cancel(&node, &name)?],
    };
    Ok(Jobs { jobs: jobs.iter().map(|job| JobLine::from(job.report())).collect() })
}

fn act(node: &Node, name: &str, change: fn(&Job)) -> Result<Arc<Job>, Fault> {
    let job = find(node, name)?;
    change(&job);
    Ok(job)
}

fn cancel(node: &Node, name: &str) -> Result<Arc<Job>, Fault> {
    let job = find(node, name)?;
    match job.cancel() {
        true => Ok(job),
        false => Err(Fault::new(FaultCode::Conflict, format!("{name} has nothing running to cancel"))),
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
            done: report.done,
            total: report.total,
            rate_per_second: (report.rate * 10.0).round() / 10.0,
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
            State::Finished => Self::Finished,
            State::Cancelled => Self::Cancelled,
        }
    }
}
