//! Bytes and objects of each bucket and backend.

use super::{Fault, Nothing};
use crate::node::Node;
use crate::usage::{self, Account};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Usage {
    pub buckets: Vec<Account>,
    pub backends: Vec<Account>,
}

pub async fn answer(node: Arc<Node>, Nothing {}: Nothing) -> Result<Usage, Fault> {
    Ok(Usage { buckets: usage::buckets(&node), backends: usage::backends(&node) })
}
