//! Looking for objects that cannot be read any more, and giving them up.

use super::reconcile::Ordered;
use super::{Fault, report};
use crate::node::Node;
use crate::workers::ordered::{LOST, LostOrder};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

const ALL: &str = "all";

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// What is lost is deleted.
    pub forget: bool,
}

pub async fn answer(node: Arc<Node>, request: Request) -> Result<Ordered, Fault> {
    let Request { forget } = request;
    let order = serde_json::to_string(&LostOrder { forget }).unwrap_or_default();
    Ok(Ordered { job: report::begin(&node, &LOST, ALL, &order).await? })
}
