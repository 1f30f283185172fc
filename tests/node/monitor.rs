//! The node seen from outside: health, every metric, and the dashboard that is made of them.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use testkit::metrics::{Scrape, fetch, get};
use testkit::receiver::Receiver;
use testkit::{BucketConfig, Node, NodeConfig};

/// Generous: a test machine may be busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// A receiver that is there, and one that is not.
fn hooks(receiver: &Receiver) -> String {
    let hook = |name: &str, url: &str| {
        format!("[[webhooks]]\nname = \"{name}\"\nurl = \"{url}\"\nsecret = \"for-tests-only\"\n")
    };
    let away = Receiver::start().expect("a receiver").url("/");
    hook("good", &receiver.url("/")) + &hook("bad", &away)
}

fn config() -> NodeConfig {
    let mut config = NodeConfig::new(env!("CARGO_BIN_EXE_s3-orchestrator"));
    config.buckets = vec![BucketConfig::new("watched").quota("1GB")];
    config.more = vec![
        "[[backends]]\nname = \"local\"\nkind = \"embedded\"\nquota = \"10GB\"".to_owned(),
        "[admin]\nlisten = \"127.0.0.1:0\"".to_owned(),
    ];
    config
}

fn scrape(node: &Node) -> Scrape {
    Scrape::of(node.monitor_addr().expect("an address")).expect("metrics")
}

