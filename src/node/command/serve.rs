//! `s3-orchestrator serve`: the node itself.

use super::{Global, Run};
use crate::config::{Config, parse_listen};
use crate::daemon;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

/// Run the node until it is told to stop.
///
/// Without --config, ./s3-orchestrator.toml is used; where it does not exist, a first
/// configuration with a bucket and a credential is created and shown.
///
/// The first line on standard output is always "s3-orchestrator listening on http://ADDRESS:PORT" (https with
/// TLS), and appears when the node answers. Log and audit lines go to standard error.
#[derive(Debug, Clone, clap::Args)]
pub struct ServeArgs {
    /// The configuration; ./s3-orchestrator.toml by default.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Listen here instead of at the address of the configuration; port 0: the system chooses.
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = parse_listen)]
    pub listen: Option<SocketAddr>,
    /// Keep everything in this directory instead of the one of the configuration.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

impl ServeArgs {
    /// What the command line says wins over the file.
    pub fn apply(&self, config: &mut Config) {
        config.s3.listen = self.listen.unwrap_or(config.s3.listen);
        if let Some(dir) = &self.data_dir {
            config.data_dir.clone_from(dir);
        }
    }
}

impl Run for ServeArgs {
    fn run(&self, global: &Global) -> anyhow::Result<ExitCode> {
        daemon::serve(self, global.log).map(|()| ExitCode::SUCCESS)
    }
}
