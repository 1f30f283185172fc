//! Other places for bytes: each is tried with every call that a node makes there.

use super::{Check, Verdict};
use crate::command::probe::{self, Outcome};
use crate::config::{Backend, Config, Kind};

const NAME: &str = "backend";
/// Enough for a body in parts; what a provider counts should stay small.
const LARGE_BYTES: usize = 9 << 20;

/// The one in the data directory is looked at with that.
pub fn check(config: &Config) -> Vec<Check> {
    let others = config.backends.iter().filter(|backend| !matches!(backend.kind, Kind::Embedded));
    others.map(|backend| judge(backend, attempt(config, backend))).collect()
}

fn attempt(config: &Config, backend: &Backend) -> anyhow::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(probe::probe(config, backend, LARGE_BYTES))
}

fn judge(backend: &Backend, attempt: anyhow::Result<Outcome>) -> Check {
    let name = &backend.name;
    let why = match attempt {
        Ok(outcome) if outcome.usable => return Check::good(NAME, format!("{name} can be used")),
        Ok(outcome) => outcome.failure().unwrap_or_default(),
        Err(error) => format!("{error:#}"),
    };
    let remedy = format!("s3-orchestrator probe {name} shows every call");
    Check::bad(NAME, Verdict::Error, format!("{name} cannot be used: {why}"), remedy)
}
