//! What a running node tells about itself, and lets be done.

use crate::asked::{BINARY, Running, json, put, run, shape, start, text};
use crate::place::{Place, SMALL};
use serde_json::json;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use testkit::{BucketConfig, Node, NodeConfig};

#[tokio::test]
async fn status_is_one_screen_and_one_document() {
    let node = start();
    put(&node.client(), "a", 40_000).await;
    let shown = json(&node, &["status"]);
    let account = |name: &str| {
        json!({
            "name": name, "bytes": 40_000, "objects": 1, "reserved_bytes": 0,
            "awaiting_cleanup_bytes": 0, "quota_bytes": null,
        })
    };
    let queues =
        ["cleanup", "copies", "webhooks"].map(|name| json!({ "name": name, "waiting": 0, "or_more": false }));
    assert_eq!(
        shape(&shown, &["uptime_seconds", "configuration", "data_dir", "room_bytes", "size_bytes"]),
        json!({
            "health": "good", "findings": [],
            "version": env!("CARGO_PKG_VERSION"), "uptime_seconds": "*",
            "endpoint": format!("http://{}", node.addr()),
            "configuration": "*", "data_dir": "*",
            "disk": { "room_bytes": "*", "size_bytes": "*" },
            "queues": queues,
            "buckets": [account("test-bucket")], "backends": [account("embedded")], "mounts": [],
            "backend_conditions": [{
                "name": "embedded", "state": "active", "circuit": "closed", "down_seconds": null, "given_up": false,
                "bad_copies": 0, "month": { "calls": 0, "ingress_bytes": 0, "egress_bytes": 0 },
                "monthly_limits": { "calls": null, "ingress_bytes": null, "egress_bytes": null },
            }],
            "last_snapshot": null,
        })
    );
    let screen = text(&node, &["status"]);
    assert!(screen.starts_with(concat!("s3-orchestrator ", env!("CARGO_PKG_VERSION"), ": healthy, up ")));
    assert!(screen.contains(&format!("  endpoint       http://{}\n", node.addr())), "{screen}");
    assert!(screen.contains("  test-bucket        1  39.0 KiB"), "{screen}");
    assert!(screen.lines().count() < 24, "{screen}");
}

#[tokio::test]
async fn what_is_wrong_comes_first() {
    let bucket = BucketConfig::new("test-bucket").quota("100KB");
    let node = Node::start(NodeConfig::new(BINARY).bucket(bucket)).expect("the node starts");
    put(&node.client(), "a", 95_000).await;
    run(&node, &["jobs", "pause", "cleanup"]);
    let screen = text(&node, &["status"]);
    let expected = "warning: 95 % of the quota of bucket test-bucket are used\n  -> delete objects, or raise the \
                    quota of bucket test-bucket and `reload`\nwarning: cleanup is paused\n";
    assert!(screen.starts_with(expected), "{screen}");
    put(&node.client(), "b", 5_000).await;
    let status = run(&node, &["status", "--json"]);
    assert_eq!(status.code, Some(1), "a quota that is reached is a finding: {status:?}");
    let shown: serde_json::Value = serde_json::from_str(&status.out).expect("a document");
    assert_eq!(shown["health"], "bad");
    let codes: Vec<_> = shown["findings"].as_array().into_iter().flatten().map(|f| &f["code"]).collect();
    assert_eq!(codes, ["quota-reached", "job-paused"]);
}

#[tokio::test]
async fn usage_is_that_of_the_ledger() {
    let bucket = BucketConfig::new("test-bucket").quota("1MiB");
    let node = Node::start(NodeConfig::new(BINARY).bucket(bucket)).expect("the node starts");
    put(&node.client(), "a", 1000).await;
    put(&node.client(), "b", 50_000).await;
    let shown = json(&node, &["usage"]);
    assert_eq!(shown["buckets"][0]["bytes"], 51_000);
    assert_eq!(shown["buckets"][0]["quota_bytes"], 1 << 20);
    assert_eq!(shown["backends"][0]["objects"], 2);
    assert_eq!(
        text(&node, &["usage"]),
        "Buckets:\n  name         objects      size  reserved  awaiting cleanup    quota\n  \
         test-bucket        2  49.8 KiB       0 B               0 B  1.0 MiB\n\nBackends:\n  \
         name      objects      size  reserved  awaiting cleanup  quota\n  \
         embedded        2  49.8 KiB       0 B               0 B      -\n"
    );
}

