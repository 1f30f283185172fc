//! What is logged: looked at, or changed until the next start or reload.

use super::Fault;
use crate::node::Node;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

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
        if let Some(word) = no_level(&filter) {
            let message = format!(
                "\"{word}\" is no level: error, warn, info, debug or trace; of a part as in audit=info"
            );
            return Err(Fault::bad_request(message));
        }
        node.log.set_filter(&filter).map_err(|why| Fault::bad_request(format!("\"{filter}\": {why}")))?;
        tracing::info!(filter, "what is logged was changed");
    }
    Ok(LogLevel { filter: node.log.filter() })
}

/// A word alone that is no level. As a filter it would be a part of that name, and hide everything else.
fn no_level(filter: &str) -> Option<&str> {
    let level = |word: &str| LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word));
    filter.split(',').map(str::trim).find(|word| !word.contains('=') && !level(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_not_taken_for_parts() {
        assert_eq!(no_level("debgu"), Some("debgu"));
        assert_eq!(no_level("warn,audit"), Some("audit"));
        assert_eq!(no_level("WARN,audit=info,store=debug"), None);
    }
}
