//! A snapshot now, instead of when it is due.

use super::{Doing, Kind, Step, Work};
use crate::command::words;
use crate::node::Node;
use crate::reports::{Line, Tally};
use serde::{Deserialize, Serialize};
use store::{JobRecord, OrderError, SnapshotSent, Snapshotting, StoreError};

pub const SNAPSHOT: Kind = Kind {
    name: "snapshot",
    about: "copies the records to backends now",
    work: |record| {
        let order = serde_json::from_str(&record.order);
        let order = order.map_err(|error| format!("its order cannot be read: {error}"))?;
        Ok(Box::new(Snapshot { order, running: None, tally: Tally::default() }))
    },
};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    pub backends: Vec<String>,
    pub keep: usize,
}

struct Snapshot {
    order: Order,
    running: Option<Snapshotting>,
    tally: Tally,
}

impl Work for Snapshot {
    fn step<'a>(&'a mut self, node: &'a Node, record: &'a mut JobRecord) -> Doing<'a, Step> {
        Box::pin(self.go(node, record))
    }
}

impl Snapshot {
    async fn go(&mut self, node: &Node, record: &mut JobRecord) -> Result<Step, StoreError> {
        let Some(running) = &mut self.running else {
            let order = store::SnapshotOrder { backends: self.order.backends.clone(), keep: self.order.keep };
            match node.store.snapshot(&order).await {
                Ok(begun) => self.running = Some(begun),
                Err(OrderError::Store(error)) => return Err(error),
                Err(refusal) => return Ok(Step::Failed(refusal.to_string())),
            }
            return Ok(Step::More);
        };
        let Some(step) = running.step().await? else {
            let failed = self.tally.get("failed") > 0;
            return Ok(if failed { Step::Failed(self.tally.words()) } else { Step::Done });
        };
        record.progress.bytes += step.sent_bytes;
        if let Some(sent) = step.ended {
            record.progress.items += 1;
            self.tally.add(if sent.error.is_none() { "stored" } else { "failed" }, 1);
            self.tally.add("sent bytes", sent.sent_bytes);
            self.tally.add("deleted snapshots", sent.pruned);
            node.reports.tell(&record.name(), &self.tally, vec![line(&sent)]);
        }
        record.message = self.tally.words();
        Ok(Step::More)
    }
}

fn line(sent: &SnapshotSent) -> Line {
    let what = if sent.error.is_none() { "stored" } else { "failed" };
    let note = match &sent.error {
        Some(error) => error.clone(),
        None => {
            let (files, bytes) = (sent.sent_files, words::size(sent.sent_bytes));
            format!("{files} of {} files sent, {bytes}; {} older deleted", sent.files, sent.pruned)
        }
    };
    let location = format!("snapshot {} on {}", sent.id, sent.backend);
    Line { what: what.to_owned(), location, bytes: sent.bytes, note }
}