#[tokio::test]
async fn the_cleanup_queue_can_be_seen_and_emptied() {
    let node = start();
    let client = node.client();
    put(&client, "a", 40_000).await;
    put(&client, "b", 100).await;
    text(&node, &["jobs", "pause", "cleanup"]);
    for key in ["a", "b"] {
        assert_eq!(client.delete(key).await.expect("an answer").status, 204);
    }
    let shown = json(&node, &["cleanup"]);
    assert_eq!((&shown["waiting"], &shown["waiting_bytes"]), (&json!(2), &json!(40_100)));
    assert_eq!(shown["paused"], true);
    let planned = text(&node, &["cleanup", "--dry-run"]);
    assert_eq!(planned.lines().filter(|line| line.starts_with("blob ")).count(), 2, "{planned}");
    assert!(planned.contains(", 39.0 KiB\n") && planned.contains("2 blobs waiting, 39.1 KiB\n"), "{planned}");
    assert_eq!(json(&node, &["cleanup"])["waiting"], 2, "a dry run deletes nothing");
    let emptied = text(&node, &["cleanup", "--run"]);
    assert!(emptied.starts_with("2 blobs deleted\n0 blobs waiting, 0 B\n"), "{emptied}");
    assert_eq!(json(&node, &["usage"])["backends"][0]["awaiting_cleanup_bytes"], 0);
}

#[tokio::test]
async fn jobs_are_held_and_let_go() {
    let node = start();
    let client = node.client();
    let state = |name: &str| {
        let shown = json(&node, &["jobs"]);
        let jobs = shown["jobs"].as_array().cloned().unwrap_or_default();
        jobs.iter().find(|job| job["name"] == name).map(|job| job["state"].clone()).unwrap_or_default()
    };
    assert_eq!((state("cleanup"), state("multipart-expiry")), (json!("waiting"), json!("waiting")));
    text(&node, &["jobs", "pause", "cleanup"]);
    put(&client, "a", 40_000).await;
    client.delete("a").await.expect("an answer");
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(state("cleanup"), "paused");
    assert_eq!(json(&node, &["cleanup"])["waiting"], 1, "a paused job went on");
    let resumed = json(&node, &["jobs", "resume", "cleanup"]);
    assert_eq!(resumed["jobs"].as_array().map(Vec::len), Some(1));
    let until = Instant::now() + Duration::from_secs(20);
    while json(&node, &["cleanup"])["waiting"] != 0 {
        assert!(Instant::now() < until, "a resumed job does nothing");
        std::thread::sleep(Duration::from_millis(50));
    }
    let idle = run(&node, &["jobs", "cancel", "cleanup"]);
    assert_eq!((idle.code, idle.err.contains("nothing running")), (Some(1), true), "{idle:?}");
    let unknown = run(&node, &["jobs", "run", "polish"]);
    assert!(
        unknown.code == Some(1) && unknown.err.contains("there are: cleanup, multipart-expiry"),
        "{unknown:?}"
    );
    let shown = text(&node, &["jobs", "--follow"]);
    assert!(shown.starts_with("  job "), "{shown}");
}

#[tokio::test]
async fn an_object_is_located() {
    let node = start();
    let client = node.client();
    put(&client, "dir/small", 100).await;
    let headers = [("content-type", "text/plain"), ("x-amz-meta-colour", "blue")];
    let answer = client.put_with("dir/large", vec![b'x'; 300_000], &headers).await.expect("an answer");
    let shown = json(&node, &["locate", "test-bucket/dir/large"]);
    assert_eq!(shown["etag"], answer.etag().trim_matches('"'));
    assert_eq!((&shown["size"], &shown["content_type"]), (&json!(300_000), &json!("text/plain")));
    assert_eq!(shown["user_metadata"], json!([["colour", "blue"]]));
    assert_eq!(shown["checksum"]["algorithm"], "CRC64NVME");
    let place = shown["pieces"][0]["replicas"][0]["place"].as_str().expect("a place");
    assert_eq!(std::fs::metadata(place).expect("the blob's file").len(), 300_000);
    assert_eq!(shown["pieces"][0]["references"], 1);
    assert_eq!(shown["wanted"], json!({ "copies": 1, "acknowledge": 1, "placement": "pack" }));
    let replica = &shown["pieces"][0]["replicas"][0];
    assert_eq!((&replica["health"], &replica["counts"]), (&json!("good"), &json!(true)), "{shown}");
    assert!(replica["verified"].as_str().is_some_and(|at| at.starts_with("20")), "{shown}");
    assert_eq!(replica["why"], "is read now, in the data directory, where pack would put it now");
    let small = text(&node, &["explain", "s3://test-bucket/dir/small"]);
    assert!(small.contains("  bytes         100 B on embedded: with the metadata\n"), "{small}");
    assert!(small.contains("  wanted        1 copy, 1 before the answer, placed by pack\n"), "{small}");
    assert!(small.contains("                good, verified 2"), "{small}");
    for (object, part) in [("test-bucket/none", "no object"), ("other/none", "no bucket")] {
        let missing = run(&node, &["locate", object]);
        assert!(missing.code == Some(1) && missing.err.contains(part), "{missing:?}");
    }
}

