//! `s3-orchestrator log-level`: what is logged, now.

use super::{Ask, Global, Run};
use crate::admin::log_level::{LogLevel, Request};
use std::process::ExitCode;

/// Show what is logged, or change it until the next start or reload.
#[derive(Debug, clap::Args)]
pub struct LogLevelArgs {
    /// error, warn, info, debug or trace; or by part, as in warn,audit=info.
    level: Option<String>,
    #[command(flatten)]
    ask: Ask,
}

impl Run for LogLevelArgs {
    fn run(&self, _: &Global) -> anyhow::Result<ExitCode> {
        let request = Request { set: self.level.clone() };
        self.ask.show("log-level", &request, |answer: &LogLevel| answer.filter.clone() + "\n")
    }
}
