//! What is looked up when somebody asks: the ledger, the queue, the metadata engine, the disk.

use super::encode::{Figure, Labels};
use super::{backends, mounts};
use crate::finding::Severity;
use crate::jobs::{Report, State};
use crate::node::Node;
use crate::usage::{self, Account};
use crate::webhooks::Webhooks;
use crate::{health, options};
use store::{CopyQueues, EngineFigures, Figures, MAX_EVENTS, TableFigures};
use types::Timestamp;

const LAST_SNAPSHOT: &str =
    "When the last snapshot was taken that came to all of its backends, in seconds since 1970";

const COPIES_QUEUE: &str = "Objects' blobs that wait for work on their copies: those with too few, with too many, and those to be tried again later; 10000 stands for that many or more";

pub async fn of_node(node: &Node) -> anyhow::Result<Vec<Figure>> {
    let figures = node.store.figures().await?;
    let mut all = of_disk_and_queues(&figures);
    all.extend(of_metadata(&figures.metadata));
    all.extend(of_accounts(node));
    all.extend(backends::of(&node.store.backends()));
    all.extend(mounts::of(&node.mounts.all()));
    all.extend(of_jobs(node));
    let last = node.store.last_snapshot().await?;
    all.extend(last.map(|at| Figure::gauge("snapshot_last_seconds", LAST_SNAPSHOT, at.0 as f64 / 1000.0)));
    all.extend(of_webhooks(&node.webhooks).await?);
    let trouble = health::findings(node);
    let errors = trouble.iter().filter(|finding| finding.severity == Severity::Error).count();
    all.push(Figure::gauge("errors_present", "What `status` calls an error, now", errors));
    all.push(Figure::gauge("warnings_present", "What it warns of, now", trouble.len() - errors));
    Ok(all)
}

async fn of_webhooks(webhooks: &Webhooks) -> anyhow::Result<Vec<Figure>> {
    let queues = webhooks.queues().await?;
    let label = |name: &String| vec![("webhook", name.clone())];
    let lengths = queues.iter().map(|(name, length, _)| (label(name), *length as f64)).collect();
    let now = options::now();
    let age = |oldest: Option<Timestamp>| oldest.map_or(0, |at| now.0.saturating_sub(at.0)) as f64 / 1000.0;
    let ages = queues.iter().map(|(name, _, oldest)| (label(name), age(*oldest))).collect();
    Ok(vec![
        Figure::each("webhook_queue", "Events that wait for the webhook", lengths),
        Figure::each("webhook_oldest_seconds", "For how long the first of them has waited", ages),
        Figure::gauge("webhook_queue_limit", "Events that may wait, of all webhooks", MAX_EVENTS as f64),
    ])
}

/// By name, as `jobs` shows them.
fn of_jobs(node: &Node) -> Vec<Figure> {
    let reports: Vec<_> = node.jobs.all().iter().map(|job| job.report()).collect();
    let each = |value: fn(&Report) -> Option<f64>| {
        let of = |report: &Report| Some((vec![("job", report.name.clone())], value(report)?));
        reports.iter().filter_map(of).collect::<Vec<_>>()
    };
    let items = each(|r| Some(r.done_ever as f64));
    vec![
        Figure::each_counter("job_items", "Things that background work settled", items),
        Figure::each(
            "job_running",
            "1 while the work runs",
            each(|r| Some(f64::from(u8::from(r.state == State::Running)))),
        ),
        Figure::each(
            "job_failing",
            "1 from a failed step until the next good one",
            each(|r| Some(f64::from(u8::from(r.last_error.is_some())))),
        ),
        Figure::each(
            "job_last_end_seconds",
            "When work last came to an end, in seconds since 1970",
            each(|r| r.last_ended.map(|at| at.0 as f64 / 1000.0)),
        ),
    ]
}

