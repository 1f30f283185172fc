//! `s3-orchestrator rebalance`: moves objects between backends.

use super::{Ask, Global, Run, jobs, output, words};
use crate::admin::rebalance::{Rebalancing, Request, Share};
use crate::workers::ordered::Strategy;
use std::process::ExitCode;

/// Move objects to where placement would put them now, while the node serves.
///
/// Each is copied, read back, and then taken away where it was. Objects that lie with the records stay
/// there. It goes on in the background, over restarts; `jobs` shows how far it is, holds it and breaks
/// it off.
#[derive(Debug, clap::Args)]
pub struct RebalanceArgs {
    /// "pack" fills backends in the order of the configuration; "spread" fills all alike, by quota, or
    /// by bytes where there is none.
    #[arg(long, value_enum, default_value = "spread")]
    strategy: Strategy,
    /// In per cent. With "spread": how far apart two backends may be before something moves. With
    /// "pack": how much of each quota stays free.
    #[arg(long, value_name = "PERCENT", default_value_t = 5, value_parser = clap::value_parser!(u8).range(0..=100))]
    threshold: u8,
    /// Show what would be moved, with its calls.
    #[arg(long, conflicts_with = "watch")]
    dry_run: bool,
    /// Show how far it is until it has ended; exit code 1 if it is not done then.
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    ask: Ask,
}

impl Run for RebalanceArgs {
    fn run(&self, _: &Global) -> anyhow::Result<ExitCode> {
        let request =
            Request { strategy: self.strategy, threshold_percent: self.threshold, dry_run: self.dry_run };
        if !self.watch {
            return self.ask.show("rebalance", &request, text);
        }
        let begun: Rebalancing = self.ask.ask("rebalance", &request)?;
        if !self.ask.json {
            output::text(&text(&begun))?;
        }
        jobs::watch(&self.ask, begun.job.as_deref().unwrap_or("rebalance"))
    }
}

fn text(plan: &Rebalancing) -> String {
    let rows: Vec<_> = plan.backends.iter().map(row).collect();
    let head = ["backend", "before", "after", "in", "objects in", "out", "objects out", "calls"];
    let (objects, bytes) = (words::count(plan.objects, "object"), words::size(plan.bytes));
    let verb = if plan.job.is_some() { "are moved; `jobs` shows how far it is" } else { "would be moved" };
    format!("{}{objects} with {bytes} {verb}\n", words::table(&head, &rows))
}

fn row(share: &Share) -> Vec<String> {
    vec![
        share.name.clone(),
        words::size(share.bytes_before),
        words::size(share.bytes_after),
        words::size(share.bytes_in),
        share.objects_in.to_string(),
        words::size(share.bytes_out),
        share.objects_out.to_string(),
        share.calls.to_string(),
    ]
}
