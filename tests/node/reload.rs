//! A configuration that changes under load: nobody notices but those it is about.

use crate::asked::{BINARY, json, put, run, text};
use serde_json::json;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use testkit::{BucketConfig, Credential, Node, NodeConfig, S3Client};

fn start() -> Node {
    let bucket = BucketConfig::new("app-1").quota("100MB");
    Node::start(NodeConfig::new(BINARY).bucket(bucket)).expect("the node starts")
}

pub fn edit(node: &Node, from: &str, to: &str) {
    let text = fs::read_to_string(node.config_path()).expect("the configuration");
    assert!(text.contains(from), "{from} is not in {text}");
    fs::write(node.config_path(), text.replace(from, to)).expect("the configuration");
}

pub fn append(node: &Node, more: &str) {
    let text = fs::read_to_string(node.config_path()).expect("the configuration");
    fs::write(node.config_path(), text + more).expect("the configuration");
}

/// A further bucket with a credential, as the file has it.
pub fn further(name: &str) -> (String, Credential) {
    let bucket = BucketConfig::new(name);
    let credential = bucket.credentials[0].clone();
    let text = format!(
        "\n[[buckets]]\nname = \"{name}\"\n[[buckets.credentials]]\naccess_key_id = \"{}\"\nsecret_access_key = \"{}\"\n",
        credential.access_key, credential.secret
    );
    (text, credential)
}

/// Writers and readers that count what fails.
pub struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    running: Vec<tokio::task::JoinHandle<Vec<String>>>,
}

impl Load {
    pub fn start(client: &S3Client) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let one = |n: u64| tokio::spawn(keep_busy(client.clone(), n, Arc::clone(&stop), Arc::clone(&done)));
        let running = (0..6).map(one).collect();
        Self { stop, done, running }
    }

    pub async fn went_on(&self, requests: u64) {
        let (wanted, until) =
            (self.done.load(Ordering::Relaxed) + requests, Instant::now() + Duration::from_secs(60));
        while self.done.load(Ordering::Relaxed) < wanted {
            assert!(Instant::now() < until, "the load does not go on");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.running {
            let failures = task.await.expect("a task of the load");
            assert!(failures.is_empty(), "requests failed: {failures:?}");
        }
    }
}

