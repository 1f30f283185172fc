//! Following ordered work that finds things, until it has ended.

use super::{Ask, output, words};
use crate::admin::jobs::JobState;
use crate::admin::report::{Found, Request};
use crate::reports::Line;
use std::process::ExitCode;
use std::time::Duration;

const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Prints what it finds as it finds it; with --json all of it at the end. Exit code 1 if it was not done,
/// or if it found any of `wrong`.
pub fn follow(ask: &Ask, job: &str, wrong: &[&str]) -> anyhow::Result<ExitCode> {
    let mut lines: Vec<Line> = Vec::new();
    loop {
        let request = Request { job: job.to_owned(), from: lines.len() };
        let mut found: Found = ask.ask("report", &request)?;
        let news = found.lines.len();
        if !ask.json {
            output::text(&found.lines.iter().map(text).collect::<String>())?;
        }
        lines.append(&mut found.lines);
        let over = found.job.state.is_over() || found.job.state == JobState::Paused;
        if over && news == 0 {
            let bad = wrong.iter().any(|what| found.tally.get(what) > 0);
            let good = found.job.state == JobState::Done && !bad;
            found.lines = lines;
            ask.print(&found, end)?;
            return Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        if news == 0 {
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

fn text(line: &Line) -> String {
    let Line { what, location, bytes, note } = line;
    let note = if note.is_empty() { String::new() } else { format!(" ({note})") };
    format!("{what:<9} {} {location}{note}\n", words::size(*bytes))
}

fn end(found: &Found) -> String {
    let more = match found.dropped {
        0 => String::new(),
        dropped => format!("{dropped} more lines are in the log\n"),
    };
    let state = match found.job.state {
        JobState::Done => String::new(),
        state => format!(" ({})", format!("{state:?}").to_lowercase()),
    };
    format!(
        "{more}{}{state}\n",
        if found.job.message.is_empty() { "nothing found" } else { &found.job.message }
    )
}
