//! Removes multipart uploads that were begun long ago and never finished.

use super::Stop;
use crate::jobs::Job;
use crate::node::Node;
use crate::options::now;
use std::sync::Arc;
use std::time::Duration;

pub const NAME: &str = "multipart-expiry";
const AT_MOST_EVERY: Duration = Duration::from_secs(60);
/// A short expiry is looked after more often, so that it is late by a tenth of itself at most.
const LATE_BY: u32 = 10;

pub fn job(node: &Node) -> Arc<Job> {
    node.jobs.add(NAME, "ends multipart uploads without activity")
}

pub async fn run(node: Arc<Node>, job: Arc<Job>, mut stop: Stop) {
    // Read anew each time: it may have been changed.
    let due = async || job.rest(interval(node.config().s3.multipart_expiry)).await;
    while stop.or(due()).await && stop.or(job.permitted()).await {
        pass(&node, &job).await;
    }
}

async fn pass(node: &Node, job: &Job) {
    job.begin(None);
    match node.store.expire_uploads().await {
        Ok(expired) => {
            job.recovered();
            job.step(expired, None);
            if expired > 0 {
                tracing::info!(expired, "unfinished multipart uploads removed");
            }
        }
        Err(error) => {
            tracing::warn!(%error, "expiry of multipart uploads failed; it is tried again");
            job.failed(now(), &error);
        }
    }
    job.end(now());
}

fn interval(expiry: Duration) -> Duration {
    (expiry / LATE_BY).clamp(Duration::from_millis(10), AT_MOST_EVERY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_expiries_are_looked_after_more_often() {
        assert_eq!(interval(Duration::from_secs(86_400)), Duration::from_secs(60));
        assert_eq!(interval(Duration::from_secs(2)), Duration::from_millis(200));
        assert_eq!(interval(Duration::from_nanos(1)), Duration::from_millis(10));
    }
}