#[tokio::test]
async fn logs_are_kept_and_their_level_is_changed() {
    let node = start();
    assert_eq!(json(&node, &["log-level"]), json!({ "filter": "info" }));
    put(&node.client(), "a", 10).await;
    let shown = text(&node, &["logs"]);
    assert!(shown.contains(" INFO  listening address=127.0.0.1:"), "{shown}");
    assert!(!shown.contains("PutObject"), "audit lines unasked: {shown}");
    let audited = json(&node, &["logs", "--audit", "--lines", "1000"]);
    let lines = audited["lines"].as_array().cloned().unwrap_or_default();
    let audit: Vec<_> = lines.iter().filter(|line| line["audit"] == true).collect();
    assert!(
        audit.iter().any(|line| line["text"].as_str().is_some_and(|t| t.contains("PutObject"))),
        "{audited}"
    );
    assert_eq!(text(&node, &["log-level", "error"]), "error\n");
    let last = || json(&node, &["logs", "--audit"])["last"].clone();
    let before = last();
    put(&node.client(), "b", 10).await;
    assert_eq!(last(), before, "more than errors are logged");
    let wrong = run(&node, &["log-level", "a=b=c"]);
    assert_eq!(wrong.code, Some(1), "{wrong:?}");
    assert_eq!(text(&node, &["log-level"]), "error\n");
}

#[test]
fn logs_are_followed() {
    let node = start();
    let mut follower = node.command("logs");
    let follower = follower.args(["--follow", "--lines", "1"]).stdout(std::process::Stdio::piped());
    let mut follower = Running(follower.spawn().expect("a follower"));
    text(&node, &["log-level", "debug"]);
    let mut out = String::new();
    let mut piece = [0; 4096];
    let mut pipe = follower.0.stdout.take().expect("a pipe");
    while !out.contains("what is logged was changed") {
        let read = pipe.read(&mut piece).expect("the follower's output");
        assert!(read > 0, "the follower ended: {out}");
        out.push_str(&String::from_utf8_lossy(&piece[..read]));
    }
}

#[test]
fn versions_agree() {
    let place = Place::empty();
    assert_eq!(place.run(&["version"]).out, place.run(&["--version"]).out);
    let shown: serde_json::Value =
        serde_json::from_str(&place.run(&["version", "--json"]).out).expect("a document");
    assert_eq!(
        (&shown["name"], &shown["version"]),
        (&json!("s3-orchestrator"), &json!(env!("CARGO_PKG_VERSION")))
    );
}

#[test]
fn without_a_node_there_is_a_clear_answer() {
    let place = Place::with_config(SMALL);
    for command in
        ["status", "usage", "cleanup", "jobs", "logs", "log-level", "reload", "credentials", "mounts"]
    {
        let refused = place.run(&[command]);
        assert_eq!(refused.code, Some(3), "{command}: {refused:?}");
        assert!(refused.err.contains("no node is running here"), "{command}: {}", refused.err);
        let document = place.run(&[command, "--json"]).out;
        let document: serde_json::Value = serde_json::from_str(&document).expect("a document");
        assert_eq!(document["error"]["code"], "no-node", "{command}");
    }
    let elsewhere = place.run(&["status", "--socket", "/nowhere/admin.sock"]);
    assert!(elsewhere.code == Some(3) && elsewhere.err.contains("/nowhere/admin.sock"), "{elsewhere:?}");
    assert_eq!(Place::empty().run(&["status", "--socket", "x", "--data-dir", "y"]).code, Some(2));
}

