//! `s3-orchestrator logs`: the last lines of the log.

use super::{Ask, Global, Run, output};
use crate::admin::logs::{Logs, Request};
use serde_json::Value;
use std::fmt::Write as _;
use std::process::ExitCode;

/// Show the last log lines that the node keeps in memory, for people; with --json as the node wrote them.
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
    logs.lines.iter().map(|line| readable(&line.text) + "\n").collect()
}

/// A line that the node wrote for machines, for people: `TIME LEVEL words name=value`. Others as they are.
fn readable(line: &str) -> String {
    let Ok(Value::Object(mut fields)) = serde_json::from_str(line) else { return line.to_owned() };
    let mut take = |name: &str| fields.remove(name).map_or(String::new(), |value| bare(&value));
    let (time, level, words, target) = (take("timestamp"), take("level"), take("message"), take("target"));
    // An audit line has no words.
    let words = if words.is_empty() { target } else { words };
    let mut text = format!("{time} {level:<5} {words}");
    for (name, value) in fields {
        // Writing to a String cannot fail.
        let _ = write!(text, " {name}={}", bare(&value));
    }
    text
}

/// Without quotes where nothing needs them.
fn bare(value: &Value) -> String {
    match value {
        Value::String(text) if !text.contains(['"', '=', '\n', '\\']) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_for_machines_are_shown_to_people() {
        let line =
            r#"{"timestamp":"T","level":"INFO","message":"ended","job":"a/b","why":"x = 1","target":"t"}"#;
        assert_eq!(readable(line), r#"T INFO  ended job=a/b why="x = 1""#);
        let audit =
            r#"{"timestamp":"T","level":"INFO","operation":"GetObject","status":200,"target":"audit"}"#;
        assert_eq!(readable(audit), "T INFO  audit operation=GetObject status=200");
        assert_eq!(readable("T INFO as it is"), "T INFO as it is");
    }
}
