//! `s3-orchestrator reload`: the configuration anew.

use super::{Ask, Global, Run};
use crate::admin::Nothing;
use crate::admin::reload::Reloaded;
use std::fmt::Write as _;
use std::process::ExitCode;

/// Have the node read its configuration anew, without dropping a connection.
///
/// A file with a mistake changes nothing. What only a start can change is named.
#[derive(Debug, clap::Args)]
pub struct ReloadArgs {
    #[command(flatten)]
    ask: Ask,
}

impl Run for ReloadArgs {
    fn run(&self, _: &Global) -> anyhow::Result<ExitCode> {
        self.ask.show("reload", &Nothing {}, text)
    }
}

fn text(reloaded: &Reloaded) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    for warning in &reloaded.warnings {
        let _ = writeln!(text, "{warning}");
    }
    for setting in &reloaded.changed {
        let _ = writeln!(text, "changed: {setting}");
    }
    for setting in &reloaded.needs_restart {
        let _ = writeln!(text, "takes effect at the next start: {setting}");
    }
    let _ = writeln!(text, "{}: in force", reloaded.configuration.display());
    text
}
