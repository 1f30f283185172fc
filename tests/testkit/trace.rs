//! System calls that kill the node, or fail, at the k-th time: `strace` does it to a running process.

use anyhow::{Context, Result, bail};
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const ATTACH_TIMEOUT: Duration = Duration::from_secs(10);

/// What happens at the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Injection {
    /// The process dies as the call begins.
    Kill,
    /// The call is not made, and says this error: `EIO`.
    Error(&'static str),
}

/// An attached `strace`. It ends with the process that it traces.
#[derive(Debug)]
pub struct Trace {
    child: Child,
}

impl Trace {
    /// From now on, the `nth` of these calls (`fsync,fdatasync`) in any one thread does it.
    pub fn attach(pid: i32, calls: &str, injection: Injection, nth: u64) -> Result<Self> {
        let what = match injection {
            Injection::Kill => "signal=KILL".to_owned(),
            Injection::Error(error) => format!("error={error}"),
        };
        let mut command = Command::new("strace");
        command.args(["-f", "-qqq", "-o", "/dev/null", "-e", &format!("trace={calls}")]);
        command.args(["-e", &format!("inject={calls}:{what}:when={nth}"), "-p", &pid.to_string()]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut trace = Self { child: child.context("running strace")? };
        let deadline = Instant::now() + ATTACH_TIMEOUT;
        while !all_traced(pid) {
            if let Some(status) = trace.child.try_wait()? {
                // Background work may have made the fatal call already: that is a death like any other.
                if is_dead(pid) {
                    return Ok(trace);
                }
                bail!("strace ended at once: {status}");
            }
            if Instant::now() > deadline {
                bail!("strace did not attach within {ATTACH_TIMEOUT:?}");
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(trace)
    }

    /// Waits for the end, which comes with that of the traced process.
    pub fn wait(mut self) {
        let _ = self.child.wait();
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn all_traced(pid: i32) -> bool {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return false;
    };
    tasks.flatten().all(|task| {
        let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
        !status.lines().any(|line| line.split_whitespace().eq(["TracerPid:", "0"]))
    })
}

/// Whether processes can be traced here; if not, why.
pub fn availability() -> Result<()> {
    let mut sleeper = Command::new("sleep").arg("10").spawn()?;
    let attached = Trace::attach(sleeper.id() as i32, "fsync", Injection::Kill, 1).map(drop);
    sleeper.kill()?;
    sleeper.wait()?;
    attached
}

fn is_dead(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // proc_pid_stat(5): the state follows the name in brackets.
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    #[test]
    fn an_injected_death_is_a_death() {
        if let Err(why) = availability() {
            return eprintln!("SKIPPED: strace: {why:#}");
        }
        let script = "sleep 1; echo x > /dev/null; sleep 5";
        let mut child = Command::new("sh").args(["-c", script]).spawn().unwrap();
        let trace = Trace::attach(child.id() as i32, "openat", Injection::Kill, 1).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
        trace.wait();
    }
}
