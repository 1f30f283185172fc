//! `s3-orchestrator import`: what lies on a backend becomes objects of a bucket.

use super::{Ask, Global, Run, report};
use crate::admin::reconcile::{Ordered, Request};
use std::process::ExitCode;

/// Adopt what lies on a backend as objects of a bucket, without moving a byte.
///
/// Names become keys; size, ETag, time and headers are kept as far as the backend has them. A key that
/// has an object keeps it, and what this node wrote itself is left alone, so it can be run again at any
/// time. From then on the bytes are the node's: deleting the object deletes them. Where a backend has
/// no ETag of S3's form (files have none), one is made that ends in "-1", so that nobody takes it for
/// an MD5. Until a scrub or a further copy has read the bytes once they have no checksums, and a read
/// only holds their size against the record. It goes on in the background if this command is
/// interrupted; `jobs` shows it.
#[derive(Debug, clap::Args)]
pub struct ImportArgs {
    /// The backend's name in the configuration.
    backend: String,
    /// The bucket whose objects they become.
    bucket: String,
    /// Only names that begin so.
    #[arg(long, value_name = "PREFIX", default_value = "")]
    prefix: String,
    /// Change nothing: only say what would be adopted.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    ask: Ask,
}

impl Run for ImportArgs {
    fn run(&self, _: &Global) -> anyhow::Result<ExitCode> {
        let request = Request {
            backend: self.backend.clone(),
            prefix: self.prefix.clone(),
            bucket: Some(self.bucket.clone()),
            clean: false,
            dry_run: self.dry_run,
            import: true,
        };
        let ordered: Ordered = self.ask.ask("reconcile", &request)?;
        report::follow(&self.ask, &ordered.job, &["missing", "different"])
    }
}
