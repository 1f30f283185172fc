//! Which configuration is meant, and loading it.

use crate::config::{self, Config, Problem};
use anyhow::Context as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Where packages put it. Commands that only ask look there too; `serve` does not, so that a first
/// node of one's own never takes the system's for itself.
const SYSTEM_FILE: &str = "/etc/s3-orchestrator/config.toml";

/// The configuration to use: the one named, or the default if it exists.
pub fn locate(named: Option<&Path>) -> Option<PathBuf> {
    let default = Path::new(config::DEFAULT_FILE);
    match named {
        Some(file) => Some(file.to_owned()),
        // A dangling symbolic link counts: its owner wants a configuration there.
        None => default.symlink_metadata().is_ok().then(|| default.to_owned()),
    }
}

pub fn existing(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    locate(named).with_context(|| {
        let default = config::DEFAULT_FILE;
        format!("there is no ./{default} here; name a configuration with --config FILE")
    })
}

/// The same for a command that only asks: also the system's.
pub fn in_use(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    let system = Path::new(SYSTEM_FILE);
    match locate(named) {
        Some(file) => Ok(file),
        None if system.exists() => Ok(system.to_owned()),
        None => anyhow::bail!(
            "there is neither ./{} nor {SYSTEM_FILE}; name a configuration with --config FILE",
            config::DEFAULT_FILE
        ),
    }
}

/// Loads and shows the warnings.
pub fn load(file: &Path) -> anyhow::Result<Config> {
    let loaded = config::load(file, &environment)?;
    show(&loaded.warnings, file);
    Ok(loaded.config)
}

pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn show(warnings: &[Problem], file: &Path) {
    let mut stderr = std::io::stderr();
    for warning in warnings {
        // There is nobody to tell if standard error is closed.
        let _ = writeln!(stderr, "{}", warning.in_file(file));
    }
}
