//! Empties the cleanup queue as it fills.

use super::Stop;
use crate::jobs::Job;
use crate::node::Node;
use crate::options::now;
use std::sync::Arc;
use std::time::Duration;
use store::StoreError;

pub const NAME: &str = "cleanup";
/// Work that is due but held up (a reader still has the blob) is looked at again after this time,
/// instead of at once and for ever.
const REST: Duration = Duration::from_millis(200);
/// After a failure: the disk will not be well again in a moment.
const REST_AFTER_ERROR: Duration = Duration::from_secs(5);

/// More than this in one pass: the queue is long, and counted for the sake of who waits for its end.
const LONG: u64 = 256;
const MAX_COUNTED: usize = 100_000;

pub fn job(node: &Node) -> Arc<Job> {
    node.jobs.add(NAME, "deletes bytes that nobody refers to or reads")
}

pub async fn run(node: Arc<Node>, job: Arc<Job>, mut stop: Stop) {
    let due = async || {
        tokio::select! {
            () = node.store.cleanup_due() => {}
            () = job.wanted() => {}
        }
    };
    while stop.or(due()).await {
        let rest = drain(&node, &job, &mut stop).await;
        if !stop.or_sleep(rest).await {
            return;
        }
    }
}

/// Passes until one finds nothing to do; how long to rest then.
async fn drain(node: &Node, job: &Job, stop: &mut Stop) -> Duration {
    let mut begun = false;
    let mut rest = REST;
    while stop.or(job.permitted()).await && !job.cancelled() {
        // What a pass that is broken off has deleted already is missed by nobody: it is deleted again.
        let Some(passed) = stop.unless_ordered(node.store.cleanup_pass()).await else { break };
        match passed {
            Ok(progress) if progress.done == 0 => {
                job.recovered();
                break;
            }
            Ok(progress) => {
                let left = match std::mem::replace(&mut begun, true) {
                    true => None,
                    false => {
                        job.begin(None);
                        left(node, progress.done).await
                    }
                };
                job.step(progress.done, left);
                tracing::debug!(done = progress.done, left = progress.left, "cleanup");
            }
            // Said when it began.
            Err(StoreError::Fenced) => {
                rest = REST_AFTER_ERROR;
                break;
            }
            Err(error) => {
                tracing::warn!(%error, "cleanup failed; it is tried again");
                job.failed(now(), &error);
                rest = REST_AFTER_ERROR;
                break;
            }
        }
    }
    if begun {
        job.end(now());
    }
    rest
}

async fn left(node: &Node, done: u64) -> Option<u64> {
    if done < LONG {
        return None;
    }
    // Only a figure to show: the next pass will say what is wrong.
    node.store.cleanup_queue(MAX_COUNTED).await.ok().map(|queue| queue.len() as u64)
}
