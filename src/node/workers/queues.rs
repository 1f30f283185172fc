//! Queues that have work and settle none, and work that should be done and is not: nothing fails there, so
//! nobody else would say it.

use super::{cleanup, copies};
use crate::command::words::{count, duration};
use crate::finding::Finding;
use crate::jobs::Job;
use crate::node::Node;
use crate::options;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{Figures, StoreError};
use types::Timestamp;

/// Whoever is told by webhooks cannot be told that they do not arrive.
pub const OF_WEBHOOKS: &str = "webhook-stuck";
/// One step of a job may be a large object, or a walk over all records.
const STEP: u32 = 6;
/// Of the cleanup queue, its oldest.
const LOOKED_AT: usize = 256;

/// Since when each has work and settles none.
#[derive(Default)]
pub struct Queues(BTreeMap<String, Idle>);

/// One queue at one moment.
struct Seen {
    name: String,
    has_work: bool,
    /// Another number than before: it moves.
    moved: u64,
    patience: Duration,
    finding: Finding,
}

impl Queues {
    pub async fn look(&mut self, node: &Node) -> Result<Vec<Finding>, StoreError> {
        let patience = node.config().stuck_after;
        let figures = node.store.figures().await?;
        let mut seen = vec![of_cleanup(node, &figures, patience).await?, of_copies(node, &figures, patience)];
        let oldest = node.webhooks.oldest().await?;
        let now = options::now();
        seen.extend(oldest.into_iter().map(|(name, first)| of_webhook(name, first, now, patience)));
        seen.extend(of_jobs(node, patience.saturating_mul(STEP)));
        Ok(self.stuck(seen, Instant::now()))
    }

    fn stuck(&mut self, seen: Vec<Seen>, now: Instant) -> Vec<Finding> {
        self.0.retain(|name, _| seen.iter().any(|queue| queue.name == *name));
        let mut stuck = Vec::new();
        for queue in seen {
            let idle = self.0.entry(queue.name).or_default();
            if idle.is_stuck(queue.has_work, queue.moved, queue.patience, now) {
                stuck.push(queue.finding);
            }
        }
        stuck
    }
}

async fn of_cleanup(node: &Node, figures: &Figures, patience: Duration) -> Result<Seen, StoreError> {
    let waiting = figures.cleanup_queue;
    // What is still read waits for its reader.
    let first = node.store.cleanup_queue(LOOKED_AT).await?;
    let message = format!("the cleanup queue does not move: {} waiting", count(waiting as u64, "blob"));
    Ok(Seen {
        name: "queue/cleanup".to_owned(),
        has_work: first.iter().any(|queued| !queued.held),
        moved: settled(node, cleanup::NAME),
        patience,
        finding: Finding::error("queue-stuck", message, "`jobs` and `logs` say more of cleanup"),
    })
}

fn of_copies(node: &Node, figures: &Figures, patience: Duration) -> Seen {
    let waiting = figures.copies.all();
    let why = node.store.copies_trouble().unwrap_or_else(|| "`logs` may say why".to_owned());
    let message =
        format!("the queue of copies does not move: {} waiting; {why}", count(waiting as u64, "blob"));
    let remedy = "a backend that answers must have room for them: `usage` and `probe` show which does";
    Seen {
        name: "queue/copies".to_owned(),
        has_work: waiting > 0,
        // A large one takes its time.
        moved: settled(node, copies::NAME).wrapping_add(node.store.background_bytes()),
        patience,
        finding: Finding::error("queue-stuck", message, remedy),
    }
}

fn settled(node: &Node, job: &str) -> u64 {
    node.jobs.find(job).map_or(0, |job| job.report().done_ever)
}

fn of_webhook(name: String, first: Option<(u64, Timestamp)>, now: Timestamp, patience: Duration) -> Seen {
    let waited = first.map_or(0, |(_, at)| now.secs().saturating_sub(at.secs()));
    let waited = duration(Duration::from_secs(waited));
    let message = format!("the webhook {name} takes no events: the first has waited for {waited}");
    Seen {
        name: format!("webhook/{name}"),
        has_work: first.is_some(),
        moved: first.map_or(0, |(sequence, _)| sequence),
        patience,
        finding: Finding::warning(
            OF_WEBHOOKS,
            message,
            "`logs` says what its receiver answers; nothing is lost",
        ),
    }
}

/// Each as soon as it is due, until it has ended.
fn of_jobs(node: &Node, patience: Duration) -> Vec<Seen> {
    let (now, bytes) = (Instant::now(), node.store.background_bytes());
    let of = |job: &Arc<Job>| {
        let signs = job.signs(now);
        let message = format!("{} does not get on, though there is work", job.name());
        Seen {
            name: format!("job/{}", job.name()),
            has_work: signs.is_some(),
            moved: signs.unwrap_or(0).wrapping_add(bytes),
            patience,
            finding: Finding::error(
                "job-stuck",
                message,
                "`logs` may say why; if it stays so, restart the node",
            ),
        }
    };
    node.jobs.all().iter().map(of).collect()
}

#[derive(Default)]
struct Idle {
    moved: u64,
    since: Option<Instant>,
}

impl Idle {
    fn is_stuck(&mut self, has_work: bool, moved: u64, patience: Duration, now: Instant) -> bool {
        if !has_work || moved != self.moved {
            *self = Self { moved, since: None };
        }
        has_work && now.duration_since(*self.since.get_or_insert(now)) >= patience
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(300);

    #[test]
    fn a_queue_that_settles_nothing_is_stuck_after_a_while() {
        let (mut idle, begin) = (Idle::default(), Instant::now());
        let mut stuck = |has_work, moved, after| idle.is_stuck(has_work, moved, LONG, begin + after);
        assert!(!stuck(true, 0, Duration::ZERO));
        assert!(!stuck(true, 0, LONG / 2));
        assert!(stuck(true, 0, LONG));
        assert!(!stuck(true, 1, LONG * 2), "it moved");
        assert!(!stuck(true, 1, LONG * 2));
        assert!(stuck(true, 1, LONG * 3));
        assert!(!stuck(false, 1, LONG * 4), "it is empty");
        assert!(!stuck(true, 1, LONG * 5), "work has just come");
    }

    #[test]
    fn each_queue_has_its_own_time() {
        let (mut queues, begin) = (Queues::default(), Instant::now());
        let first = |sequence| Some((sequence, Timestamp::from_secs(100)));
        let hook = |name: &str, first| of_webhook(name.to_owned(), first, Timestamp::from_secs(820), LONG);
        let mut look = |seen, after| {
            let found = queues.stuck(seen, begin + after);
            found.into_iter().map(|finding| finding.message).collect::<Vec<_>>()
        };
        assert!(look(vec![hook("a", first(1)), hook("b", first(2))], Duration::ZERO).is_empty());
        assert!(look(vec![hook("a", first(1)), hook("b", first(3))], LONG / 2).is_empty());
        let stuck = look(vec![hook("a", first(1)), hook("b", first(3))], LONG);
        assert_eq!(stuck, ["the webhook a takes no events: the first has waited for 12 min"]);
        assert!(look(vec![hook("b", None)], LONG * 2).is_empty());
        assert!(look(vec![hook("a", first(1))], LONG * 2).is_empty(), "it was away, and begins anew");
    }
}
