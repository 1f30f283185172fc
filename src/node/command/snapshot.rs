//! `s3-orchestrator snapshot`: a copy of the records on backends.

use super::{Ask, Global, Run, report, words};
use crate::admin::snapshot::{Request, Snapshots};
use std::fmt::Write as _;
use std::process::ExitCode;

/// Copy the records of the node to backends, or list such copies.
///
/// From a snapshot and what lies on the backends, `restore` builds the node anew when its data directory is
/// lost. What a backend has of earlier snapshots is not sent again; the newest ones are kept. It goes on in
/// the background if this command is interrupted. Exit code 1 if it did not come to every backend.
#[derive(Debug, clap::Args)]
pub struct SnapshotArgs {
    /// To these backends: by default to those of the configuration, or to all beside the data directory.
    backends: Vec<String>,
    /// List the snapshots that there are, the newest first.
    #[arg(long, conflicts_with = "backends")]
    list: bool,
    #[command(flatten)]
    ask: Ask,
}

impl Run for SnapshotArgs {
    fn run(&self, _: &Global) -> anyhow::Result<ExitCode> {
        if self.list {
            return self.ask.show("snapshot", &Request::List {}, text);
        }
        let request = Request::Now { backends: self.backends.clone() };
        let ordered: Snapshots = self.ask.ask("snapshot", &request)?;
        report::follow(&self.ask, &ordered.job.unwrap_or_default(), &["failed"])
    }
}

fn text(found: &Snapshots) -> String {
    let mut text = String::new();
    for (backend, why) in &found.silent {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{backend} could not be asked: {why}");
    }
    let row = |snapshot: &crate::admin::snapshot::Snapshot| {
        let state = if snapshot.whole { "" } else { "not whole" };
        let size = words::size(snapshot.bytes);
        [&snapshot.id, &snapshot.taken, &snapshot.backend, &size, state].map(str::to_owned).to_vec()
    };
    let rows: Vec<_> = found.snapshots.iter().map(row).collect();
    match rows.is_empty() {
        true => text.push_str("no snapshots\n"),
        false => text.push_str(&words::table(&["snapshot", "taken", "backend", "size", ""], &rows)),
    }
    text
}
