//! The commands of the command line, a file each. Those that speak to a running node do so through
//! [`Ask`]; what they ask and are told is defined beside the answer, in `admin`.

pub mod ask;
pub mod check;
pub mod cleanup;
pub mod credentials;
pub mod doctor;
pub mod drain;
pub mod fsck;
pub mod generate;
pub mod import;
pub mod init;
pub mod jobs;
pub mod locate;
pub mod log_level;
pub mod logs;
pub mod lost;
pub mod mount;
pub mod mount_helper;
pub mod mounts;
pub mod output;
pub mod probe;
pub mod rebalance;
pub mod reconcile;
pub mod reload;
pub mod remove_backend;
pub mod report;
pub mod restore;
pub mod scrub;
pub mod serve;
pub mod snapshot;
pub mod status;
pub mod umount;
pub mod usage;
pub mod version;
pub mod words;

pub use ask::{Ask, Trouble};

use crate::config::LogFormat;
use std::process::ExitCode;

/// Exit codes, documented in the manual: 0 is success, 1 a failure or a finding, 2 a wrong command
/// line (clap's).
pub const NO_NODE: u8 = 3;

/// What stands before the command's name.
#[derive(Debug, clap::Args)]
pub struct Global {
    /// How log and audit lines are written to standard error: json unless the configuration says
    /// otherwise. RUST_LOG selects what is logged.
    #[arg(long, global = true, value_enum, value_name = "FORMAT")]
    pub log: Option<LogFormat>,
}

pub trait Run {
    fn run(&self, global: &Global) -> anyhow::Result<ExitCode>;
}
