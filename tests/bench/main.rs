//! What the node does in a second, beside what the machine can do: `make bench`.
//!
//! Every figure is a ratio to a yardstick measured in the same run, in rounds that take turns, because
//! the speed of a machine that others use as well changes by the minute. Each section starts nodes of its own.
//!
//! Start with [`main`]; a section is a file: `small`, `large`, `listing`, `multipart`, `memory`,
//! `mount`, `backends`.

mod backends;
mod bare;
mod fill;
mod http;
mod large;
mod listing;
mod load;
mod memory;
mod mount;
mod multipart;
mod process;
mod relay;
mod report;
mod served;
mod small;
mod yardstick;

use anyhow::{Result, bail};
use report::Report;
use std::collections::BTreeSet;
use std::path::PathBuf;
use testkit::NodeConfig;

// The bare server has the node's allocator: what is compared is the work, not malloc.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// How much is measured.
pub struct Scale {
    pub rounds: usize,
    /// Keys of the three buckets that are listed.
    pub keys: [u64; 3],
    /// What each of the parallel uploads of 1 GiB sends before it hangs up.
    pub upload_bytes: u64,
    /// Bytes of the large object.
    pub large_bytes: u64,
    pub requests: u64,
    /// In one directory of a mount, and those of them that are read.
    pub names: u64,
    pub small_files: u64,
    /// Of the small requests only these, for a profile: `PUT-64`.
    pub only: Option<String>,
}

const FULL: Scale = Scale {
    rounds: 5,
    keys: [10_000, 1_000_000, 5_000_000],
    upload_bytes: 128 << 20,
    large_bytes: 1 << 30,
    requests: 40_000,
    names: 100_000,
    small_files: 10_000,
    only: None,
};

/// Every line of the program in a minute; its figures are no measurement.
const QUICK: Scale = Scale {
    rounds: 2,
    keys: [2_000, 20_000, 50_000],
    upload_bytes: 8 << 20,
    large_bytes: 64 << 20,
    requests: 2_000,
    names: 5_000,
    small_files: 500,
    only: None,
};

type Section = fn(&Scale, &mut Report) -> Result<()>;

const SECTIONS: [(&str, Section); 7] = [
    ("small", small::measure),
    ("large", large::measure),
    ("listing", listing::measure),
    ("multipart", multipart::measure),
    ("memory", memory::measure),
    ("mount", mount::measure),
    ("backends", backends::measure),
];

const USAGE: &str = "usage: bench [--quick] [--uploads-whole] [--only=PUT-64] [small] [large] [listing] [multipart] [memory] [mount] [backends]";

fn main() -> Result<()> {
    // Cargo adds `--bench`.
    let mut arguments: BTreeSet<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    if arguments.remove(bare::ARGUMENT) {
        return bare::serve();
    }
    if arguments.remove(relay::ARGUMENT) {
        return relay::serve();
    }
    let mut scale = if arguments.remove("--quick") { QUICK } else { FULL };
    if arguments.remove("--uploads-whole") {
        scale.upload_bytes = 1 << 30;
    }
    scale.only = arguments.iter().find_map(|given| given.strip_prefix("--only=")).map(str::to_owned);
    arguments.retain(|given| !given.starts_with("--only="));
    let unknown = arguments.iter().find(|given| SECTIONS.iter().all(|(name, _)| name != given));
    if let Some(unknown) = unknown {
        bail!("{unknown}? {USAGE}");
    }
    let mut report = Report::default();
    for (name, measure) in SECTIONS {
        if arguments.is_empty() || arguments.contains(name) {
            report.section(name);
            measure(&scale, &mut report)?;
        }
    }
    report.end();
    Ok(())
}

/// The release binary with its defaults: power-loss durability, audit lines to a file. `S3O_BINARY` names
/// another, to compare two builds.
fn node_config() -> NodeConfig {
    let built = env!("CARGO_BIN_EXE_s3-orchestrator");
    NodeConfig::new(std::env::var_os("S3O_BINARY").map_or(PathBuf::from(built), PathBuf::from))
}
