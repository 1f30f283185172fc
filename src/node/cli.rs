//! The command line. The manual page is held to what stands here.

use crate::config::{LogFormat, parse_listen};
use clap::{Args, Parser, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;

/// An S3 storage node: virtual buckets over local storage, in one process.
#[derive(Debug, Parser)]
#[command(name = "s3-orchestrator", version, max_term_width = 100)]
pub struct Cli {
    /// How log and audit lines are written to standard error: json unless the configuration says
    /// otherwise. RUST_LOG selects what is logged.
    #[arg(long, global = true, value_enum, value_name = "FORMAT")]
    pub log: Option<LogFormat>,

    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the node until it is told to stop.
    ///
    /// Without --config, ./s3-orchestrator.toml is used; where it does not exist, a first
    /// configuration with a bucket and a credential is created and shown.
    Serve(ServeArgs),
    /// Say whether a configuration is good: exit code 0 if it is, 1 if not.
    Check(CheckArgs),
    /// Compare metadata, quotas, queues and files of a node that is not running.
    ///
    /// Exit code 0 if nothing is wrong (any more), 1 otherwise.
    Fsck(FsckArgs),
}

#[derive(Debug, Args)]
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

#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The configuration; ./s3-orchestrator.toml by default.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct FsckArgs {
    /// The configuration; ./s3-orchestrator.toml by default.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Check this directory instead of the one of the configuration.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Put right what is wrong.
    #[arg(long)]
    pub repair: bool,
    /// One JSON object a line, for scripts.
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }
}
