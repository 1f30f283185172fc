//! `s3-orchestrator logs`: the last lines of the log.

use super::{Ask, Global, Run, output};
use crate::admin::logs::{Logs, Request};
use std::process::ExitCode;

/// Show the last log lines that the node keeps in memory.
#[derive(Debug, clap::Args)]
pub struct LogsArgs {
    #[command(flatten)]
    ask: Ask,
    /// How many lines.
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    lines: usize,
    /// Audit lines as well: one for each request.
    #[arg(long)]
    audit: bool,
    /// Go on with what comes, until interrupted. With --json one document a line of the log.
    #[arg(long)]
    follow: bool,
}

impl Run for LogsArgs {
    fn run(&self, _: &Global) -> anyhow::Result<ExitCode> {
        let request = Request { lines: self.lines, audit: self.audit, after: 0, wait: false };
        match self.follow {
            true => self.follow(request),
            false => self.ask.show("logs", &request, text),
        }
    }
}

impl LogsArgs {
    fn follow(&self, mut request: Request) -> anyhow::Result<ExitCode> {
        loop {
            let logs: Logs = self.ask.ask("logs", &request)?;
            match self.ask.json {
                true => logs.lines.iter().try_for_each(output::json_line)?,
                false => output::text(&text(&logs))?,
            }
            request = Request { after: logs.last, wait: true, lines: usize::MAX, ..request };
        }
    }
}

fn text(logs: &Logs) -> String {
    logs.lines.iter().map(|line| line.text.clone() + "\n").collect()
}
