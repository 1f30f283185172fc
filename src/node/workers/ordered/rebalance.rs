//! Moving replicas to where placement would put them now, a bounded number a step.

use super::{Doing, Kind, Step, Work};
use crate::node::Node;
use serde::{Deserialize, Serialize};
use store::{JobRecord, Placement, Rebalance, StoreError};
use types::BlobId;

pub const REBALANCE: Kind = Kind {
    name: "rebalance",
    about: "moves objects to where placement would put them now",
    work: |record| {
        let order: Order = serde_json::from_str(&record.order).map_err(|error| error.to_string())?;
        Ok(Box::new(Moves { asked: order.into(), planned: false }))
    },
};

/// As it stands in the job's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    pub strategy: Strategy,
    pub threshold_percent: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Strategy {
    /// Fill backends in the order of the configuration.
    Pack,
    /// Fill all backends alike.
    Spread,
}

impl From<Order> for Rebalance {
    fn from(order: Order) -> Self {
        let strategy = match order.strategy {
            Strategy::Pack => Placement::Pack,
            Strategy::Spread => Placement::Spread,
        };
        Self { strategy, threshold_percent: order.threshold_percent }
    }
}

struct Moves {
    asked: Rebalance,
    /// What is to be done was counted.
    planned: bool,
}

impl Work for Moves {
    fn step<'a>(&'a mut self, node: &'a Node, record: &'a mut JobRecord) -> Doing<'a, Step> {
        Box::pin(self.go_on(node, record))
    }

    /// A move that was broken off in the middle leaves a copy too many, which the walk finds.
    fn undo<'a>(&'a mut self, node: &'a Node, _: &'a mut JobRecord) -> Doing<'a, ()> {
        Box::pin(node.store.walk_again())
    }
}

impl Moves {
    async fn go_on(&mut self, node: &Node, record: &mut JobRecord) -> Result<Step, StoreError> {
        if !self.planned {
            let plan = node.store.plan_rebalance(self.asked).await?;
            let progress = &mut record.progress;
            progress.total_items = Some(progress.items + plan.objects);
            progress.total_bytes = Some(progress.bytes + plan.bytes);
            self.planned = true;
            return Ok(Step::More);
        }
        let after = <[u8; 8]>::try_from(&*record.cursor).ok().map(|id| BlobId(u64::from_be_bytes(id)));
        let moved = node.store.rebalance_step(self.asked, after).await?;
        let progress = &mut record.progress;
        (progress.items, progress.bytes) = (progress.items + moved.objects, progress.bytes + moved.bytes);
        if let Some(trouble) = moved.trouble {
            let failed = moved.failed;
            record.message = format!("{failed} of the last moves could not be made: {trouble}");
        }
        if let Some(next) = moved.next {
            record.cursor = next.0.to_be_bytes().to_vec();
            return Ok(Step::More);
        }
        // What was planned and is gone, or moved by itself, is not left to do.
        (progress.total_items, progress.total_bytes) = (Some(progress.items), Some(progress.bytes));
        node.store.walk_again().await?;
        Ok(Step::Done)
    }
}
