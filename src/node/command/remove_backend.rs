//! `s3-orchestrator remove-backend`: takes an empty or lost backend out.

use super::{Ask, Global, Run, words};
use crate::admin::remove_backend::{Removal, Request};
use std::fmt::Write as _;
use std::process::ExitCode;

/// Take a backend out that is empty, so that its section can leave the configuration.
///
/// Refused while it holds anything: `drain` empties it.
#[derive(Debug, clap::Args)]
pub struct RemoveBackendArgs {
    /// The backend's name in the configuration, or the one that it had there.
    backend: String,
    /// It is gone for good with what it held: forget what has another good copy. Objects that have
    /// none are listed and stay on record, and the exit code is 1: `lost --forget` gives them up, then
    /// call it again.
    #[arg(long)]
    lost: bool,
    #[command(flatten)]
    ask: Ask,
}

impl Run for RemoveBackendArgs {
    fn run(&self, _: &Global) -> anyhow::Result<ExitCode> {
        let request = Request { backend: self.backend.clone(), lost: self.lost };
        let removal: Removal = self.ask.ask("remove-backend", &request)?;
        self.ask.print(&removal, text)?;
        Ok(if removal.removed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn text(removal: &Removal) -> String {
    let name = &removal.backend;
    let mut text = String::new();
    // Writing to a String cannot fail.
    if removal.forgotten > 0 {
        let count = words::count(removal.forgotten, "copy");
        let _ = writeln!(text, "{count} on {name} forgotten: there are others");
    }
    for lost in &removal.lost {
        let _ = writeln!(text, "lost: {}/{}, {}", lost.bucket, lost.key, words::size(lost.bytes));
    }
    if removal.removed {
        let _ = writeln!(text, "{name} is out: its section can be deleted from the configuration");
    } else {
        let blobs = words::count(removal.only_copies, "blob");
        let _ = writeln!(
            text,
            "{blobs} had their only good copy on {name}; nothing was forgotten of them: `lost` shows what \
             that means, `lost --forget` gives it up"
        );
    }
    text
}
