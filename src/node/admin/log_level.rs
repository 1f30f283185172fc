//! What is logged: looked at, or changed until the next start or reload.

use super::Fault;
use crate::node::Node;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// `debug`, or `warn,audit=info`.
    #[serde(default)]
    pub set: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LogLevel {
    pub filter: String,
}

pub async fn answer(node: Arc<Node>, request: Request) -> Result<LogLevel, Fault> {
    if let Some(filter) = request.set {
        node.log.set_filter(&filter).map_err(|why| Fault::bad_request(format!("\"{filter}\": {why}")))?;
        tracing::info!(filter, "what is logged was changed");
    }
    Ok(LogLevel { filter: node.log.filter() })
}
