//! `s3-orchestrator probe`: a round trip of every call, and nothing left behind.

use crate::kinds::{available, node, of_node, of_server};
use crate::suite::everything;
use backend::{Backend as _, S3, S3Options, Signing};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use testkit::proxy::{Fault, Proxy, Rule};
use testkit::servers::Server;

const STEPS: [&str; 8] =
    ["put small", "get range", "head", "put large", "odd names", "list", "abort", "delete many"];
const EXTRAS: [&str; 3] = ["conditional put", "checksums", "deletes free space"];

/// A place with a configuration of three backends, one of them this provider.
fn place(provider: &S3Options) -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path();
    fs::write(dir.join("secret"), format!("{}\n", provider.signing.secret_access_key)).unwrap();
    fs::create_dir(dir.join("disk")).unwrap();
    fs::create_dir(dir.join("data")).unwrap();
    let S3Options { endpoint, bucket, signing: Signing { access_key_id, .. }, .. } = provider;
    let text = format!(
        r#"data_dir = "data"
[[buckets]]
name = "app"
  [[buckets.credentials]]
  access_key_id = "AKIDAPP"
  secret_access_key = "good-enough-secret"
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
bucket = "{bucket}"
access_key_id = "{access_key_id}"
secret_access_key_file = "secret"
path_style = true
stall_timeout = "5s"
monthly_calls = 1000
"#
    );
    fs::write(dir.join("node.toml"), text).unwrap();
    place
}

fn run(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_s3-orchestrator"));
    command.current_dir(dir).args(args).args(["--config", "node.toml"]).output().unwrap()
}

fn probe(place: &tempfile::TempDir, backend: &str) -> (Option<i32>, serde_json::Value) {
    let output = run(place.path(), &["probe", backend, "--json"]);
    let text = String::from_utf8_lossy(&output.stdout);
    let json = serde_json::from_str(&text);
    (
        output.status.code(),
        json.unwrap_or_else(|e| panic!("{e}: {text}{}", String::from_utf8_lossy(&output.stderr))),
    )
}

fn step<'a>(outcome: &'a serde_json::Value, name: &str) -> &'a serde_json::Value {
    let steps = outcome["steps"].as_array().unwrap();
    steps.iter().find(|found| found["name"] == name).unwrap_or_else(|| panic!("no {name}: {outcome}"))
}

fn verdict<'a>(outcome: &'a serde_json::Value, name: &str) -> &'a str {
    step(outcome, name)["verdict"].as_str().unwrap()
}

