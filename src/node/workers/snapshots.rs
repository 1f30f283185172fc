//! Copies the records to backends as often as the configuration says.

use super::Stop;
use crate::jobs::Job;
use crate::node::Node;
use crate::options::now;
use std::sync::Arc;
use std::time::Duration;
use store::{OrderError, SnapshotOrder};

pub const NAME: &str = "snapshots";
/// The configuration may change, and snapshots are taken on demand too.
const LOOK_EVERY: Duration = Duration::from_secs(30);
const REST_AFTER_ERROR: Duration = Duration::from_secs(300);

pub fn job(node: &Node) -> Arc<Job> {
    node.jobs.add(NAME, "copies the records to backends, for a restore")
}

pub async fn run(node: Arc<Node>, job: Arc<Job>, mut stop: Stop) {
    loop {
        let rest = match round(&node, &job, &mut stop).await {
            Ok(rest) => rest,
            Err(error) => {
                tracing::warn!(%error, "the snapshot failed; it is tried again");
                job.failed(now(), &error);
                job.end(now());
                REST_AFTER_ERROR
            }
        };
        if !stop.or(job.rest(rest)).await || !stop.or(job.permitted()).await {
            return;
        }
    }
}

/// Takes one if it is due; how long to rest then.
async fn round(node: &Node, job: &Job, stop: &mut Stop) -> Result<Duration, OrderError> {
    let config = node.config().snapshots.clone();
    let Some(every) = config.every else { return Ok(LOOK_EVERY) };
    let every_ms = u64::try_from(every.as_millis()).unwrap_or(u64::MAX);
    let last = node.store.last_snapshot().await?;
    let left = last.map_or(0, |last| last.0.saturating_add(every_ms).saturating_sub(now().0));
    if left > 0 {
        return Ok(Duration::from_millis(left).min(LOOK_EVERY));
    }
    job.begin(None);
    let order = SnapshotOrder { backends: config.backends, keep: config.keep };
    // What was sent when the node stops stays for the next one.
    stop.unless_ordered(take(node, job, &order)).await.unwrap_or(Ok(()))?;
    job.recovered();
    job.end(now());
    Ok(LOOK_EVERY.min(every))
}

async fn take(node: &Node, job: &Job, order: &SnapshotOrder) -> Result<(), OrderError> {
    let mut running = node.store.snapshot(order).await?;
    let mut failed = Vec::new();
    while let Some(step) = running.step().await? {
        job.sign();
        if let Some(sent) = step.ended {
            job.step(1, None);
            failed.extend(sent.error.map(|error| format!("{}: {error}", sent.backend)));
        }
    }
    match failed.is_empty() {
        true => Ok(()),
        false => Err(OrderError::Refused(failed.join("; "))),
    }
}
