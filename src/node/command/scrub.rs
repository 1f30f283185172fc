//! `s3-orchestrator scrub`: whether the copies are what they should be.

use super::{Ask, Global, Run, report, words};
use crate::admin::scrub::{Request, Scrub};
use std::process::ExitCode;
use std::time::Duration;

/// Show what was verified, or verify every copy now.
///
/// The node verifies every copy within a period by itself, the longest unverified first. One that is
/// missing or damaged is made anew from a good one; the last one is kept.
#[derive(Debug, clap::Args)]
pub struct ScrubArgs {
    /// Only copies on this backend.
    #[arg(requires = "now")]
    backend: Option<String>,
    /// Verify every copy now, at the configured rate, and print what is wrong; exit code 1 if something
    /// is. It goes on in the background if this command is interrupted.
    #[arg(long)]
    now: bool,
    #[command(flatten)]
    ask: Ask,
}

impl Run for ScrubArgs {
    fn run(&self, _: &Global) -> anyhow::Result<ExitCode> {
        if !self.now {
            return self.ask.show("scrub", &Request::Look {}, text);
        }
        let ordered: Scrub = self.ask.ask("scrub", &Request::Now { backend: self.backend.clone() })?;
        report::follow(&self.ask, &ordered.job.unwrap_or_default(), &["bad", "unread"])
    }
}

fn text(scrub: &Scrub) -> String {
    let period = words::duration(Duration::from_secs(scrub.period_seconds));
    let providers = if scrub.providers { "" } else { " that is not at a provider" };
    format!(
        "every copy{providers} is verified once in {period}, at {}/s at most\n\
         since the start: {} verified ({}), {} missing or damaged\n",
        words::size(scrub.bytes_per_second),
        words::count(scrub.verified_copies, "copy"),
        words::size(scrub.verified_bytes),
        scrub.mismatches,
    )
}