/// Scrapes until `done`, since some figures follow the answers that cause them.
fn scrape_until(node: &Node, done: impl Fn(&Scrape) -> bool) -> Scrape {
    let until = Instant::now() + PATIENCE;
    loop {
        let now = scrape(node);
        if done(&now) || Instant::now() > until {
            return now;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn health_is_told_to_whoever_asks() {
    let node = Node::start(config()).expect("a node");
    let addr = node.monitor_addr().expect("an address");
    let answer = |path| get(addr, path).expect("an answer");
    assert_eq!(answer("/health/live"), (200, "live\n".to_owned()));
    assert_eq!(answer("/health/ready"), (200, "ready\n".to_owned()));
    assert_eq!(answer("/").0, 404);
    assert_eq!(answer("/metrics/").0, 404);
    let (status, head, body) = fetch(addr, "HEAD", "/health/live").expect("an answer");
    assert_eq!((status, body.as_str()), (200, ""));
    assert!(head.to_ascii_lowercase().contains("content-length: 5"), "{head}");
    assert_eq!(fetch(addr, "POST", "/metrics").expect("an answer").0, 405);
    let (_, head, _) = fetch(addr, "GET", "/metrics").expect("an answer");
    assert!(head.contains("application/openmetrics-text; version=1.0.0"), "{head}");
    // Monitors ask often: they are not in the audit log.
    assert!(!node.log_tail().contains("health"), "{}", node.log_tail());
}

#[test]
fn without_the_key_there_is_no_listener() {
    let mut config = config();
    config.more.pop();
    let node = Node::start(config).expect("a node");
    std::thread::sleep(Duration::from_millis(200));
    let said = std::fs::read_to_string(node.config_path().with_file_name("stdout.log")).expect("its output");
    assert!(said.contains("listening on") && !said.contains("monitored"), "{said}");
}

#[test]
fn a_node_that_stops_lives_but_is_not_ready() {
    let mut node = Node::start(config()).expect("a node");
    let addr = node.monitor_addr().expect("an address");
    // A request in flight keeps the node from ending at once.
    let half = half_a_put(&node);
    node.signal(libc::SIGTERM);
    let until = Instant::now() + PATIENCE;
    let ready = loop {
        let ready = get(addr, "/health/ready").expect("an answer");
        if ready.0 == 503 || Instant::now() > until {
            break ready;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    assert_eq!(ready, (503, "not ready: stopping\n".to_owned()));
    assert_eq!(get(addr, "/health/live").expect("an answer").0, 200);
    drop(half);
    assert!(node.sigterm().expect("an end").code().is_some());
}

/// A signed PUT whose body does not come.
fn half_a_put(node: &Node) -> TcpStream {
    let client = node.client();
    let mut socket = TcpStream::connect(node.addr()).expect("a connection");
    let head = client.raw_head("PUT", &client.path_of("half"), "", &[], &[b'x'; 100_000]);
    socket.write_all(&head).expect("a head");
    std::thread::sleep(Duration::from_millis(200));
    socket
}

/// How a metric must have moved by the work of the test.
enum Moved {
    /// More than before.
    Up,
    /// It is there, with a value above zero.
    Positive,
    /// It is there with this value.
    Is(f64),
    /// It is there: what it says is the machine's affair.
    Present,
}
use Moved::{Is, Positive, Present, Up};

/// Every metric of the node: a new one without a line here fails the test.
const METRICS: &[(&str, &[(&str, &str)], Moved)] = &[
    ("s3o_requests_total", &[("operation", "PutObject"), ("status", "2xx")], Up),
    ("s3o_requests_total", &[("operation", "GetObject"), ("status", "4xx")], Up),
    ("s3o_request_seconds_count", &[("operation", "GetObject")], Up),
    ("s3o_request_seconds_sum", &[("operation", "GetObject")], Up),
    ("s3o_request_seconds_bucket", &[("operation", "PutObject"), ("le", "+Inf")], Up),
    ("s3o_errors_total", &[("code", "NoSuchKey")], Up),
    ("s3o_received_bytes_total", &[("operation", "PutObject")], Up),
    ("s3o_sent_bytes_total", &[("operation", "GetObject")], Up),
    ("s3o_aborted_requests_total", &[], Up),
    ("s3o_requests_in_flight", &[], Is(1.0)),
    ("s3o_connections", &[], Positive),
    ("s3o_connection_entries_total", &[("outcome", "admitted")], Up),
    ("s3o_commits_total", &[], Up),
    ("s3o_changes_total", &[], Up),
    ("s3o_commit_failures_total", &[], Is(0.0)),
    ("s3o_batch_commits_count", &[], Up),
    ("s3o_batch_commits_sum", &[], Up),
    ("s3o_batch_commits_bucket", &[("le", "1.0")], Up),
    ("s3o_commit_wait_seconds_count", &[], Up),
    ("s3o_commit_wait_seconds_sum", &[], Up),
    ("s3o_commit_wait_seconds_bucket", &[("le", "+Inf")], Up),
    ("s3o_batch_write_seconds_count", &[], Up),
    ("s3o_batch_write_seconds_sum", &[], Up),
    ("s3o_batch_write_seconds_bucket", &[("le", "+Inf")], Up),
    ("s3o_batch_bytes_total", &[], Up),
    ("s3o_job_items_total", &[("job", "cleanup")], Up),
    ("s3o_job_running", &[("job", "cleanup")], Present),
    ("s3o_job_failing", &[("job", "cleanup")], Is(0.0)),
    ("s3o_job_last_end_seconds", &[("job", "cleanup")], Positive),
    ("s3o_errors_present", &[], Is(0.0)),
    ("s3o_warnings_present", &[], Is(0.0)),
    ("s3o_webhook_events_total", &[("webhook", "good")], Up),
    ("s3o_webhook_failures_total", &[("webhook", "bad")], Up),
    ("s3o_webhook_queue", &[("webhook", "good")], Is(0.0)),
    ("s3o_webhook_queue", &[("webhook", "bad")], Positive),
    ("s3o_webhook_oldest_seconds", &[("webhook", "bad")], Positive),
    ("s3o_webhook_queue_limit", &[], Is(1e5)),
    ("s3o_ready", &[], Is(1.0)),
    ("s3o_disk_free_bytes", &[], Positive),
    ("s3o_disk_size_bytes", &[], Positive),
    ("s3o_disk_full", &[], Is(0.0)),
    ("s3o_cleanup_queue", &[], Present),
    ("s3o_multipart_uploads", &[], Is(1.0)),
    ("s3o_metadata_block_cache_bytes", &[], Positive),
    ("s3o_metadata_block_cache_capacity_bytes", &[], Positive),
    ("s3o_metadata_log_bytes", &[], Positive),
    ("s3o_metadata_compactions", &[], Present),
    ("s3o_metadata_flushes", &[], Present),
    ("s3o_metadata_write_stopped", &[], Is(0.0)),
    ("s3o_metadata_background_errors_total", &[], Is(0.0)),
    ("s3o_metadata_keys", &[("table", "objects")], Up),
    ("s3o_metadata_memtable_bytes", &[("table", "objects")], Positive),
    ("s3o_metadata_files_bytes", &[("table", "objects")], Present),
    ("s3o_metadata_pending_compaction_bytes", &[("table", "inline")], Present),
    ("s3o_bucket_bytes", &[("bucket", "watched")], Is(SMALL + LARGE + PART)),
    ("s3o_bucket_objects", &[("bucket", "watched")], Is(2.0)),
    ("s3o_bucket_reserved_bytes", &[("bucket", "watched")], Is(HALF)),
    ("s3o_bucket_quota_bytes", &[("bucket", "watched")], Is(1e9)),
    ("s3o_backend_bytes", &[("backend", "embedded")], Is(SMALL + LARGE + PART)),
    ("s3o_backend_blobs", &[("backend", "embedded")], Is(3.0)),
    ("s3o_backend_reserved_bytes", &[("backend", "embedded")], Is(HALF)),
    ("s3o_backend_awaiting_bytes", &[("backend", "embedded")], Is(0.0)),
    ("s3o_backend_quota_bytes", &[("backend", "embedded")], Is(1e10)),
    ("process_start_time_seconds", &[], Positive),
    ("process_resident_memory_bytes", &[], Positive),
    ("process_open_fds", &[], Positive),
    ("process_max_fds", &[], Positive),
    ("process_cpu_seconds_total", &[], Present),
    ("s3o_build", &[("version", env!("CARGO_PKG_VERSION"))], Is(1.0)),
];
/// There only once something of the kind has happened.
const RARE: &[&str] = &["s3o_webhook_dropped"];

const SMALL: f64 = 1_000.0;
const LARGE: f64 = 3_000_000.0;
const PART: f64 = 70_000.0;
/// The write that is still on its way.
const HALF: f64 = 100_000.0;

async fn work(node: &Node) {
    let client = node.client();
    let ok = |what: testkit::client::Outcome| {
        let answer = what.expect("an answer");
        assert!(answer.is_success(), "{}", answer.brief());
        answer
    };
    ok(client.put("small", vec![1; SMALL as usize]).await);
    ok(client.put("large", vec![2; LARGE as usize]).await);
    ok(client.put("large", vec![3; LARGE as usize]).await);
    ok(client.get("large").await);
    assert_eq!(client.get("missing").await.expect("an answer").status, 404);
    let created = ok(client.create_upload("parts").await);
    let id = created.xml().expect("xml").text_of("UploadId").to_owned();
    ok(client.put_part("parts", &id, 1, vec![4; PART as usize]).await);
}

/// Asks for the large object and goes away in the middle of it.
fn leave_early(node: &Node) {
    let client = node.client();
    let mut socket = TcpStream::connect(node.addr()).expect("a connection");
    socket.write_all(&client.raw_head("GET", &client.path_of("large"), "", &[], b"")).expect("a request");
    let mut some = [0; 1000];
    socket.read_exact(&mut some).expect("the beginning");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_exists_and_moves() {
    let receiver = Receiver::start().expect("a receiver");
    let mut config = config();
    config.more.push(hooks(&receiver));
    let node = Node::start(config).expect("a node");
    let before = scrape(&node);
    work(&node).await;
    leave_early(&node);
    let _half = half_a_put(&node);
    let wanted = |now: &Scrape| METRICS.iter().filter(|metric| !moved(metric, &before, now)).count() == 0;
    let after = scrape_until(&node, wanted);
    for metric in METRICS {
        let (name, labels, _) = metric;
        let values = (before.sum(name, labels), after.sum(name, labels));
        assert!(moved(metric, &before, &after), "{name} {labels:?}: {values:?}");
    }
    let of_samples: BTreeSet<_> = METRICS.iter().map(|(name, ..)| family(name)).collect();
    let unknown: Vec<_> = after
        .families
        .iter()
        .filter(|name| !of_samples.contains(name.as_str()) && !RARE.contains(&name.as_str()))
        .collect();
    assert!(unknown.is_empty(), "metrics that no test has: {unknown:?}");
}

fn moved((name, labels, how): &(&str, &[(&str, &str)], Moved), before: &Scrape, after: &Scrape) -> bool {
    let Some(now) = after.sum(name, labels) else { return false };
    match how {
        Up => now > before.sum(name, labels).unwrap_or(0.0),
        Positive => now > 0.0,
        Is(value) => now == *value,
        Present => true,
    }
}

/// The name of a sample without what its kind adds.
fn family(sample: &str) -> &str {
    let suffixes = ["_total", "_count", "_sum", "_bucket"];
    suffixes.iter().find_map(|suffix| sample.strip_suffix(suffix)).unwrap_or(sample)
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_connections_are_counted() {
    let mut config = config();
    config.s3 = vec!["max_connections = 2".to_owned()];
    let node = Node::start(config).expect("a node");
    let held: Vec<_> = (0..3).map(|_| TcpStream::connect(node.addr()).expect("a connection")).collect();
    let turned_away = &[("outcome", "turned_away")];
    let seen = scrape_until(&node, |now| now.sum("s3o_connection_entries_total", turned_away).is_some());
    assert_eq!(seen.sum("s3o_connection_entries_total", turned_away), Some(1.0));
    assert_eq!(seen.sum("s3o_connections", &[]), Some(2.0));
    drop(held);
    let seen = scrape_until(&node, |now| now.sum("s3o_connections", &[]) == Some(0.0));
    assert_eq!(seen.sum("s3o_connections", &[]), Some(0.0));
}

fn dashboard() -> serde_json::Value {
    let path =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/grafana-dashboard.json");
    serde_json::from_str(&std::fs::read_to_string(path).expect("the dashboard")).expect("JSON")
}

/// Every `expr` in it, wherever it stands.
fn expressions(value: &serde_json::Value, found: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(fields) => {
            found.extend(fields.get("expr").and_then(|e| e.as_str()).map(str::to_owned));
            fields.values().for_each(|value| expressions(value, found));
        }
        serde_json::Value::Array(items) => items.iter().for_each(|value| expressions(value, found)),
        _ => {}
    }
}

/// The metrics that an expression names, each with the labels it selects by.
fn selectors(expr: &str) -> Vec<(String, Vec<String>)> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found = Vec::new();
    let mut rest = expr;
    while let Some(at) = rest.find(|c: char| c.is_ascii_alphabetic()) {
        let (_, from) = rest.split_at(at);
        let end = from.find(|c| !is_name(c)).unwrap_or(from.len());
        let (word, after) = from.split_at(end);
        rest = after;
        if word.starts_with("s3o_") || word.starts_with("process_") {
            let inside = after.strip_prefix('{').and_then(|inside| inside.split_once('}'));
            let labels = inside.map(|(labels, _)| labels).unwrap_or_default();
            let names = labels.split(',').filter_map(|label| label.split_once(['=', '!'])).map(|(n, _)| n);
            found.push((word.to_owned(), names.map(|name| name.trim().to_owned()).collect()));
        } else if word == "by" {
            let inside = after.trim_start().strip_prefix('(').and_then(|inside| inside.split_once(')'));
            let names = inside.map(|(names, _)| names).unwrap_or_default();
            // Grouping is over the metric named next, or last: both orders are allowed.
            found.push(("by".to_owned(), names.split(',').map(|name| name.trim().to_owned()).collect()));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_of_the_dashboard_finds_its_metrics() {
    let receiver = Receiver::start().expect("a receiver");
    let mut config = config();
    config.more.push(hooks(&receiver));
    let node = Node::start(config).expect("a node");
    work(&node).await;
    leave_early(&node);
    let failed = &[("webhook", "bad")];
    let told = &[("webhook", "good")];
    let seen = scrape_until(&node, |now| {
        now.sum("s3o_webhook_failures_total", failed).is_some()
            && now.sum("s3o_webhook_events_total", told).is_some()
    });
    let mut expressions_found = Vec::new();
    expressions(&dashboard(), &mut expressions_found);
    assert!(expressions_found.len() >= 25, "only {} queries", expressions_found.len());
    for expr in &expressions_found {
        let parts = selectors(expr);
        let grouping: Vec<_> = parts.iter().filter(|(word, _)| word == "by").flat_map(|(_, l)| l).collect();
        let metrics: Vec<_> = parts.iter().filter(|(word, _)| word != "by").collect();
        assert!(!metrics.is_empty(), "no metric in {expr}");
        for (name, labels) in metrics {
            let has = |sample: &&testkit::metrics::Sample| {
                sample.name == *name
                    && labels.iter().chain(grouping.iter().copied()).all(|l| sample.labels.contains_key(l))
            };
            let rare = RARE.contains(&family(name));
            assert!(
                rare || seen.samples.iter().any(|s| has(&s)),
                "{expr}: no {name} with {labels:?} {grouping:?}"
            );
        }
    }
}

#[test]
fn an_address_in_use_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address: SocketAddr = taken.local_addr().expect("an address");
    let mut config = config();
    config.more = vec![format!("[admin]\nlisten = \"{address}\"")];
    let error = Node::start(config).err().expect("no node");
    let text = format!("{error:#}");
    assert!(text.contains("admin.listen"), "{text}");
}
