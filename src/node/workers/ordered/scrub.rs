//! Every copy verified now, instead of within the period.

use super::{Doing, Kind, Step, Work};
use crate::node::Node;
use crate::reports::{Line, Tally};
use crate::workers::scrub::tell;
use serde::{Deserialize, Serialize};
use store::{BadReplica, JobRecord, Pace, ScrubDue, ScrubOrder, StoreError};

pub const SCRUB: Kind = Kind {
    name: "scrub",
    about: "verifies every copy now",
    work: |record| {
        let order = serde_json::from_str(&record.order);
        let order = order.map_err(|error| format!("its order cannot be read: {error}"))?;
        Ok(Box::new(Scrub { order, due: None, pace: None, tally: Tally::default(), moved: false }))
    },
};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    /// `None`: on all.
    pub backend: Option<String>,
}

struct Scrub {
    order: Order,
    due: Option<ScrubDue>,
    pace: Option<Pace>,
    tally: Tally,
    /// Something of what was chosen last could be read.
    moved: bool,
}

impl Work for Scrub {
    fn step<'a>(&'a mut self, node: &'a Node, record: &'a mut JobRecord) -> Doing<'a, Step> {
        Box::pin(self.go(node, record))
    }
}

impl Scrub {
    async fn go(&mut self, node: &Node, record: &mut JobRecord) -> Result<Step, StoreError> {
        let rate = node.config().scrub.bytes_per_second;
        let pace = self.pace.get_or_insert_with(|| Pace::new(Some(rate)));
        let Some(due) = self.due.as_mut().filter(|due| !due.is_done()) else {
            return self.choose(node, record).await;
        };
        let step = node.store.scrub_step(due, pace).await?;
        self.moved |= step.verified + step.bad.len() as u64 > 0;
        self.tally.add("verified", step.verified);
        self.tally.add("verified bytes", step.bytes);
        self.tally.add("bad", step.bad.len() as u64);
        node.reports.tell(&record.name(), &self.tally, step.bad.iter().map(line).collect());
        tell(node, &step.bad).await;
        record.progress.items += step.verified + step.bad.len() as u64;
        record.progress.bytes += step.bytes;
        record.message = self.tally.words();
        Ok(Step::More)
    }

    /// What was not verified since the order; after a restart that is what is left of it.
    async fn choose(&mut self, node: &Node, record: &mut JobRecord) -> Result<Step, StoreError> {
        let order = ScrubOrder { backend: self.order.backend.clone(), before: record.started, remote: true };
        let due = node.store.scrub_due(&order).await?;
        let stuck = self.due.is_some() && !self.moved;
        if due.replicas == 0 || stuck {
            self.tally.add("unread", due.replicas);
            node.reports.tell(&record.name(), &self.tally, Vec::new());
            record.message = self.tally.words();
            return Ok(Step::Done);
        }
        record.progress.total_items = Some(record.progress.items + due.replicas);
        record.progress.total_bytes = Some(record.progress.bytes + due.bytes);
        (self.due, self.moved) = (Some(due), false);
        Ok(Step::More)
    }
}

fn line(bad: &BadReplica) -> Line {
    let BadReplica { blob, backend, place, why, replaceable } = bad;
    let fate = if *replaceable { "made anew" } else { "no good copy is left" };
    let note = format!("blob {blob} on {backend}: {why}; {fate}");
    Line { what: "bad".to_owned(), location: place.clone(), bytes: 0, note }
}
