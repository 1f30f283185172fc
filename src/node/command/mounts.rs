//! `s3-orchestrator mounts`: which buckets are mounted where, and what they cannot show.

use super::{Ask, Global, Run, words};
use crate::admin::mounts::{Hidden, Mount, Mounts, Request};
use std::fmt::Write as _;
use std::process::ExitCode;

/// Show the mounts of the running node.
#[derive(Debug, clap::Args)]
pub struct MountsArgs {
    /// Also list the keys that they cannot show, with the reason, and count them.
    #[arg(long)]
    hidden: bool,
    #[command(flatten)]
    ask: Ask,
}

impl Run for MountsArgs {
    fn run(&self, _: &Global) -> anyhow::Result<ExitCode> {
        self.ask.show("mounts", &Request { hidden: self.hidden }, text)
    }
}

fn text(mounts: &Mounts) -> String {
    let mut text = table(&mounts.mounts);
    for mount in &mounts.mounts {
        if let Some(found) = &mount.hidden {
            hidden(&mut text, mount, found);
        }
    }
    text
}

/// `status` shows it as well.
pub fn table(mounts: &[Mount]) -> String {
    if mounts.is_empty() {
        return "  nothing is mounted\n".to_owned();
    }
    let row = |mount: &Mount| {
        let mode = if mount.read_only { "read-only" } else { "writable" };
        let lasts = match (mount.leaving, mount.lasting, mount.alive) {
            (true, _, _) => "unmounted, in use",
            (false, true, false) => "gone",
            (false, true, true) => "configured",
            (false, false, _) => "until the node stops",
        };
        let path = mount.path.display().to_string();
        vec![path, source(mount), mode.to_owned(), lasts.to_owned(), mount.open_files.to_string()]
    };
    let rows: Vec<_> = mounts.iter().map(row).collect();
    words::table(&["directory", "bucket", "mode", "lasts", "open files"], &rows)
}

/// The bucket, and where in it the mount begins.
pub fn source(mount: &Mount) -> String {
    match mount.prefix.is_empty() {
        true => mount.bucket.clone(),
        false => format!("{}/{}", mount.bucket, mount.prefix),
    }
}

fn hidden(text: &mut String, mount: &Mount, hidden: &Hidden) {
    let total: u64 = hidden.counts.iter().map(|count| count.keys).sum();
    let more = if hidden.or_more { " or more" } else { "" };
    let counts: Vec<_> =
        hidden.counts.iter().map(|count| format!("{} {}", count.reason, count.keys)).collect();
    // Writing to a String cannot fail.
    let hides = words::count(total, "key");
    let _ = writeln!(text, "\n{} hides {hides}{more}: {}", mount.path.display(), counts.join(", "));
    for key in &hidden.keys {
        let _ = writeln!(text, "  {:8}  {}", key.reason, key.key.escape_debug());
    }
    if total > hidden.keys.len() as u64 {
        text.push_str("  ...\n");
    }
}
