//! Verifies every copy within the configured period, at the configured rate, and tells what is wrong.

use super::Stop;
use crate::finding::Finding;
use crate::jobs::Job;
use crate::node::Node;
use crate::options::now;
use std::sync::Arc;
use std::time::Duration;
use store::{BadReplica, Pace, ScrubDue, ScrubOrder, StoreError};

pub const NAME: &str = "scrub";
/// Between two walks over the records, which cost more the more there are.
const LEAST_REST: Duration = Duration::from_secs(60);
const LONGEST_REST: Duration = Duration::from_secs(3600);
/// What is due could not be read, or the records could not.
const REST_AFTER_ERROR: Duration = Duration::from_secs(600);

pub fn job(node: &Node) -> Arc<Job> {
    node.jobs.add(NAME, "verifies every copy within a period, the longest unverified first")
}

pub async fn run(node: Arc<Node>, job: Arc<Job>, mut stop: Stop) {
    loop {
        let rest = round(&node, &job, &mut stop).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "verifying copies failed; it is tried again");
            job.failed(now(), &error);
            REST_AFTER_ERROR
        });
        if !stop.or(job.rest(rest)).await {
            return;
        }
    }
}

/// One walk, and what it chose; how long to rest then.
async fn round(node: &Node, job: &Job, stop: &mut Stop) -> Result<Duration, StoreError> {
    let config = node.config().scrub.clone();
    let period = u64::try_from(config.period.as_millis()).unwrap_or(u64::MAX);
    let before = now().saturating_sub_ms(period);
    let order = ScrubOrder { backend: None, before, remote: config.providers };
    let Some(found) = stop.unless_ordered(node.store.scrub_due(&order)).await else {
        return Ok(Duration::ZERO);
    };
    let mut due = found?;
    job.recovered();
    if due.is_done() {
        let left = due.next.map_or(period, |next| next.0.saturating_add(period).saturating_sub(now().0));
        return Ok(Duration::from_millis(left).clamp(LEAST_REST, LONGEST_REST));
    }
    job.begin(Some(due.replicas));
    let verified = verify(node, job, stop, &mut due, &Pace::new(Some(config.bytes_per_second))).await;
    job.end(now());
    Ok(if verified? > 0 { Duration::ZERO } else { REST_AFTER_ERROR })
}

/// How many were verified.
async fn verify(
    node: &Node,
    job: &Job,
    stop: &mut Stop,
    due: &mut ScrubDue,
    pace: &Pace,
) -> Result<u64, StoreError> {
    let mut verified = 0;
    while !due.is_done() && stop.or(job.permitted()).await && !job.cancelled() {
        // What a step that is broken off has read is read again.
        let Some(stepped) = stop.unless_ordered(node.store.scrub_step(due, pace)).await else { break };
        let step = stepped?;
        job.step(step.verified + step.bad.len() as u64 + step.unread, None);
        verified += step.verified + step.bad.len() as u64;
        tell(node, &step.bad).await;
    }
    Ok(verified)
}

/// To whoever wants to hear of trouble.
pub async fn tell(node: &Node, bad: &[BadReplica]) {
    for replica in bad {
        if let Err(error) = node.webhooks.tell_trouble(&finding(replica), "begun").await {
            tracing::error!(%error, "a damaged copy could not be noted for webhooks");
        }
    }
}

fn finding(replica: &BadReplica) -> Finding {
    let BadReplica { blob, backend, place, why, replaceable } = replica;
    let remedy = match replaceable {
        true => "it is made anew from another copy",
        false => {
            "there is no good copy: it is kept as it is; put the object again, or see `s3-orchestrator lost`"
        }
    };
    let message = format!("the copy of blob {blob} on {backend} ({place}) is missing or damaged: {why}");
    Finding::error("scrub-mismatch", message, remedy)
}
