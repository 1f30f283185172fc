//! `s3-orchestrator probe`: a round trip of every call, and nothing left behind.

use crate::kinds::{node, of_node};
use crate::suite::everything;
use backend::S3;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use testkit::BucketConfig;
use testkit::proxy::{Fault, Proxy, Rule};

const BUCKETS: &str = r#"
[[buckets]]
name = "app"
  [[buckets.credentials]]
  access_key_id = "AKIDAPP"
  secret_access_key = "good-enough-secret"
"#;

fn config(dir: &Path, endpoint: &str) -> String {
    let provider = BucketConfig::new("test-bucket");
    let credential = &provider.credentials[0];
    fs::write(dir.join("secret"), format!("{}\n", credential.secret)).unwrap();
    fs::create_dir(dir.join("disk")).unwrap();
    fs::create_dir(dir.join("data")).unwrap();
    format!(
        r#"data_dir = "data"
{BUCKETS}
[[backends]]
name = "here"
kind = "embedded"
[[backends]]
name = "usb"
kind = "disk"
path = "disk"
[[backends]]
name = "far"
kind = "s3"
endpoint = "{endpoint}"
bucket = "{}"
access_key_id = "{}"
secret_access_key_file = "secret"
path_style = true
stall_timeout = "2s"
monthly_calls = 1000
"#,
        provider.name, credential.access_key
    )
}

fn run(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_s3-orchestrator"));
    command.current_dir(dir).args(args).output().unwrap()
}

fn probe(dir: &Path, backend: &str) -> (Option<i32>, serde_json::Value) {
    let output = run(dir, &["probe", backend, "--config", "node.toml", "--json"]);
    let text = String::from_utf8_lossy(&output.stdout);
    let json = serde_json::from_str(&text);
    (
        output.status.code(),
        json.unwrap_or_else(|e| panic!("{e}: {text}{}", String::from_utf8_lossy(&output.stderr))),
    )
}

fn verdict<'a>(outcome: &'a serde_json::Value, step: &str) -> &'a str {
    let steps = outcome["steps"].as_array().unwrap();
    let step =
        steps.iter().find(|found| found["name"] == step).unwrap_or_else(|| panic!("no {step}: {outcome}"));
    step["verdict"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_can_be_probed_and_is_left_as_it_was() {
    let node = node();
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("node.toml"), config(place.path(), &format!("http://{}", node.addr())))
        .unwrap();
    for backend in ["here", "usb", "far"] {
        let (code, outcome) = probe(place.path(), backend);
        assert_eq!((code, &outcome["usable"]), (Some(0), &true.into()), "{outcome}");
        for step in
            ["put small", "get range", "head", "put large", "odd names", "list", "abort", "delete many"]
        {
            assert_eq!(verdict(&outcome, step), "works", "{backend}: {outcome}");
        }
    }
    let (_, outcome) = probe(place.path(), "far");
    for step in ["conditional put", "checksums", "deletes free space"] {
        assert_ne!(verdict(&outcome, step), "fails", "{outcome}");
    }
    assert_eq!(outcome["monthly_limits"]["calls"], 1000);
    for dir in ["disk", "data"] {
        assert_eq!(fs::read_dir(place.path().join(dir)).unwrap().count(), 0, "{dir} is as it was");
    }
    assert_eq!(everything(&S3::new(of_node(&node)), "").await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_named() {
    let node = node();
    let proxy = Proxy::start(node.addr()).await.unwrap();
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("node.toml"), config(place.path(), &proxy.url())).unwrap();
    proxy.rule(Rule::new(Fault::Status(403)).method("POST").target("delete"));
    let (code, outcome) = probe(place.path(), "far");
    assert_eq!((code, verdict(&outcome, "delete many")), (Some(1), "fails"), "{outcome}");
    assert_eq!(verdict(&outcome, "clean up"), "works", "{outcome}");
    assert_eq!(everything(&S3::new(of_node(&node)), "").await, []);

    proxy.down();
    let (code, outcome) = probe(place.path(), "far");
    assert_eq!((code, verdict(&outcome, "reach")), (Some(1), "fails"), "{outcome}");

    let unknown = run(place.path(), &["probe", "near", "--config", "node.toml"]);
    let message = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(message.contains("no backend \"near\"") && message.contains("here, usb, far"), "{message}");
}
