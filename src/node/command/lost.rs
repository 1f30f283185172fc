//! `s3-orchestrator lost`: objects of which no copy can be read any more.

use super::{Ask, Global, Run, output, report};
use crate::admin::lost::Request;
use crate::admin::reconcile::Ordered;
use std::process::ExitCode;

/// List objects of which every copy is damaged, missing, or on a backend that was taken out.
///
/// Each such copy is read once more before its object is called lost; an object with a copy that cannot be looked
/// at now is called unjudged. It goes on in the background if this command is interrupted. Exit code 1 if an
/// object is lost or could not be judged.
#[derive(Debug, clap::Args)]
pub struct LostArgs {
    /// Delete the objects that are lost. What has a copy that cannot be looked at now stays.
    #[arg(long)]
    forget: bool,
    #[command(flatten)]
    ask: Ask,
}

impl Run for LostArgs {
    fn run(&self, _: &Global) -> anyhow::Result<ExitCode> {
        let ordered: Ordered = self.ask.ask("lost", &Request { forget: self.forget })?;
        let code = report::follow(&self.ask, &ordered.job, &["lost", "unjudged"])?;
        if code == ExitCode::SUCCESS && !self.ask.json {
            output::text("none is lost\n")?;
        }
        Ok(code)
    }
}
