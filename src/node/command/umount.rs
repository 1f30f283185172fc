//! `s3-orchestrator umount`: a mount's orderly end.

use super::{Ask, Global, Run};
use crate::admin::umount::{Ended, Request};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Have the running node commit what is being written in a mount, and unmount it.
#[derive(Debug, clap::Args)]
pub struct UmountArgs {
    /// The directory that it is mounted on.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    #[command(flatten)]
    ask: Ask,
}

impl Run for UmountArgs {
    fn run(&self, _: &Global) -> anyhow::Result<ExitCode> {
        self.ask.show("umount", &Request { path: place(&self.dir)? }, text)
    }
}

/// Without symbolic links above it, and without a look at the mount itself, which may not answer.
fn place(dir: &Path) -> anyhow::Result<PathBuf> {
    let dir = std::path::absolute(dir)?;
    let (Some(above), Some(name)) = (dir.parent(), dir.file_name()) else { return Ok(dir) };
    Ok(above.canonicalize().map_or_else(|_| dir.clone(), |above| above.join(name)))
}

fn text(ended: &Ended) -> String {
    let path = ended.path.display();
    match ended.in_use {
        false => format!("{path} is unmounted\n"),
        true => format!(
            "{path} is unmounted; files that are still open in it can be used until they are closed\n"
        ),
    }
}
