//! A walk over all objects for those that cannot be read any more.

use super::{Doing, Kind, Step, Work};
use crate::node::Node;
use crate::reports::{Line, Tally};
use serde::{Deserialize, Serialize};
use store::{Fate, JobRecord, StoreError, Unreadable};
use types::BucketId;

pub const LOST: Kind = Kind {
    name: "lost",
    about: "looks for objects of which no copy can be read",
    work: |record| Ok(Box::new(Walk::new(record)?)),
};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    pub forget: bool,
}

/// Where to go on, and what was counted until there.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Reached {
    /// In order of their names; the empty one is before all.
    bucket: String,
    /// `None`: nothing of it was looked at, or all.
    after: Option<String>,
    tally: Tally,
}

struct Walk {
    order: Order,
    reached: Reached,
}

impl Work for Walk {
    fn step<'a>(&'a mut self, node: &'a Node, record: &'a mut JobRecord) -> Doing<'a, Step> {
        Box::pin(self.go(node, record))
    }
}

impl Walk {
    fn new(record: &JobRecord) -> Result<Self, String> {
        let bad = |error: serde_json::Error| format!("its order cannot be read: {error}");
        let order = serde_json::from_str(&record.order).map_err(bad)?;
        let reached = match record.cursor.is_empty() {
            true => Reached::default(),
            false => serde_json::from_slice(&record.cursor).map_err(bad)?,
        };
        Ok(Self { order, reached })
    }

    async fn go(&mut self, node: &Node, record: &mut JobRecord) -> Result<Step, StoreError> {
        let Some((name, bucket)) = self.bucket(node) else {
            node.reports.tell(&record.name(), &self.reached.tally, Vec::new());
            record.message = self.reached.tally.words();
            return Ok(Step::Done);
        };
        let step = node.store.lost_step(bucket, self.reached.after.clone(), self.order.forget).await?;
        let tally = &mut self.reached.tally;
        tally.add("objects", step.seen);
        step.found.iter().for_each(|found| tally.add(word(found.fate), 1));
        let lines = step.found.iter().map(|found| line(&name, found)).collect();
        node.reports.tell(&record.name(), tally, lines);
        record.progress.items += step.seen;
        record.message = tally.words();
        (self.reached.bucket, self.reached.after) = (name, step.next);
        record.cursor = serde_json::to_vec(&self.reached).unwrap_or_default();
        Ok(Step::More)
    }

    /// The one that is being looked at, or the next.
    fn bucket(&self, node: &Node) -> Option<(String, BucketId)> {
        let Reached { bucket, after, .. } = &self.reached;
        let all = node.store.buckets().into_iter().map(|(name, id)| (name.to_string(), id));
        all.filter(|(name, _)| name > bucket || (name == bucket && after.is_some())).min()
    }
}

fn line(bucket: &str, found: &Unreadable) -> Line {
    let location = format!("{bucket}/{}", found.key);
    match found.fate {
        Fate::Unjudged => {}
        fate => tracing::error!(object = location, why = found.why, "an object is {}", word(fate)),
    }
    Line { what: word(found.fate).to_owned(), location, bytes: found.size, note: found.why.clone() }
}

/// Stable, for scripts.
fn word(fate: Fate) -> &'static str {
    match fate {
        Fate::Lost => "lost",
        Fate::Forgotten => "forgotten",
        Fate::Unjudged => "unjudged",
    }
}
