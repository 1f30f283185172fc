//! Notices what is wrong with the node, once when it begins and once when it is over.

use super::Stop;
use super::queues::{OF_WEBHOOKS, Queues};
use crate::finding::Finding;
use crate::health;
use crate::node::Node;
use crate::service;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const EVERY: Duration = Duration::from_secs(2);

pub async fn run(node: Arc<Node>, mut stop: Stop) {
    let mut known = BTreeMap::new();
    let mut queues = Queues::default();
    while stop.or_sleep(EVERY).await {
        // What cannot be looked at is told by those who work on it.
        if let Ok(stuck) = queues.look(&node).await {
            node.stuck.store(Arc::new(stuck));
        }
        let found: BTreeMap<_, _> =
            health::findings(&node).into_iter().map(|finding| (subject(&finding), finding)).collect();
        let news = news(&known, &found);
        if !news.is_empty() {
            service::status(worst(&found));
        }
        for (state, finding) in news {
            tracing::warn!(code = finding.code, state, what = finding.message, "trouble");
            if finding.code == OF_WEBHOOKS {
                continue;
            }
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
    let what = steady.split(": ").next().unwrap_or_default();
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
}
