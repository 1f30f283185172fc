//! `s3-orchestrator reconcile`: whether a backend has what the records say.

use super::{Ask, Global, Run, report};
use crate::admin::reconcile::{Ordered, Request};
use std::process::ExitCode;

/// List a backend and hold what it has against the records.
///
/// Prints what is missing, of another size, ours and named by nobody, or somebody else's. Copies that
/// are missing or different are made anew from others. It goes on in the background if this command is
/// interrupted; `jobs` shows it. Exit code 1 if something is missing or different.
#[derive(Debug, clap::Args)]
pub struct ReconcileArgs {
    /// The backend's name in the configuration.
    backend: String,
    /// Only names that begin so.
    #[arg(long, value_name = "PREFIX", default_value = "")]
    prefix: String,
    /// Make what is somebody else's objects of this bucket, where it lies; as `import`.
    #[arg(long, value_name = "BUCKET")]
    adopt: Option<String>,
    /// Delete bytes that this node wrote, that no record, write or deletion under way names, and that are
    /// older than a day.
    #[arg(long)]
    clean: bool,
    /// Change nothing: only say what would be done.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    ask: Ask,
}

impl Run for ReconcileArgs {
    fn run(&self, _: &Global) -> anyhow::Result<ExitCode> {
        let request = Request {
            backend: self.backend.clone(),
            prefix: self.prefix.clone(),
            bucket: self.adopt.clone(),
            clean: self.clean,
            dry_run: self.dry_run,
            import: false,
        };
        let ordered: Ordered = self.ask.ask("reconcile", &request)?;
        report::follow(&self.ask, &ordered.job, &["missing", "different"])
    }
}
