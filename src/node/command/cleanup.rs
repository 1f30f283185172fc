//! `s3-orchestrator cleanup`: what waits to be deleted.

use super::{Ask, Global, Run, words};
use crate::admin::cleanup::{Cleanup, Request};
use std::fmt::Write as _;
use std::process::ExitCode;

/// Show the cleanup queue, or empty it now instead of when its worker comes to it.
#[derive(Debug, clap::Args)]
pub struct CleanupArgs {
    #[command(flatten)]
    ask: Ask,
    /// Delete what nobody refers to and nobody reads, pass by pass, until nothing is left.
    #[arg(long, conflicts_with = "dry_run")]
    run: bool,
    /// List what would be deleted.
    #[arg(long)]
    dry_run: bool,
}

impl Run for CleanupArgs {
    fn run(&self, _: &Global) -> anyhow::Result<ExitCode> {
        match (self.run, self.dry_run) {
            (true, _) => self.empty(),
            (_, true) => self.ask.show("cleanup", &Request::DryRun {}, text),
            _ => self.ask.show("cleanup", &Request::Look {}, text),
        }
    }
}

impl CleanupArgs {
    /// Each pass is short, so that the node never works for one question for long.
    fn empty(&self) -> anyhow::Result<ExitCode> {
        let mut deleted = 0;
        loop {
            let mut answer: Cleanup = self.ask.ask("cleanup", &Request::Run {})?;
            deleted += answer.deleted;
            if answer.deleted == 0 || answer.waiting == 0 {
                answer.deleted = deleted;
                self.ask.print(&answer, text)?;
                return Ok(ExitCode::SUCCESS);
            }
        }
    }
}

fn text(cleanup: &Cleanup) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    for blob in &cleanup.blobs {
        let stray = if blob.stray { ", of an unfinished write" } else { "" };
        let held = if blob.held { ", still read" } else { "" };
        let _ = writeln!(text, "blob {}, {}{stray}{held}", blob.id, words::size(blob.bytes));
    }
    if cleanup.deleted > 0 {
        let _ = writeln!(text, "{} deleted", words::count(cleanup.deleted, "blob"));
    }
    let more = if cleanup.or_more { " or more" } else { "" };
    let size = words::size(cleanup.waiting_bytes);
    let _ = writeln!(text, "{}{more} waiting, {size}", words::count(cleanup.waiting, "blob"));
    if cleanup.held > 0 {
        let _ = writeln!(text, "{} still read, and deleted afterwards", cleanup.held);
    }
    if cleanup.paused {
        text.push_str("the worker is paused: s3-orchestrator jobs resume cleanup\n");
    }
    text
}
