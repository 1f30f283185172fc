//! Which version runs.

use super::{Fault, Nothing};
use crate::node::Node;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Version {
    pub name: String,
    pub version: String,
    /// Of the processor and system that it was built for.
    pub target: String,
}

impl Version {
    pub fn of_this_binary() -> Self {
        Self {
            name: "s3-orchestrator".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            target: format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
        }
    }
}

pub async fn answer(_: Arc<Node>, Nothing {}: Nothing) -> Result<Version, Fault> {
    Ok(Version::of_this_binary())
}
