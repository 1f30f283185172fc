//! What the system gives: open files, and a clock that signatures can be judged by.

use super::{Check, Verdict};
use rustix::process::{Resource, getrlimit};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Connections, blobs and tables take one each.
const ENOUGH_FILES: u64 = 16_384;
/// Files of another machine, or a clock that is set by hand, are off by a little.
const TOLERANCE: Duration = Duration::from_secs(300);

pub fn open_files() -> Check {
    const NAME: &str = "open-files";
    // The node raises its limit to the hard one.
    match getrlimit(Resource::Nofile).maximum {
        Some(files) if files < ENOUGH_FILES => {
            let message =
                format!("{files} open files at most: fewer connections than configured may be served");
            let remedy = "raise it: LimitNOFILE=65536 in the unit, or ulimit -Hn 65536";
            Check::bad(NAME, Verdict::Warning, message, remedy)
        }
        Some(files) => Check::good(NAME, format!("{files} open files at most")),
        None => Check::good(NAME, "no limit of open files"),
    }
}

/// A clock that is behind what was written in the past is wrong, and refuses every signature.
pub fn clock(data_dir: &Path) -> Check {
    const NAME: &str = "clock";
    let program = std::env::current_exe().ok();
    let files = program.into_iter().chain([data_dir.to_owned()]);
    let changed = files.filter_map(|file| std::fs::metadata(file).and_then(|about| about.modified()).ok());
    let latest = changed.max().unwrap_or(SystemTime::UNIX_EPOCH);
    match SystemTime::now() + TOLERANCE < latest {
        true => {
            let message = "the clock is behind what was written here before";
            let remedy =
                "set it, and keep it set (systemd-timesyncd, chrony): S3 signatures are good for 15 minutes";
            Check::bad(NAME, Verdict::Error, message, remedy)
        }
        false => Check::good(NAME, "not behind what was written here before"),
    }
}
