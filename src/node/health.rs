//! What is wrong with a running node, worst first. `status` shows it; monitoring can ask for it.

use crate::backends;
use crate::finding::Finding;
use crate::jobs::{Report, State};
use crate::mounts::Running;
use crate::node::Node;
use crate::usage::{self, Account};
use std::os::unix::fs::PermissionsExt as _;

/// A quota that is nearly used up, in per cent.
const NEAR_PERCENT: u128 = 90;

pub fn findings(node: &Node) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(fence(node));
    findings.extend(disk(node));
    findings.extend(backends::findings(node));
    findings.extend(node.mounts.all().iter().filter_map(unmounted));
    findings.extend(usage::backends(node).iter().filter_map(|account| quota("backend", account)));
    findings.extend(usage::buckets(node).iter().filter_map(|account| quota("bucket", account)));
    findings.extend(node.jobs.all().iter().filter_map(|job| work(&job.report())));
    findings.extend(node.stuck.load().iter().cloned());
    findings.extend(restart(node));
    findings.extend(open_directory(node));
    findings.sort_by_key(|finding| finding.severity);
    findings
}

fn fence(node: &Node) -> Option<Finding> {
    node.store.is_fenced().then(|| {
        Finding::error(
            "fenced",
            "a sync of the disk failed: all writes are refused, since none would be durable",
            "look at the disk (dmesg, smartctl); then restart the node, and run fsck",
        )
    })
}

fn unmounted(running: &Running) -> Option<Finding> {
    let path = running.mount.path().display();
    (!running.mount.is_alive()).then(|| {
        let message = format!("the mount at {path} is gone: somebody else unmounted it");
        Finding::warning("mount-gone", message, "`reload` mounts it again")
    })
}

fn disk(node: &Node) -> Option<Finding> {
    let dir = node.config().data_dir.display().to_string();
    node.store.disk_room().full.then(|| {
        Finding::error(
            "disk-full",
            format!("the disk of {dir} is full: writes are refused"),
            "make room on it; deletes and `cleanup` still work",
        )
    })
}

fn open_directory(node: &Node) -> Option<Finding> {
    let config = node.config();
    let mode = std::fs::metadata(&config.data_dir).ok()?.permissions().mode();
    let dir = config.data_dir.display();
    (mode & 0o077 != 0).then(|| {
        let message = format!("other users may look into {dir}");
        Finding::warning("data-directory-open", message, format!("chmod 700 {dir}"))
    })
}

fn restart(node: &Node) -> Option<Finding> {
    let waiting = node.needs_restart.load();
    (!waiting.is_empty()).then(|| {
        let message = format!("the configuration was changed in {}", waiting.join(", "));
        Finding::warning("restart-needed", message, "restart the node for that to take effect")
    })
}

fn quota(what: &str, account: &Account) -> Option<Finding> {
    let quota = account.quota_bytes?;
    let used = account.occupied_bytes();
    if u128::from(used) * 100 < u128::from(quota) * NEAR_PERCENT {
        return None;
    }
    let name = &account.name;
    let remedy = format!("delete objects, or raise the quota of {what} {name} and `reload`");
    let percent = u128::from(used) * 100 / u128::from(quota).max(1);
    let message = format!("{percent} % of the quota of {what} {name} are used");
    Some(match used < quota {
        true => Finding::warning("quota-near", message, remedy),
        false => Finding::error("quota-reached", message, remedy),
    })
}

fn work(job: &Report) -> Option<Finding> {
    let name = &job.name;
    if let Some((_, error)) = &job.last_error {
        let remedy = format!("it is tried again; `jobs` and `logs` say more of {name}");
        return Some(Finding::error("job-failed", format!("{name} failed: {error}"), remedy));
    }
    (job.state == State::Paused).then(|| {
        let remedy = format!("s3-orchestrator jobs resume {name}");
        Finding::warning("job-paused", format!("{name} is paused"), remedy)
    })
}