async fn is_as_it_was(provider: S3Options) {
    let s3 = S3::new(provider);
    assert_eq!(everything(&s3, "").await, []);
    assert_eq!(s3.unfinished("", 100).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_can_be_probed_and_is_left_as_it_was() {
    let node = node();
    let place = place(&of_node(&node));
    for backend in ["here", "usb", "far"] {
        let (code, outcome) = probe(&place, backend);
        assert_eq!((code, &outcome["usable"]), (Some(0), &true.into()), "{outcome}");
        for step in STEPS {
            assert_eq!(verdict(&outcome, step), "works", "{backend}: {outcome}");
        }
        assert!(outcome["calls"].as_u64() > Some(20) && outcome["bytes_sent"].as_u64() > Some(32 << 20));
    }
    let (_, outcome) = probe(&place, "far");
    for extra in EXTRAS {
        assert_ne!(verdict(&outcome, extra), "fails", "{outcome}");
    }
    assert_eq!(outcome["monthly_limits"]["calls"], 1000);
    let shown = run(place.path(), &["probe", "far"]);
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.status.success() && text.contains("\nfar can be used ("), "{text}");
    assert!(text.trim_start().starts_with("STEP ") && STEPS.iter().all(|step| text.contains(step)), "{text}");
    assert!(!text.contains('\x1b'), "escape sequences without a terminal: {text}");
    for dir in ["disk", "data"] {
        assert_eq!(fs::read_dir(place.path().join(dir)).unwrap().count(), 0, "{dir} is as it was");
    }
    is_as_it_was(of_node(&node)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_peoples_servers_can_be_probed_and_what_they_lack_is_told() {
    for (started, lacking) in [(Server::moto(), &["checksums"][..]), (Server::rclone(), &EXTRAS[..2])] {
        let Some(server) = available(started) else { continue };
        let (code, outcome) = probe(&place(&of_server(&server)), "far");
        assert_eq!((code, &outcome["usable"]), (Some(0), &true.into()), "{}: {outcome}", server.name);
        for step in STEPS {
            assert_eq!(verdict(&outcome, step), "works", "{}: {outcome}", server.name);
        }
        for lack in lacking {
            let found = step(&outcome, lack);
            assert_eq!(found["verdict"], "missing", "{}: {outcome}", server.name);
            assert_ne!(found["note"].as_str().unwrap_or_default(), "", "{}: {outcome}", server.name);
        }
        is_as_it_was(of_server(&server)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_named() {
    let node = node();
    let proxy = Proxy::start(node.addr()).await.unwrap();
    let place = place(&S3Options { endpoint: proxy.url(), ..of_node(&node) });
    proxy.rule(Rule::new(Fault::Status(403)).method("POST").target("delete"));
    let (code, outcome) = probe(&place, "far");
    assert_eq!((code, verdict(&outcome, "delete many")), (Some(1), "fails"), "{outcome}");
    assert_eq!(verdict(&outcome, "clean up"), "works", "{outcome}");
    is_as_it_was(of_node(&node)).await;
    proxy.down();
    let (code, outcome) = probe(&place, "far");
    assert_eq!((code, verdict(&outcome, "reach")), (Some(1), "fails"), "{outcome}");

    let unknown = run(place.path(), &["probe", "near"]);
    let message = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(message.contains("no backend \"near\"") && message.contains("here, usb, far"), "{message}");
}

/// Each is a clear word, and exit code 1: for people and for scripts.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_a_missing_bucket_and_nobody_there_are_told_apart() {
    let node = node();
    let good = of_node(&node);
    let signed = |signing| S3Options { signing, ..good.clone() };
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let cases = [
        (
            signed(Signing { secret_access_key: "another-secret".to_owned(), ..good.signing.clone() }),
            "SignatureDoesNotMatch",
        ),
        (
            signed(Signing { access_key_id: "AKIDNOBODY".to_owned(), ..good.signing.clone() }),
            "InvalidAccessKeyId",
        ),
        (S3Options { bucket: "no-such-bucket".to_owned(), ..good.clone() }, "AccessDenied"),
        (S3Options { endpoint: format!("http://{nobody}"), ..good.clone() }, "refused"),
    ];
    let mut others = Vec::new();
    if let Some(server) = available(Server::moto()) {
        others.push((
            S3Options { bucket: "no-such-bucket".to_owned(), ..of_server(&server) },
            "NoSuchBucket",
            server,
        ));
    }
    let others_cases = others.iter().map(|(options, why, _)| (options.clone(), *why));
    for (options, why) in cases.into_iter().chain(others_cases) {
        let place = place(&options);
        let (code, outcome) = probe(&place, "far");
        assert_eq!((code, &outcome["usable"]), (Some(1), &false.into()), "{why}: {outcome}");
        let reach = step(&outcome, "reach");
        let note = reach["note"].as_str().unwrap_or_default();
        assert!(reach["verdict"] == "fails" && note.contains(why), "{why}: {outcome}");
        let shown = run(place.path(), &["probe", "far"]);
        let text = String::from_utf8_lossy(&shown.stdout).into_owned();
        assert!(shown.status.code() == Some(1) && text.contains(why), "{text}");
        assert!(text.contains("\nfar cannot be used ("), "{text}");
    }
    is_as_it_was(good).await;
}