fn of_disk_and_queues(figures: &Figures) -> Vec<Figure> {
    vec![
        Figure::gauge("disk_free_bytes", "Room on the data directory's disk", figures.disk.room_bytes),
        Figure::gauge("disk_size_bytes", "Size of the data directory's disk", figures.disk.size_bytes),
        Figure::gauge("disk_full", "1 while writes are refused for want of room", figures.disk.full),
        Figure::gauge(
            "cleanup_queue",
            "Blobs that wait to be deleted; 10000 stands for that many or more",
            figures.cleanup_queue,
        ),
        Figure::each("copies_queue", COPIES_QUEUE, of_copies(&figures.copies)),
        Figure::counter(
            "mount_late_notices",
            "Acknowledgements that did not wait for a mount's kernel any longer",
            figures.late_gates,
        ),
        Figure::counter(
            "scrub_verified_copies",
            "Copies that were read and found good",
            figures.scrub.replicas,
        ),
        Figure::counter(
            "scrub_verified_bytes",
            "Bytes of copies that were read and found good",
            figures.scrub.bytes,
        ),
        Figure::counter(
            "scrub_mismatches",
            "Copies that were found missing or damaged",
            figures.scrub.mismatches,
        ),
        Figure::gauge(
            "multipart_uploads",
            "Uploads in parts, unfinished or finished lately; 10000 stands for that many or more",
            figures.open_uploads,
        ),
    ]
}

fn of_copies(queues: &CopyQueues) -> Vec<(Labels, f64)> {
    let CopyQueues { missing, excess, deferred } = queues;
    let of = |(kind, waiting): (&str, usize)| (vec![("kind", kind.to_owned())], waiting as f64);
    [("missing", *missing), ("excess", *excess), ("deferred", *deferred)].map(of).to_vec()
}

fn of_metadata(engine: &EngineFigures) -> Vec<Figure> {
    let tables = |value: fn(&TableFigures) -> u64| {
        let of = |table: &TableFigures| (vec![("table", table.name.to_owned())], value(table) as f64);
        engine.tables.iter().map(of).collect::<Vec<_>>()
    };
    vec![
        Figure::gauge("metadata_block_cache_bytes", "Blocks of metadata in memory", engine.block_cache_bytes),
        Figure::gauge(
            "metadata_block_cache_capacity_bytes",
            "Blocks of metadata that memory may hold",
            engine.block_cache_capacity_bytes,
        ),
        Figure::gauge("metadata_log_bytes", "Size of the log's files", engine.log_bytes),
        Figure::gauge("metadata_compactions", "Compactions that run", engine.running_compactions),
        Figure::gauge("metadata_flushes", "Flushes that run", engine.running_flushes),
        Figure::gauge("metadata_write_stopped", "1 while writes are held up", engine.write_stopped),
        Figure::counter(
            "metadata_background_errors",
            "Flushes and compactions that failed",
            engine.background_errors,
        ),
        Figure::each("metadata_keys", "Estimated number of keys", tables(|t| t.keys)),
        Figure::each("metadata_memtable_bytes", "Changes in memory", tables(|t| t.memtable_bytes)),
        Figure::each("metadata_files_bytes", "Size of the tables' files", tables(|t| t.files_bytes)),
        Figure::each(
            "metadata_pending_compaction_bytes",
            "Estimated bytes to compact",
            tables(|t| t.pending_compaction_bytes),
        ),
    ]
}

fn of_accounts(node: &Node) -> Vec<Figure> {
    let (buckets, backends) = (usage::buckets(node), usage::backends(node));
    let bucket = |value: fn(&Account) -> Option<u64>| each("bucket", &buckets, value);
    let backend = |value: fn(&Account) -> Option<u64>| each("backend", &backends, value);
    vec![
        Figure::each("bucket_bytes", "Bytes of objects and parts", bucket(|a| Some(a.bytes))),
        Figure::each("bucket_objects", "Objects", bucket(|a| Some(a.objects))),
        Figure::each("bucket_reserved_bytes", "Room of running writes", bucket(|a| Some(a.reserved_bytes))),
        Figure::each("bucket_quota_bytes", "What the bucket may hold, if limited", bucket(|a| a.quota_bytes)),
        Figure::each("backend_bytes", "Bytes of blobs in use", backend(|a| Some(a.bytes))),
        Figure::each("backend_blobs", "Blobs in use", backend(|a| Some(a.objects))),
        Figure::each("backend_reserved_bytes", "Room of running writes", backend(|a| Some(a.reserved_bytes))),
        Figure::each(
            "backend_awaiting_bytes",
            "Bytes that wait for cleanup",
            backend(|a| Some(a.awaiting_cleanup_bytes)),
        ),
        Figure::each(
            "backend_quota_bytes",
            "What the backend may hold, if limited",
            backend(|a| a.quota_bytes),
        ),
    ]
}

fn each(label: &'static str, accounts: &[Account], value: fn(&Account) -> Option<u64>) -> Vec<(Labels, f64)> {
    let of = |account: &Account| Some((vec![(label, account.name.clone())], value(account)? as f64));
    accounts.iter().filter_map(of).collect()
}