async fn keep_busy(client: S3Client, n: u64, stop: Arc<AtomicBool>, done: Arc<AtomicU64>) -> Vec<String> {
    let mut failures = Vec::new();
    let key = format!("load-{n}");
    while !stop.load(Ordering::Relaxed) {
        let body = vec![b'x'; if n.is_multiple_of(2) { 500 } else { 200_000 }];
        for outcome in [client.put(&key, body).await, client.get(&key).await] {
            match outcome {
                Ok(answer) if answer.status == 200 => done.fetch_add(1, Ordering::Relaxed),
                Ok(answer) => {
                    failures.push(answer.brief());
                    0
                }
                Err(error) => {
                    failures.push(format!("{error:?}"));
                    0
                }
            };
        }
    }
    failures
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_that_can_change_does_so_under_load_without_one_failed_request() {
    let node = start();
    let load = Load::start(&node.client());
    load.went_on(20).await;

    let (bucket, credential) = further("app-2");
    append(&node, &bucket);
    let its_credential = format!("buckets.app-2.credentials.{}", credential.access_key);
    assert_eq!(json(&node, &["reload"])["changed"], json!(["buckets.app-2", its_credential]));
    let second = S3Client::new(node.addr(), "app-2", credential.clone());
    put(&second, "first", 10).await;
    load.went_on(20).await;

    edit(&node, "quota = \"100MB\"", "quota = \"200MB\"");
    assert_eq!(json(&node, &["reload"])["changed"], json!(["buckets.app-1.quota"]));
    assert_eq!(json(&node, &["usage"])["buckets"][0]["quota_bytes"], 200_000_000);

    edit(
        &node,
        "[s3]\n",
        "[s3]\nmax_object_size = \"1MB\"\nmax_xml_size = \"70KiB\"\nidle_timeout = \"20s\"\n",
    );
    json(&node, &["reload"]);
    let large = node.client().put("large", vec![b'x'; 1_000_001]).await.expect("an answer");
    assert_eq!(large.code().as_deref(), Some("EntityTooLarge"), "{}", large.brief());
    load.went_on(20).await;

    edit(&node, &credential.secret, "another-secret-of-app-2");
    json(&node, &["reload"]);
    assert_eq!(second.get("first").await.expect("an answer").status, 403, "the old secret still works");
    let changed = Credential { secret: "another-secret-of-app-2".to_owned(), ..credential };
    let renewed = S3Client::new(node.addr(), "app-2", changed);
    assert_eq!(renewed.get("first").await.expect("an answer").status, 200);

    append(&node, "\n[log]\nlevel = \"warn\"\n");
    json(&node, &["reload"]);
    assert_eq!(text(&node, &["log-level"]), "warn\n");
    load.went_on(20).await;
    load.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_of_requests_can_be_lowered_and_raised() {
    let node = start();
    put(&node.client(), "a", 10).await;
    edit(&node, "[s3]\n", "[s3]\nmax_connections = 1\n");
    json(&node, &["reload"]);
    // The client opens a connection for each request: one that is held takes the only place.
    let held = tokio::net::TcpStream::connect(node.addr()).await.expect("a connection");
    tokio::time::sleep(Duration::from_millis(200)).await;
    let refused = node.client().get("a").await;
    assert!(!refused.is_ok_and(|answer| answer.is_success()), "there was no place");
    assert!(text(&node, &["logs", "--audit"]).contains(" error=SlowDown"));
    edit(&node, "max_connections = 1\n", "max_connections = 50\n");
    json(&node, &["reload"]);
    assert_eq!(node.client().get("a").await.expect("an answer").status, 200);
    drop(held);
}

#[tokio::test]
async fn a_bad_file_changes_nothing_and_says_why() {
    let node = start();
    let client = node.client();
    put(&client, "a", 10).await;
    let before = (json(&node, &["usage"]), json(&node, &["credentials"]));
    let good = fs::read_to_string(node.config_path()).expect("the configuration");
    for (from, to, why) in [
        ("quota = \"100MB\"", "quota = \"lots\"", ":8:9: error: \"lots\""),
        ("[s3]", "[s3", ":3:"),
        ("name = \"app-1\"", "name = \"app-1\"\nqouta = 5", "did you mean `quota`?"),
        (
            "secret_access_key",
            "#secret_access_key",
            "`secret_access_key` or `secret_access_key_file` is missing",
        ),
    ] {
        fs::write(node.config_path(), good.replace(from, to)).expect("the configuration");
        let refused = run(&node, &["reload"]);
        let file = node.config_path().display().to_string();
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(refused.err.contains(&file) && refused.err.contains(why), "{why}: {}", refused.err);
        assert_eq!(client.get("a").await.expect("an answer").status, 200);
    }
    fs::write(node.config_path(), &good).expect("the configuration");
    assert_eq!((json(&node, &["usage"]), json(&node, &["credentials"])), before);
    assert_eq!(json(&node, &["reload"])["changed"], json!([]));
}

#[tokio::test]
async fn what_needs_a_start_is_named_until_it_has_one() {
    let mut node = start();
    edit(&node, "listen = \"127.0.0.1:0\"", "listen = \"127.0.0.2:0\"");
    append(&node, "\n[log]\nformat = \"text\"\n");
    let shown = json(&node, &["reload"]);
    assert_eq!(
        (&shown["changed"], &shown["needs_restart"]),
        (&json!([]), &json!(["log.format", "s3.listen"]))
    );
    assert_eq!(json(&node, &["reload"])["needs_restart"], json!(["log.format", "s3.listen"]), "forgotten");
    put(&node.client(), "a", 10).await;
    let screen = text(&node, &["status"]);
    let finding = "warning: the configuration was changed in log.format, s3.listen\n";
    assert!(screen.starts_with(finding), "{screen}");
    node.restart().expect("a start");
    assert_eq!(node.addr().ip().to_string(), "127.0.0.2");
    assert_eq!(json(&node, &["status"])["findings"], json!([]));
}

#[tokio::test]
async fn a_signal_reloads_too() {
    let node = start();
    let (bucket, credential) = further("app-2");
    append(&node, &bucket);
    node.signal(libc::SIGHUP);
    let client = S3Client::new(node.addr(), "app-2", credential);
    let until = Instant::now() + Duration::from_secs(20);
    while client.put("a", "x").await.expect("an answer").status != 200 {
        assert!(Instant::now() < until, "the signal had no effect");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    fs::write(node.config_path(), "nonsense").expect("the configuration");
    node.signal(libc::SIGHUP);
    let until = Instant::now() + Duration::from_secs(20);
    while !text(&node, &["logs"]).contains("the configuration stays as it was") {
        assert!(Instant::now() < until, "the failure is not in the log");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(client.get("a").await.expect("an answer").status, 200);
}

#[tokio::test]
async fn a_bucket_that_goes_and_comes_back_has_kept_its_objects() {
    let node = start();
    let (bucket, credential) = further("app-2");
    append(&node, &bucket);
    json(&node, &["reload"]);
    let client = S3Client::new(node.addr(), "app-2", credential);
    put(&client, "kept", 10).await;
    edit(&node, &bucket, "");
    json(&node, &["reload"]);
    assert_eq!(client.get("kept").await.expect("an answer").status, 403);
    append(&node, &bucket);
    json(&node, &["reload"]);
    assert_eq!(client.get("kept").await.expect("an answer").status, 200);
}

#[tokio::test]
async fn a_file_that_has_lost_its_data_dir_is_not_taken_for_a_node_that_is_not_there() {
    let elsewhere = tempfile::tempdir().expect("a directory");
    let data_dir = elsewhere.path().join("objects");
    let bucket = BucketConfig::new("app-1").quota("100MB");
    let node =
        Node::start(NodeConfig::new(BINARY).bucket(bucket).data_dir(&data_dir)).expect("the node starts");
    put(&node.client(), "a", 10).await;
    let line = format!("data_dir = \"{}\"\n", data_dir.display());
    edit(&node, &line, "");
    // The command looks where the file says that the node is now: nobody is there, and it says why.
    let lost = run(&node, &["reload"]);
    assert_eq!(lost.code, Some(3), "{lost:?}");
    assert!(lost.err.contains("has no data_dir") && lost.err.contains("--data-dir DIR asks it"), "{lost:?}");
    let old = data_dir.display().to_string();
    let shown = json(&node, &["reload", "--data-dir", &old]);
    assert_eq!((&shown["changed"], &shown["needs_restart"]), (&json!([]), &json!(["data_dir"])));
    let warning = shown["warnings"][0].as_str().unwrap_or_default();
    let default = node.config_path().with_file_name("data").display().to_string();
    assert!(warning.starts_with("data_dir differs: ") && warning.contains(&old), "{shown}");
    assert!(warning.contains(&default), "{shown}");
    assert_eq!(node.client().get("a").await.expect("an answer").status, 200);
    // So does the log after a signal.
    node.signal(libc::SIGHUP);
    let logs = ["logs", "--data-dir", &old];
    let until = Instant::now() + Duration::from_secs(20);
    while text(&node, &logs).matches("data_dir differs").count() < 2 {
        assert!(Instant::now() < until, "the log does not say it");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    edit(&node, "\n[s3]\n", &format!("{line}\n[s3]\n"));
    let again = json(&node, &["reload"]);
    assert_eq!((&again["needs_restart"], &again["warnings"]), (&json!([]), &json!([])));
}
