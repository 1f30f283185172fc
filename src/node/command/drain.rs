//! `s3-orchestrator drain`: empties a backend.

use super::{Ask, Global, Run, jobs, words};
use crate::admin::drain::{Drain, Request};
use std::fmt::Write as _;
use std::process::ExitCode;

/// Move everything from a backend to the others, while the node serves.
///
/// Nothing new is written there from now on, also after a restart. It goes on in the background until
/// the ledger says that nothing is left; `jobs` shows how far it is and holds it.
#[derive(Debug, clap::Args)]
pub struct DrainArgs {
    /// The backend's name in the configuration.
    backend: String,
    /// Break it off: the backend takes writes again. Also puts one back into use that is empty or was
    /// taken out.
    #[arg(long, conflicts_with = "watch")]
    cancel: bool,
    /// Show how far it is until it has ended; exit code 1 if it is not done then. One that is under
    /// way already is only shown.
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    ask: Ask,
}

impl Run for DrainArgs {
    fn run(&self, _: &Global) -> anyhow::Result<ExitCode> {
        let request = Request { backend: self.backend.clone(), cancel: self.cancel };
        if !self.watch {
            return self.ask.show("drain", &request, text);
        }
        let name = format!("drain/{}", self.backend);
        if !jobs::is_under_way(&self.ask, &name)? {
            let begun: Drain = self.ask.ask("drain", &request)?;
            if !self.ask.json {
                super::output::text(&text(&begun))?;
            }
        }
        jobs::watch(&self.ask, &name)
    }
}

fn text(drain: &Drain) -> String {
    let (name, bytes) = (&drain.backend, words::size(drain.bytes));
    let blobs = words::count(drain.objects, "blob");
    if !drain.draining {
        return format!("{name} takes writes again; it holds {bytes} in {blobs}\n");
    }
    let mut text = format!("{name} is being emptied of {bytes} in {blobs}; `jobs` shows how far it is\n");
    if let Some(room) = drain.room_bytes.filter(|room| *room < drain.bytes) {
        let room = words::size(room);
        // Writing to a String cannot fail.
        let _ = writeln!(text, "warning: the quotas of the other backends leave {room}: it may not end");
    }
    text
}
