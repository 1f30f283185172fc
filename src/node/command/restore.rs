//! `s3-orchestrator restore`: a node whose data directory is lost, built anew.

use super::{Global, Run, output, words};
use crate::times::rfc3339;
use crate::{config_file, options, telemetry};
use serde_json::json;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use store::{RestoreOptions, Restored};

/// Build a node anew whose data directory is lost, from its configuration and its backends.
///
/// Takes the newest snapshot that a backend has whole, then recovers from the backends what was written after
/// it. No node may run, and nothing that has records is overwritten. Broken off, it is begun anew. Deletes
/// nothing on any backend. Exit code 1 if objects are lost: those whose only bytes were in the data
/// directory.
#[derive(Debug, clap::Args)]
pub struct RestoreArgs {
    /// The configuration; ./s3-orchestrator.toml by default.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// This snapshot instead of the newest one.
    #[arg(long, value_name = "ID")]
    snapshot: Option<String>,
    /// The node to restore, where snapshots of several lie.
    #[arg(long, value_name = "ID")]
    node: Option<String>,
    /// A backend that is gone: what was written there after the snapshot is not looked for. May be given more
    /// than once.
    #[arg(long, value_name = "BACKEND")]
    without: Vec<String>,
    /// Name every object that is lost or was set beside, and all bytes that were left alone.
    #[arg(long)]
    verbose: bool,
    /// One JSON document instead of text.
    #[arg(long)]
    json: bool,
}

impl Run for RestoreArgs {
    fn run(&self, global: &Global) -> anyhow::Result<ExitCode> {
        output::told(self.json, self.work(global))
    }
}

impl RestoreArgs {
    fn work(&self, global: &Global) -> anyhow::Result<ExitCode> {
        let config = config_file::load(&config_file::existing(self.config.as_deref())?)?;
        telemetry::init(global.log, &config.log, None, None)?;
        let what = RestoreOptions {
            snapshot: self.snapshot.clone(),
            node: self.node.clone(),
            without: self.without.clone(),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let restored = runtime.block_on(store::restore(options::of_store(&config), &what))?;
        match self.json {
            true => output::json(&document(&restored))?,
            false => output::text(&text(&restored, self.verbose))?,
        }
        Ok(if restored.lost.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn document(restored: &Restored) -> serde_json::Value {
    json!({
        "snapshot": restored.snapshot,
        "taken": rfc3339(restored.taken),
        "backend": restored.backend,
        "objects": restored.objects,
        "recovered": restored.recovered,
        "set_beside": restored.set_beside,
        "deleted_since": restored.deleted,
        "lost": restored.lost,
        "missing_copies": restored.missing_copies,
        "found_copies": restored.found_copies,
        "left": restored.left,
    })
}

fn text(restored: &Restored, verbose: bool) -> String {
    let Restored { snapshot, backend, set_beside, lost, left, .. } = restored;
    let mut text = String::new();
    for (what, names) in [("lost", lost), ("set beside", set_beside), ("left", left)] {
        for name in names.iter().filter(|_| verbose) {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{what:<10} {name}");
        }
    }
    let taken = rfc3339(restored.taken);
    let _ = writeln!(text, "restored from snapshot {snapshot} of {taken} on {backend}");
    let _ = writeln!(text, "  {}", words::count(restored.objects, "object"));
    let mut line = |count: u64, what: &str| {
        if count > 0 {
            let _ = writeln!(text, "  {count} {what}");
        }
    };
    line(restored.recovered, "of them written after the snapshot");
    line(set_beside.len() as u64, "of them under a name with .restored- (see --verbose)");
    line(restored.deleted, "deleted after the snapshot");
    line(restored.found_copies, "copies made after the snapshot");
    line(restored.missing_copies, "copies missing: made anew from others by the node");
    line(lost.len() as u64, "LOST: their only bytes were in the data directory (see --verbose)");
    line(left.len() as u64, "places on backends left alone (see --verbose)");
    text
}