/// The environment of the node need not be that of the person who asks.
#[test]
fn a_node_is_found_by_its_configuration_its_directory_and_its_socket() {
    let place = Place::with_config(&SMALL.replace("a/test+secret", "${S3O_SECRET}"));
    let mut command = place.command(&["serve"]);
    command.env("S3O_SECRET", "a/test+secret").stdout(std::process::Stdio::piped());
    let mut node = Running(command.stderr(std::process::Stdio::null()).spawn().expect("a node"));
    let mut first = [0; 16];
    node.0.stdout.as_mut().expect("a pipe").read_exact(&mut first).expect("the first line");
    for way in [
        &["--config", "s3-orchestrator.toml"][..],
        &["--data-dir", "data"],
        &["--socket", "data/admin.sock"],
        &[],
    ] {
        let mut args = vec!["usage"];
        args.extend_from_slice(way);
        let answer = place.run(&args);
        assert_eq!(answer.code, Some(0), "{way:?}: {answer:?}");
    }
}

#[test]
fn the_socket_is_private_and_goes_with_the_node() {
    let mut node = start();
    let socket = node.data_dir().join("admin.sock");
    let mode = std::fs::metadata(&socket).expect("the socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    node.restart().expect("a start behind a crash, which left its socket");
    assert_eq!(run(&node, &["status"]).code, Some(0));
    node.sigterm().expect("an orderly end");
    assert!(!socket.exists(), "the socket is left behind");
}

fn raw(node: &Node, request: &str) -> String {
    let mut socket = UnixStream::connect(node.data_dir().join("admin.sock")).expect("a connection");
    socket.write_all(request.as_bytes()).expect("a request");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn what_the_socket_does_not_understand_has_a_code() {
    let node = start();
    let post = |path: &str, body: &str| {
        let length = body.len();
        raw(
            &node,
            &format!(
                "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
            ),
        )
    };
    assert!(post("/v1/version", "").starts_with("HTTP/1.1 200 OK\r\n"));
    for (path, body, status, code) in [
        ("/v1/polish", "", "404", "unknown-command"),
        ("/v1/jobs", "{", "400", "bad-request"),
        ("/v1/jobs", r#"{"action":"polish","name":"x"}"#, "400", "bad-request"),
        ("/v1/logs", r#"{"lines":1,"bogus":2}"#, "400", "bad-request"),
        ("/v1/locate", r#"{"bucket":"none","key":"x"}"#, "404", "not-found"),
        ("/v1/log-level", &format!(r#"{{"set":"{}"}}"#, "x".repeat(100_000)), "400", "bad-request"),
    ] {
        let answer = post(path, body);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {answer}");
        assert!(answer.contains(&format!(r#"{{"code":"{code}","message":""#)), "{path}: {answer}");
    }
    let got = raw(&node, "GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(got.starts_with("HTTP/1.1 400 "), "{got}");
}

/// More than one pass deletes, so that there is something to count.
#[tokio::test]
async fn a_long_cleanup_counts_what_it_does() {
    let node = start();
    let client = node.client();
    text(&node, &["jobs", "pause", "cleanup"]);
    let keys: Vec<_> = (0..700).map(|n| format!("k{n}")).collect();
    for key in &keys {
        put(&client, key, 10).await;
    }
    assert_eq!(client.delete_many(&keys).await.expect("an answer").status, 200);
    assert_eq!(json(&node, &["cleanup"])["waiting"], 700);
    text(&node, &["jobs", "resume", "cleanup"]);
    let until = Instant::now() + Duration::from_secs(30);
    let cleanup = loop {
        let jobs = json(&node, &["jobs"])["jobs"].as_array().cloned().unwrap_or_default();
        let cleanup = jobs.into_iter().find(|job| job["name"] == "cleanup").expect("the job");
        if cleanup["state"] == "waiting" && cleanup["done_since_start"] == 700 {
            break cleanup;
        }
        assert!(Instant::now() < until, "{cleanup}");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!((&cleanup["done"], &cleanup["total"]), (&json!(700), &json!(700)));
    assert!(
        cleanup["last_ended"].is_string() && cleanup["rate_per_second"].as_f64() > Some(0.0),
        "{cleanup}"
    );
    let shown = text(&node, &["jobs"]);
    assert!(shown.contains("[####################] 700/700"), "{shown}");
}
