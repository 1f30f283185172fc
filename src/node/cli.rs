//! The command line: the table of commands. Each is defined in a file of its own below `command`.
//! Manual pages and completions are made from what stands here.

use crate::command::{self, Global, Run};
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// An S3 storage node: virtual buckets over disks and providers, in one process.
///
/// Stores objects and shows them as an S3 endpoint and as mounted directories: virtual buckets, each with its
/// own credentials and quota. What it has acknowledged survives a crash and a loss of power.
#[derive(Debug, Parser)]
#[command(name = "s3-orchestrator", version, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,

    #[command(subcommand)]
    pub command: Command,
}

/// A variant for each command, and running it.
macro_rules! commands {
    ($($name:ident($args:ty)),* $(,)?) => {
        #[derive(Debug, Subcommand)]
        pub enum Command {
            $($name($args),)*
        }

        impl Run for Command {
            fn run(&self, global: &Global) -> anyhow::Result<ExitCode> {
                match self {
                    $(Self::$name(args) => args.run(global),)*
                }
            }
        }
    };
}

commands! {
    Serve(command::serve::ServeArgs),
    Init(command::init::InitArgs),
    Check(command::check::CheckArgs),
    Doctor(command::doctor::DoctorArgs),
    Fsck(command::fsck::FsckArgs),
    Status(command::status::StatusArgs),
    Usage(command::usage::UsageArgs),
    Cleanup(command::cleanup::CleanupArgs),
    Reload(command::reload::ReloadArgs),
    Credentials(command::credentials::CredentialsArgs),
    Mount(command::mount::MountArgs),
    Umount(command::umount::UmountArgs),
    Mounts(command::mounts::MountsArgs),
    Locate(command::locate::LocateArgs),
    Probe(command::probe::ProbeArgs),
    Scrub(command::scrub::ScrubArgs),
    Snapshot(command::snapshot::SnapshotArgs),
    Restore(command::restore::RestoreArgs),
    Reconcile(command::reconcile::ReconcileArgs),
    Import(command::import::ImportArgs),
    Lost(command::lost::LostArgs),
    Jobs(command::jobs::JobsArgs),
    Drain(command::drain::DrainArgs),
    Rebalance(command::rebalance::RebalanceArgs),
    RemoveBackend(command::remove_backend::RemoveBackendArgs),
    Logs(command::logs::LogsArgs),
    LogLevel(command::log_level::LogLevelArgs),
    Version(command::version::VersionArgs),
    Generate(command::generate::GenerateArgs),
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
