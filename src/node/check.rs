//! `s3-orchestrator check`: is this configuration good? And finding the configuration at all.

use crate::cli::CheckArgs;
use crate::config::{self, Config, Problem};
use anyhow::Context as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

pub fn check(args: &CheckArgs) -> anyhow::Result<()> {
    let file = existing(args.config.as_deref())?;
    load(&file)?;
    writeln!(std::io::stdout(), "{}: ok", file.display()).context("standard output")
}

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

/// Loads and shows the warnings.
pub fn load(file: &Path) -> anyhow::Result<Config> {
    let loaded = config::load(file, &|name| std::env::var(name).ok())?;
    show(&loaded.warnings, file);
    Ok(loaded.config)
}

fn show(warnings: &[Problem], file: &Path) {
    let mut stderr = std::io::stderr();
    for warning in warnings {
        // There is nobody to tell if standard error is closed.
        let _ = writeln!(stderr, "{}", warning.in_file(file));
    }
}
