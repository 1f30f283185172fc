//! `s3-orchestrator fsck` on a stopped node, and what it says.

use crate::node::Node;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::time::Duration;

#[derive(Debug)]
pub struct Report {
    pub clean: bool,
    /// Everything that was printed.
    pub text: String,
    summary: Value,
}

impl Report {
    /// A number of the summary: `blobs`, `files`, `tasks`, `differences` ...
    pub fn count(&self, name: &str) -> Option<u64> {
        self.summary.get(name).and_then(Value::as_u64)
    }
}

/// Runs the command, which reads every byte; the node must not run.
pub fn run(node: &Node) -> Result<Report> {
    let output = node.command("fsck").args(["--json", "--verify"]).output().context("running fsck")?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let text = format!("{}\n{stdout}{}", output.status, String::from_utf8_lossy(&output.stderr));
    Ok(Report { clean: output.status.success(), summary: summary(&stdout), text })
}

/// The last JSON object that has counts, whether by itself or as a member `summary`.
fn summary(stdout: &str) -> Value {
    let whole = serde_json::from_str::<Value>(stdout).ok();
    let lines = stdout.lines().filter_map(|line| serde_json::from_str(line).ok());
    let mut found = whole.into_iter().chain(lines).filter_map(|value: Value| match value.get("summary") {
        Some(summary) => Some(summary.clone()),
        None => value.get("differences").is_some().then_some(value),
    });
    found.next_back().unwrap_or(Value::Null)
}

/// Lets the running node clean up, stops it in good order, and wants fsck clean. Leaves it stopped.
///
/// The node's cleanup works by itself; where its queue is not empty yet, the node gets another moment.
pub fn stop_and_check(node: &mut Node) -> Result<Report> {
    for attempt in 0.. {
        std::thread::sleep(Duration::from_millis(300));
        let status = node.sigterm()?;
        if !status.success() {
            bail!("SIGTERM ended the node with {status}; its log ends with:\n{}", node.log_tail());
        }
        let report = run(node)?;
        if !report.clean {
            bail!("fsck is not clean: {}", report.text);
        }
        if report.count("tasks").unwrap_or(0) == 0 || attempt == 20 {
            return Ok(report);
        }
        node.run()?;
    }
    unreachable!("the loop ends by itself")
}

/// Regular files under a directory, temporary ones too. `lost+found` is the file system's own.
pub fn files_under(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(dir) else {
        return found;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.file_name().is_some_and(|name| name == "lost+found") {
            continue;
        }
        if path.is_dir() {
            found.extend(files_under(&path));
        } else {
            found.push(path.display().to_string());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_is_found_in_either_form() {
        let lines = "{\"difference\":\"x\"}\n{\"summary\":{\"files\":3,\"differences\":1}}\n";
        assert_eq!(summary(lines)["files"], 3);
        assert_eq!(summary("{\n\"files\": 4,\n\"differences\": 0\n}")["files"], 4);
        assert_eq!(summary("no json"), Value::Null);
    }
}
