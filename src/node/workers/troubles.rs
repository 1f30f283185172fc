//! Notices what is wrong with the node, once when it begins and once when it is over.

use super::{Stop, cleanup};
use crate::finding::Finding;
use crate::health;
use crate::node::Node;
use crate::service;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_secs(2);
/// A queue that has work and settles none of it for this long is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(300);

pub async fn run(node: Arc<Node>, mut stop: Stop) {
    let mut known = BTreeMap::new();
    let mut queue = Idle::default();
    while stop.or_sleep(EVERY).await {
        let mut found: BTreeMap<_, _> =
            health::findings(&node).into_iter().map(|finding| (subject(&finding), finding)).collect();
        found.extend(stuck(&node, &mut queue).await.map(|finding| (subject(&finding), finding)));
        let news = news(&known, &found);
        if !news.is_empty() {
            service::status(worst(&found));
        }
        for (state, finding) in news {
            tracing::warn!(code = finding.code, state, what = finding.message, "trouble");
            if let Err(error) = node.webhooks.tell_trouble(finding, state).await {
                tracing::error!(%error, "trouble could not be noted for webhooks");
            }
        }
        known = found;
    }
}

/// The same trouble, whatever its numbers are by now.
fn subject(finding: &Finding) -> String {
    let words = finding.message.split_whitespace();
    // Names may have digits too: two of them are two troubles.
    let steady: Vec<_> = words.filter(|word| !word.bytes().all(|byte| byte.is_ascii_digit())).collect();
    // What fails says why, and may say it in other words next time.
    let steady = steady.join(" ");
    let what = steady.split(':').next().unwrap_or_default();
    format!("{} {what}", finding.code)
}

/// In one line.
fn worst(found: &BTreeMap<String, Finding>) -> &str {
    let worst = found.values().min_by_key(|finding| finding.severity);
    worst.map_or("nothing is wrong", |finding| &finding.message)
}

fn news<'a>(
    known: &'a BTreeMap<String, Finding>,
    found: &'a BTreeMap<String, Finding>,
) -> Vec<(&'static str, &'a Finding)> {
    let begun = found.iter().filter(|(subject, _)| !known.contains_key(*subject));
    let over = known.iter().filter(|(subject, _)| !found.contains_key(*subject));
    begun.map(|(_, finding)| ("begun", finding)).chain(over.map(|(_, finding)| ("over", finding))).collect()
}

async fn stuck(node: &Node, queue: &mut Idle) -> Option<Finding> {
    let waiting = node.store.figures().await.ok()?.cleanup_queue;
    let settled = node.jobs.find(cleanup::NAME).map_or(0, |job| job.report().done_ever);
    queue.is_stuck(waiting, settled, Instant::now()).then(|| {
        Finding::error(
            "queue-stuck",
            format!("the cleanup queue does not move: {waiting} blobs wait"),
            "`jobs` and `logs` say more of cleanup",
        )
    })
}

/// Since when a queue has work and settles none.
#[derive(Default)]
struct Idle {
    settled: u64,
    since: Option<Instant>,
}

impl Idle {
    fn is_stuck(&mut self, waiting: usize, settled: u64, now: Instant) -> bool {
        if waiting == 0 || settled != self.settled {
            *self = Self { settled, since: None };
        }
        waiting > 0 && now.duration_since(*self.since.get_or_insert(now)) >= STUCK_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(findings: &[Finding]) -> BTreeMap<String, Finding> {
        findings.iter().map(|finding| (subject(finding), finding.clone())).collect()
    }

    #[test]
    fn trouble_is_news_once_and_once_when_it_is_over() {
        let near = |percent: u8| {
            Finding::warning("quota-near", format!("{percent} % of the quota of bucket a are used"), "")
        };
        let failed = |why: &str| Finding::error("job-failed", format!("scrub failed: {why}"), "");
        let none = map(&[]);
        let first = map(&[near(91), failed("x")]);
        let codes = |news: Vec<(&'static str, &Finding)>| {
            news.into_iter().map(|(state, finding)| (state, finding.code.clone())).collect::<Vec<_>>()
        };
        let both = [("begun", "job-failed".to_owned()), ("begun", "quota-near".to_owned())];
        assert_eq!(codes(news(&none, &first)), both);
        assert!(news(&first, &map(&[near(95), failed("y")])).is_empty());
        assert_eq!(codes(news(&first, &map(&[near(95)]))), [("over", "job-failed".to_owned())]);
        let down =
            |name: &str| Finding::error("backend-down", format!("the backend {name} does not answer"), "");
        assert_eq!(map(&[down("far-1"), down("far-2")]).len(), 2, "each has its own trouble");
    }

    #[test]
    fn a_queue_that_settles_nothing_is_stuck_after_a_while() {
        let (mut idle, begin) = (Idle::default(), Instant::now());
        assert!(!idle.is_stuck(5, 0, begin));
        assert!(!idle.is_stuck(5, 0, begin + STUCK_AFTER / 2));
        assert!(idle.is_stuck(5, 0, begin + STUCK_AFTER));
        assert!(!idle.is_stuck(5, 1, begin + STUCK_AFTER * 2), "it moved");
        assert!(!idle.is_stuck(5, 1, begin + STUCK_AFTER * 2));
        assert!(idle.is_stuck(5, 1, begin + STUCK_AFTER * 3));
        assert!(!idle.is_stuck(0, 1, begin + STUCK_AFTER * 4), "it is empty");
    }
}
