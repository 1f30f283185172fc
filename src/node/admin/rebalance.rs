//! Moving objects to where placement would put them now: the plan, or the order.

use super::Fault;
use crate::node::Node;
use crate::workers::ordered::{self, REBALANCE, RebalanceOrder, Strategy};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub strategy: Strategy,
    pub threshold_percent: u8,
    pub dry_run: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Rebalancing {
    /// What `jobs` calls it; nothing of a dry run.
    pub job: Option<String>,
    pub objects: u64,
    pub bytes: u64,
    /// In the order of the configuration.
    pub backends: Vec<Share>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Share {
    pub name: String,
    pub quota_bytes: Option<u64>,
    pub bytes_before: u64,
    pub bytes_after: u64,
    pub objects_in: u64,
    pub objects_out: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Reads, writes and deletions.
    pub calls: u64,
}

pub async fn answer(node: Arc<Node>, request: Request) -> Result<Rebalancing, Fault> {
    let Request { strategy, threshold_percent, dry_run } = request;
    if threshold_percent > 100 {
        return Err(Fault::bad_request("the threshold is a number of per cent"));
    }
    let order = RebalanceOrder { strategy, threshold_percent };
    let plan = node.store.plan_rebalance(order.into()).await?;
    let job = match dry_run {
        true => None,
        false => Some(begin(&node, order).await?),
    };
    let backends = plan.backends.into_iter().map(Share::from).collect();
    Ok(Rebalancing { job, objects: plan.objects, bytes: plan.bytes, backends })
}

async fn begin(node: &Node, order: RebalanceOrder) -> Result<String, Fault> {
    let order = serde_json::to_string(&order).map_err(|error| Fault::failed(error.to_string()))?;
    match ordered::begin(node, &REBALANCE, "", &order).await? {
        Some(job) => Ok(job.name().to_owned()),
        None => Err(Fault::conflict("a rebalancing is under way: `jobs` shows how far it is")),
    }
}

impl From<store::PlannedBackend> for Share {
    fn from(planned: store::PlannedBackend) -> Self {
        let store::PlannedBackend {
            name,
            quota,
            bytes_before,
            bytes_after,
            objects_in,
            objects_out,
            bytes_in,
            bytes_out,
            calls,
        } = planned;
        Self {
            name,
            quota_bytes: quota,
            bytes_before,
            bytes_after,
            objects_in,
            objects_out,
            bytes_in,
            bytes_out,
            calls,
        }
    }
}
