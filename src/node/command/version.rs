//! `s3-orchestrator version`: of this binary.

use super::{Global, Run, output};
use crate::admin::version::Version;
use std::process::ExitCode;

/// Print the version of this binary.
#[derive(Debug, clap::Args)]
pub struct VersionArgs {
    /// One JSON document instead of text.
    #[arg(long)]
    json: bool,
}

impl Run for VersionArgs {
    fn run(&self, _: &Global) -> anyhow::Result<ExitCode> {
        let version = Version::of_this_binary();
        match self.json {
            true => output::json(&version)?,
            false => output::text(&format!("s3-orchestrator {}\n", version.version))?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
