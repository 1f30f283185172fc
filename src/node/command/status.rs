//! `s3-orchestrator status`: one screen.

use super::{Ask, Global, Run, mounts, usage, words};
use crate::admin::Nothing;
use crate::admin::status::{Health, Queue, Status};
use crate::backends::Backend;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

/// Show how the node is, what is wrong first: exit code 1 if something does not work.
///
/// Then health, room, queues, buckets, backends and mounts.
#[derive(Debug, clap::Args)]
pub struct StatusArgs {
    #[command(flatten)]
    ask: Ask,
}

impl Run for StatusArgs {
    fn run(&self, _: &Global) -> anyhow::Result<ExitCode> {
        let status: Status = self.ask.ask("status", &Nothing {})?;
        self.ask.print(&status, text)?;
        Ok(if status.health == Health::Bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

fn text(status: &Status) -> String {
    let mut text = String::new();
    for finding in &status.findings {
        text.push_str(&finding.text());
    }
    let health = match status.health {
        Health::Good => "healthy",
        Health::Warning => "working",
        Health::Bad => "in trouble",
    };
    let uptime = words::duration(Duration::from_secs(status.uptime_seconds));
    let disk = &status.disk;
    // Writing to a String cannot fail.
    let _ = writeln!(text, "s3-orchestrator {}: {health}, up {uptime}", status.version);
    let _ = writeln!(text, "  endpoint       {}", status.endpoint);
    let _ = writeln!(text, "  configuration  {}", status.configuration.display());
    let _ = writeln!(text, "  data           {}", status.data_dir.display());
    let (room, size) = (words::size(disk.room_bytes), words::size(disk.size_bytes));
    let _ = writeln!(text, "  room           {room} of {size}");
    let queues: Vec<_> = status.queues.iter().map(queue).collect();
    let _ = writeln!(text, "  queues         {}", queues.join(", "));
    if let Some(taken) = &status.last_snapshot {
        let _ = writeln!(text, "  last snapshot  {taken}");
    }
    let _ = write!(text, "\nBuckets:\n{}", usage::accounts(&status.buckets));
    let states = status.backend_conditions.iter().map(state).collect();
    let _ = write!(text, "\nBackends:\n{}", usage::table(&status.backends, Some(("state", states))));
    if !status.mounts.is_empty() {
        let _ = write!(text, "\nMounts:\n{}", mounts::table(&status.mounts));
    }
    text
}

fn state(backend: &Backend) -> String {
    match backend.down_seconds {
        Some(down) if !backend.answers() => {
            format!("{}, fails for {}", backend.state, words::duration(Duration::from_secs(down)))
        }
        _ => backend.state.clone(),
    }
}

fn queue(queue: &Queue) -> String {
    let more = if queue.or_more { "+" } else { "" };
    format!("{} {}{more}", queue.name, queue.waiting)
}
