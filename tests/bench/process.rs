//! What the kernel says of a process.

use anyhow::{Context as _, Result};
use std::fs;

/// Resident memory now and at its highest, in MiB.
pub struct Memory {
    pub now: f64,
    pub peak: f64,
}

pub fn memory(pid: i32) -> Result<Memory> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let of = |name: &str| -> Result<f64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).context("a line of status")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
    };
    Ok(Memory { now: of("VmRSS:")?, peak: of("VmHWM:")? })
}

/// Begins the high-water mark anew (proc(5), `clear_refs`).
pub fn forget_peak(pid: i32) -> Result<()> {
    Ok(fs::write(format!("/proc/{pid}/clear_refs"), "5")?)
}

/// Processor time so far, in seconds.
pub fn cpu_seconds(pid: i32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, rest) = stat.rsplit_once(')').context("a process's state")?;
    let ticks: f64 = rest.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<f64>().ok()).sum();
    // USER_HZ is 100 on every platform that Linux has a stable ABI for.
    Ok(ticks / 100.0)
}
