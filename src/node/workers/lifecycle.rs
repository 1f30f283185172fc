//! Deletes objects that have lived as long as a rule of their bucket lets them.

use super::Stop;
use crate::jobs::Job;
use crate::node::Node;
use crate::options::now;
use std::sync::Arc;
use std::time::Duration;
use store::{ExpiryRule, StoreError};
use types::BucketId;

pub const NAME: &str = "lifecycle";
const AT_MOST_EVERY: Duration = Duration::from_secs(3600);
const AT_LEAST_EVERY: Duration = Duration::from_millis(100);
/// A short age is looked after more often, so that it is late by a tenth of itself at most.
const LATE_BY: u32 = 10;

pub fn job(node: &Node) -> Arc<Job> {
    node.jobs.add(NAME, "deletes objects that a rule of their bucket ends")
}

pub async fn run(node: Arc<Node>, job: Arc<Job>, mut stop: Stop) {
    // Read anew each time: the rules may have been changed.
    let due = async || job.rest(interval(&rules(&node))).await;
    while stop.or(due()).await && stop.or(job.permitted()).await {
        let rules = rules(&node);
        if rules.is_empty() {
            continue;
        }
        job.begin(None);
        match pass(&node, &job, &rules, &mut stop).await {
            Ok(()) => job.recovered(),
            Err(error) => {
                tracing::warn!(%error, "the end of objects failed; it is tried again");
                job.failed(now(), &error);
            }
        }
        job.end(now());
    }
}

fn rules(node: &Node) -> Vec<(BucketId, ExpiryRule)> {
    let config = node.config();
    let of = |bucket: &crate::config::Bucket| {
        let id = node.store.bucket(&bucket.name);
        id.map(|id| bucket.lifecycle.iter().map(move |rule| (id, rule.clone())).collect::<Vec<_>>())
    };
    config.buckets.iter().filter_map(of).flatten().collect()
}

async fn pass(
    node: &Node,
    job: &Job,
    rules: &[(BucketId, ExpiryRule)],
    stop: &mut Stop,
) -> Result<(), StoreError> {
    for (bucket, rule) in rules {
        let mut after = None;
        // A step runs to its end; the order to stop is looked at between two.
        while stop.or(job.permitted()).await && !job.cancelled() {
            let expired = node.store.expire_step(*bucket, rule, after).await?;
            job.step(expired.removed, None);
            if expired.removed > 0 {
                tracing::info!(bucket = bucket.0, prefix = rule.prefix, removed = expired.removed, "expired");
            }
            after = expired.next;
            if after.is_none() {
                break;
            }
        }
    }
    Ok(())
}

fn interval(rules: &[(BucketId, ExpiryRule)]) -> Duration {
    let shortest = rules.iter().map(|(_, rule)| rule.age / LATE_BY).min();
    shortest.unwrap_or(AT_MOST_EVERY).clamp(AT_LEAST_EVERY, AT_MOST_EVERY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_ages_are_looked_after_more_often() {
        let rule = |secs| {
            let age = Duration::from_secs(secs);
            (BucketId(1), ExpiryRule { prefix: String::new(), tags: Vec::new(), age })
        };
        assert_eq!(interval(&[]), AT_MOST_EVERY);
        assert_eq!(interval(&[rule(30 * 86_400), rule(100)]), Duration::from_secs(10));
        assert_eq!(interval(&[rule(0)]), AT_LEAST_EVERY);
    }
}
