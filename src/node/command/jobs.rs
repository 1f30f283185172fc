//! `s3-orchestrator jobs`: the background work.

use super::{Ask, Global, Run, output, words};
use crate::admin::jobs::{JobLine, JobState, Jobs, Request};
use clap::{Args, Subcommand};
use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;

const FOLLOW_EVERY: Duration = Duration::from_millis(500);
const BAR: usize = 20;

/// Show the background work, or hold, hurry or break it off.
#[derive(Debug, Args)]
pub struct JobsArgs {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    ask: Ask,
    /// Show it again and again until nothing is running: on a terminal in place, elsewhere line by
    /// line.
    #[arg(long)]
    follow: bool,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show all jobs; the same as no action.
    List,
    /// Hold a job: it begins no further step until it is resumed, or the node is started again.
    Pause(OnJob),
    /// Let a job go on.
    Resume(OnJob),
    /// Break off the work that is running, after its present step. A job that goes on as long as
    /// the node comes back to it; hold it to keep it from that.
    Cancel(OnJob),
    /// Look for work now.
    Run(OnJob),
}

#[derive(Debug, Args)]
struct OnJob {
    /// The job, as `jobs` shows it.
    name: String,
}

impl Run for JobsArgs {
    fn run(&self, _: &Global) -> anyhow::Result<ExitCode> {
        let name = |job: &OnJob| job.name.clone();
        let request = match &self.action {
            None | Some(Action::List) if self.follow => return follow(&self.ask),
            None | Some(Action::List) => Request::List {},
            Some(Action::Pause(job)) => Request::Pause { name: name(job) },
            Some(Action::Resume(job)) => Request::Resume { name: name(job) },
            Some(Action::Cancel(job)) => Request::Cancel { name: name(job) },
            Some(Action::Run(job)) => Request::Run { name: name(job) },
        };
        self.ask.show("jobs", &request, text)
    }
}

/// Until nothing is running.
fn follow(ask: &Ask) -> anyhow::Result<ExitCode> {
    let in_place = std::io::stdout().is_terminal() && !ask.json;
    let mut lines = 0;
    loop {
        let jobs: Jobs = ask.ask("jobs", &Request::List {})?;
        if in_place && lines > 0 {
            // Back to the first line of what was shown, and away with it.
            output::text(&format!("\x1b[{lines}A\x1b[J"))?;
        }
        ask.print(&jobs, text)?;
        lines = text(&jobs).lines().count();
        if !jobs.jobs.iter().any(|job| job.state == JobState::Running) {
            return Ok(ExitCode::SUCCESS);
        }
        std::thread::sleep(FOLLOW_EVERY);
    }
}

fn text(jobs: &Jobs) -> String {
    let row = |job: &JobLine| {
        vec![job.name.clone(), state(job.state).to_owned(), progress(job), rate(job), job.about.clone()]
    };
    let rows: Vec<_> = jobs.jobs.iter().map(row).collect();
    let mut text = words::table(&["job", "state", "progress", "rate", "what it does"], &rows);
    for job in &jobs.jobs {
        if let Some(error) = &job.last_error {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  {} failed at {}: {}", job.name, error.at, error.message);
        }
    }
    text
}

fn state(state: JobState) -> &'static str {
    match state {
        JobState::Waiting => "waiting",
        JobState::Running => "running",
        JobState::Paused => "paused",
        JobState::Finished => "finished",
        JobState::Cancelled => "cancelled",
    }
}

fn progress(job: &JobLine) -> String {
    match job.total.filter(|total| *total > 0) {
        Some(total) => format!("{} {}/{total}", bar(job.done, total), job.done),
        None if job.done > 0 => format!("{} done", job.done),
        None => "-".to_owned(),
    }
}

fn rate(job: &JobLine) -> String {
    match job.done > 0 {
        true => format!("{:.0}/s", job.rate_per_second),
        false => "-".to_owned(),
    }
}

fn bar(done: u64, total: u64) -> String {
    let share = u128::from(done.min(total)) * BAR as u128 / u128::from(total.max(1));
    let full = usize::try_from(share).unwrap_or(BAR);
    format!("[{}{}]", "#".repeat(full), ".".repeat(BAR - full))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars() {
        assert_eq!(bar(0, 7), "[....................]");
        assert_eq!(bar(1, 2), "[##########..........]");
        assert_eq!(bar(9, 7), "[####################]");
    }
}
