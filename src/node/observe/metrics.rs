//! What is counted as it happens. What is looked up when somebody asks is in `snapshot.rs`.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use s3api::{Audit, Entry, Outcome};
use std::time::Duration;
use store::{BatchReport, Change};

/// From a record in memory to a large part from far away.
const REQUEST_SECONDS: [f64; 16] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// From a sync that a battery answers to a disk in trouble.
const COMMIT_SECONDS: [f64; 12] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 5.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRequest {
    operation: &'static str,
    /// `2xx`, or `499` for a client that went away.
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfOperation {
    operation: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfError {
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfEntry {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfHook {
    webhook: String,
}

type Latency = Family<OfOperation, Histogram, fn() -> Histogram>;

pub struct Metrics {
    registry: Registry,
    requests: Family<OfRequest, Counter>,
    request_seconds: Latency,
    errors: Family<OfError, Counter>,
    received_bytes: Family<OfOperation, Counter>,
    sent_bytes: Family<OfOperation, Counter>,
    aborted: Counter,
    in_flight: Gauge,
    connections: Gauge,
    connection_entries: Family<OfEntry, Counter>,
    commits: Counter,
    changes: Counter,
    commit_failures: Counter,
    batch_commits: Histogram,
    commit_wait_seconds: Histogram,
    batch_write_seconds: Histogram,
    batch_bytes: Counter,
    hook_events: Family<OfHook, Counter>,
    hook_failures: Family<OfHook, Counter>,
    hook_dropped: Family<OfHook, Counter>,
}

impl Metrics {
    pub fn new() -> Self {
        let commit_seconds = || Histogram::new(COMMIT_SECONDS);
        let mut metrics = Self {
            registry: Registry::with_prefix("s3o"),
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(|| Histogram::new(REQUEST_SECONDS)),
            errors: Family::default(),
            received_bytes: Family::default(),
            sent_bytes: Family::default(),
            aborted: Counter::default(),
            in_flight: Gauge::default(),
            connections: Gauge::default(),
            connection_entries: Family::default(),
            commits: Counter::default(),
            changes: Counter::default(),
            commit_failures: Counter::default(),
            batch_commits: Histogram::new(exponential_buckets(1.0, 2.0, 10)),
            commit_wait_seconds: commit_seconds(),
            batch_write_seconds: commit_seconds(),
            batch_bytes: Counter::default(),
            hook_events: Family::default(),
            hook_failures: Family::default(),
            hook_dropped: Family::default(),
        };
        metrics.register_requests();
        metrics.register_commits();
        metrics.register_hooks();
        metrics
    }

    fn register_requests(&mut self) {
        let r = &mut self.registry;
        r.register(
            "requests",
            "Requests that ended, by operation and class of status",
            self.requests.clone(),
        );
        r.register("request_seconds", "From head to end of the answer", self.request_seconds.clone());
        r.register("errors", "Answers with an error, by its code", self.errors.clone());
        r.register("received_bytes", "Bytes of request bodies", self.received_bytes.clone());
        r.register("sent_bytes", "Bytes of answers' bodies", self.sent_bytes.clone());
        r.register("aborted_requests", "Answers that were not sent to their end", self.aborted.clone());
        r.register("requests_in_flight", "Requests that are being answered", self.in_flight.clone());
        r.register("connections", "Open connections", self.connections.clone());
        let entries = "Connections that came, by what became of them";
        r.register("connection_entries", entries, self.connection_entries.clone());
    }

    fn register_commits(&mut self) {
        let r = &mut self.registry;
        r.register("commits", "Commits that were decided, well or not", self.commits.clone());
        r.register("changes", "Names that changed", self.changes.clone());
        r.register("commit_failures", "Batches that could not be written", self.commit_failures.clone());
        r.register("batch_commits", "Commits that shared one sync", self.batch_commits.clone());
        let wait = "From handing in a commit to its answer";
        r.register("commit_wait_seconds", wait, self.commit_wait_seconds.clone());
        r.register("batch_write_seconds", "Write and sync of a batch", self.batch_write_seconds.clone());
        r.register("batch_bytes", "Keys and values written by commits", self.batch_bytes.clone());
    }

    fn register_hooks(&mut self) {
        let r = &mut self.registry;
        r.register("webhook_events", "Events that a webhook has received", self.hook_events.clone());
        r.register(
            "webhook_failures",
            "Deliveries that failed, and were made again",
            self.hook_failures.clone(),
        );
        let dropped = "Events that no queue had room for: the webhook never hears of them";
        r.register("webhook_dropped", dropped, self.hook_dropped.clone());
    }

    pub fn hook_delivered(&self, webhook: &str, events: u64) {
        self.hook_events.get_or_create(&OfHook { webhook: webhook.to_owned() }).inc_by(events);
    }

    pub fn hook_failed(&self, webhook: &str) {
        self.hook_failures.get_or_create(&OfHook { webhook: webhook.to_owned() }).inc();
    }

    pub fn hook_dropped(&self, webhook: &str) {
        self.hook_dropped.get_or_create(&OfHook { webhook: webhook.to_owned() }).inc();
    }

    pub fn registry(&self) -> &Registry {
        &self.registry
    }
}

impl Metrics {
    pub(super) fn connection(&self, entry: Entry) {
        let outcome = match entry {
            Entry::Admitted => "admitted",
            Entry::TurnedAway => "turned_away",
            Entry::BadHandshake => "bad_handshake",
        };
        self.connection_entries.get_or_create(&OfEntry { outcome }).inc();
        if entry == Entry::Admitted {
            self.connections.inc();
        }
    }

    pub(super) fn connection_ended(&self) {
        self.connections.dec();
    }

    pub(super) fn request_began(&self) {
        self.in_flight.inc();
    }

    pub(super) fn request_ended(&self, audit: &Audit, outcome: &Outcome<'_>) {
        self.in_flight.dec();
        let operation = if audit.operation.is_empty() { "none" } else { audit.operation };
        let of = OfOperation { operation };
        self.requests.get_or_create(&OfRequest { operation, status: class(outcome.status_code()) }).inc();
        self.request_seconds.get_or_create(&of).observe(outcome.duration.as_secs_f64());
        self.received_bytes.get_or_create(&of).inc_by(outcome.bytes_in);
        self.sent_bytes.get_or_create(&of).inc_by(outcome.bytes_out);
        if let Some(code) = audit.code {
            self.errors.get_or_create(&OfError { code: code.name() }).inc();
        }
        if outcome.aborted {
            self.aborted.inc();
        }
    }
}

fn class(status: u16) -> &'static str {
    match status {
        499 => "499",
        ..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        500.. => "5xx",
    }
}

impl store::Listener for Metrics {
    fn committed(&self, changes: &[Change]) {
        self.changes.inc_by(changes.len() as u64);
    }

    fn batch_settled(&self, report: &BatchReport<'_>) {
        self.commits.inc_by(report.waits.len() as u64);
        self.batch_commits.observe(report.waits.len() as f64);
        report
            .waits
            .iter()
            .map(Duration::as_secs_f64)
            .for_each(|wait| self.commit_wait_seconds.observe(wait));
        self.batch_write_seconds.observe(report.write.as_secs_f64());
        match report.failed {
            true => self.commit_failures.inc(),
            false => self.batch_bytes.inc_by(report.bytes as u64),
        };
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn statuses_have_classes() {
        assert_eq!([200, 206, 304, 404, 499, 503].map(class), ["2xx", "2xx", "3xx", "4xx", "499", "5xx"]);
    }

    #[test]
    fn a_batch_is_counted() {
        let metrics = Metrics::new();
        let waits = [Duration::from_millis(1), Duration::from_millis(2)];
        let report =
            BatchReport { waits: &waits, bytes: 100, write: Duration::from_millis(1), failed: false };
        store::Listener::batch_settled(&metrics, &report);
        assert_eq!((metrics.commits.get(), metrics.batch_bytes.get()), (2, 100));
        let mut text = String::new();
        prometheus_client::encoding::text::encode_registry(&mut text, metrics.registry()).unwrap();
        assert!(text.contains("s3o_commit_wait_seconds_count 2\n"), "{text}");
        store::Listener::batch_settled(&metrics, &BatchReport { failed: true, ..report });
        assert_eq!((metrics.commit_failures.get(), metrics.batch_bytes.get()), (1, 100));
    }
}
