//! Whether a node can work here: each check looks at one thing that went wrong somewhere before, and
//! says what to do. A running node is neither needed nor disturbed.

mod backends;
mod configuration;
mod data;
mod fuse;
mod port;
mod system;

use serde::Serialize;
use std::path::Path;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Good,
    /// It matters only to some.
    Note,
    Warning,
    Error,
}

#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// Stable, for scripts.
    pub name: &'static str,
    pub verdict: Verdict,
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Check {
    fn good(name: &'static str, message: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Good, message: message.into(), remedy: None }
    }

    fn bad(
        name: &'static str,
        verdict: Verdict,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { name, verdict, message: message.into(), remedy: Some(remedy.into()) }
    }
}

/// `data_dir` wins over the configuration's.
pub fn examine(file: Option<&Path>, data_dir: Option<&Path>) -> Vec<Check> {
    let (mut checks, config) = configuration::check(file);
    let dir = data_dir.or(config.as_ref().map(|config| config.data_dir.as_path()));
    if let Some(dir) = dir {
        checks.extend(data::check(dir));
        checks.push(system::clock(dir));
    }
    checks.push(system::open_files());
    if let Some(config) = &config {
        checks.push(port::check(config.s3.listen, dir));
        checks.extend(backends::check(config));
    }
    checks.extend(fuse::check());
    checks
}
