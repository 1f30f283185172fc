//! Reads the configuration anew and puts it into force.

use super::{Fault, FaultCode, Nothing};
use crate::node::Node;
use crate::reload::ReloadError;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;
use store::OrderError;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Reloaded {
    pub configuration: PathBuf,
    /// Settings that are in force now, and were not before.
    pub changed: Vec<String>,
    /// Settings that differ from those in force and take effect at the next start.
    pub needs_restart: Vec<String>,
    pub warnings: Vec<String>,
}

pub async fn answer(node: Arc<Node>, Nothing {}: Nothing) -> Result<Reloaded, Fault> {
    let reloaded = node.reload().await?;
    let configuration = node.config().file.clone();
    let located = reloaded.warnings.iter().map(|warning| warning.in_file(&configuration).to_string());
    let warnings = located.chain(reloaded.notes).collect();
    let (changed, needs_restart) = (reloaded.difference.changed, reloaded.difference.fixed);
    Ok(Reloaded { configuration, changed, needs_restart, warnings })
}

impl From<ReloadError> for Fault {
    fn from(error: ReloadError) -> Self {
        match error {
            ReloadError::Bad(why) => Self::new(FaultCode::BadConfiguration, why.to_string()),
            ReloadError::Store(OrderError::Refused(why)) => Self::new(FaultCode::BadConfiguration, why),
            ReloadError::Store(why) => why.into(),
        }
    }
}
