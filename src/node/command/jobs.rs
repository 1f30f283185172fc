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
    /// Show it again and again until nothing is running: on a terminal in place, elsewhere whenever
    /// something has changed. `--watch` is the same.
    #[arg(long, alias = "watch")]
    follow: bool,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show all jobs; the same as no action.
    List,
    /// Hold a job: it begins no further step until it is resumed. One that goes on as long as the node
    /// is resumed by a restart; one that was ordered is not.
    Pause(OnJob),
    /// Let a job go on.
    Resume(OnJob),
    /// Break off the work that is running, after its present step. A job that was ordered ends with
    /// that; one that goes on as long as the node comes back to it: hold it to keep it from that.
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
    let mut screen = Screen::new(ask);
    loop {
        let jobs: Jobs = ask.ask("jobs", &Request::List {})?;
        let over = !jobs.jobs.iter().any(|job| job.state == JobState::Running);
        screen.show(&jobs, over)?;
        if over {
            return Ok(ExitCode::SUCCESS);
        }
        std::thread::sleep(FOLLOW_EVERY);
    }
}

/// Whether a job was ordered that has not ended.
pub fn is_under_way(ask: &Ask, name: &str) -> anyhow::Result<bool> {
    let jobs: Jobs = ask.ask("jobs", &Request::List {})?;
    Ok(jobs.jobs.iter().any(|job| job.name == name && !job.state.is_over()))
}

/// One job until it has ended or is held; success if it is done.
pub fn watch(ask: &Ask, name: &str) -> anyhow::Result<ExitCode> {
    let mut screen = Screen::new(ask);
    loop {
        let jobs: Jobs = ask.ask("jobs", &Request::Show { name: name.to_owned() })?;
        let state = jobs.jobs.first().map_or(JobState::Failed, |job| job.state);
        let over = state.is_over() || state == JobState::Paused;
        screen.show(&jobs, over)?;
        if over {
            return Ok(if state == JobState::Done { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        std::thread::sleep(FOLLOW_EVERY);
    }
}

/// On a terminal what is shown takes the place of what was shown before; elsewhere it is shown when it
/// has changed; as JSON at the end.
struct Screen<'a> {
    ask: &'a Ask,
    in_place: bool,
    shown: String,
}

impl<'a> Screen<'a> {
    fn new(ask: &'a Ask) -> Self {
        Self { ask, in_place: std::io::stdout().is_terminal() && !ask.json, shown: String::new() }
    }

    fn show(&mut self, jobs: &Jobs, over: bool) -> anyhow::Result<()> {
        if self.ask.json {
            return if over { self.ask.print(jobs, text) } else { Ok(()) };
        }
        let now = text(jobs);
        if self.in_place {
            output::text(&in_place(self.shown.lines().count(), &now))?;
        } else if now != self.shown {
            output::text(&now)?;
        }
        self.shown = now;
        Ok(())
    }
}

/// Back to the first of the lines that were shown, and away with them. A line that is wider than the terminal
/// is cut by it and not wrapped: the way back would be longer than anybody here knows.
fn in_place(shown: usize, now: &str) -> String {
    let back = if shown > 0 { format!("\x1b[{shown}A\x1b[J") } else { String::new() };
    format!("{back}\x1b[?7l{now}\x1b[?7h")
}

fn text(jobs: &Jobs) -> String {
    let row = |job: &JobLine| {
        let state = state(job.state).to_owned();
        vec![job.name.clone(), state, progress(job), rate(job), left(job), job.about.clone()]
    };
    let rows: Vec<_> = jobs.jobs.iter().map(row).collect();
    let mut text = words::table(&["job", "state", "progress", "rate", "time left", "what it does"], &rows);
    for job in &jobs.jobs {
        if !job.message.is_empty() {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  {}: {}", job.name, job.message);
        }
        if let Some(error) = &job.last_error {
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
        JobState::Done => "done",
        JobState::Cancelled => "cancelled",
        JobState::Failed => "failed",
    }
}

fn progress(job: &JobLine) -> String {
    if let Some(total) = job.total_bytes.filter(|total| *total > 0) {
        let (done, all) = (words::size(job.done_bytes), words::size(total));
        let items = job.total.map_or(String::new(), |total| format!(", {} of {total}", job.done));
        return format!("{} {done} of {all}{items}", bar(job.done_bytes, total));
    }
    match job.total.filter(|total| *total > 0) {
        Some(total) => format!("{} {}/{total}", bar(job.done, total), job.done),
        None if job.done > 0 => format!("{} done", job.done),
        None => "-".to_owned(),
    }
}

fn rate(job: &JobLine) -> String {
    match job.done > 0 {
        _ if job.state.is_over() => "-".to_owned(),
        _ if job.bytes_per_second > 0 => format!("{}/s", words::size(job.bytes_per_second)),
        true => format!("{:.0}/s", job.rate_per_second),
        false => "-".to_owned(),
    }
}

fn left(job: &JobLine) -> String {
    job.seconds_left.map_or("-".to_owned(), |left| words::duration(Duration::from_secs(left)))
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
