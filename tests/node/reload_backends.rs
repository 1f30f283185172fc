//! Backends that come with a reload take part at once; nobody's request fails for it.

use crate::asked::{BINARY, json, put, run, text};
use crate::reload::{Load, append, edit, further};
use serde_json::{Value, json};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use testkit::{BucketConfig, Node, NodeConfig, backends, fsck};

const PATIENCE: Duration = Duration::from_secs(60);

fn start(more: &[String]) -> Node {
    let mut config = NodeConfig::new(BINARY).bucket(BucketConfig::new("app-1").quota("100MB"));
    config.more = more.to_vec();
    Node::start(config).expect("the node starts")
}

fn dir() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

pub fn disk(name: &str, path: &Path) -> String {
    format!("\n{}\n", backends::disk(name, path))
}

pub fn provider(name: &str, node: &Node) -> String {
    let credential = &BucketConfig::new("test-bucket").credentials[0];
    let url = format!("http://{}", node.addr());
    format!("\n{}\n", backends::provider(name, &url, "test-bucket", credential))
}

const EMBEDDED: &str = "\n[[backends]]\nname = \"local\"\nkind = \"embedded\"\n";

pub fn backend(node: &Node, name: &str) -> Value {
    let usage = json(node, &["usage"]);
    let backends = usage["backends"].as_array().cloned().unwrap_or_default();
    backends.into_iter().find(|backend| backend["name"] == name).unwrap_or(Value::Null)
}

/// Where an object's copies lie, by name.
fn places(node: &Node, key: &str) -> Vec<String> {
    let located = json(node, &["locate", &format!("app-1/{key}")]);
    let replicas = located["pieces"][0]["replicas"].as_array().cloned().unwrap_or_default();
    let mut names: Vec<_> =
        replicas.iter().filter_map(|r| r["backend"].as_str()).map(str::to_owned).collect();
    names.sort();
    names
}

pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn metrics(node: &Node) -> String {
    let printed = fs::read_to_string(node.config_path().with_file_name("stdout.log")).expect("its output");
    let line = printed.lines().find(|line| line.contains(" monitored on ")).expect("where metrics are");
    let address =
        line.split_once("http://").and_then(|(_, rest)| rest.split_whitespace().next()).expect("an address");
    let mut stream = TcpStream::connect(address).expect("a connection");
    write!(stream, "GET /metrics HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").expect("asked");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_and_a_provider_come_under_load_and_take_part_at_once() {
    let far = crate::asked::start();
    let usb = dir();
    let mut node = start(&["[admin]\nlisten = \"127.0.0.1:0\"".to_owned()]);
    let client = node.client();
    put(&client, "before", 5_000).await;
    put(&client, "before-large", 700_000).await;
    let load = Load::start(&client);
    load.went_on(20).await;

    // The data directory had no name; now that it has others beside it, it needs one.
    append(&node, &format!("{EMBEDDED}{}{}", disk("usb", usb.path()), provider("far", &far)));
    edit(&node, "name = \"app-1\"\n", "name = \"app-1\"\ncopies = 3\nacknowledge = \"all\"\n");
    let shown = json(&node, &["reload"]);
    let added = json!([
        "backends.far",
        "backends.local",
        "backends.usb",
        "buckets.app-1.acknowledge",
        "buckets.app-1.copies"
    ]);
    assert_eq!((&shown["changed"], &shown["needs_restart"]), (&added, &json!([])), "{shown}");
    put(&client, "after", 5_000).await;
    assert_eq!(places(&node, "after"), ["far", "local", "usb"], "a write goes to all at once");
    load.went_on(20).await;
    for key in ["before", "before-large"] {
        wait_until("older objects get their copies", || places(&node, key) == ["far", "local", "usb"]);
    }
    load.went_on(20).await;

    for name in ["local", "usb", "far"] {
        let label = format!("backend=\"{name}\"");
        assert!(metrics(&node).contains(&label), "{name} has no metrics");
        let status = json(&node, &["status"]);
        assert!(
            status["backends"].as_array().expect("backends").iter().any(|b| b["name"] == name),
            "{status}"
        );
        let scrubbed = json(&node, &["scrub", name, "--now"]);
        assert!(scrubbed["tally"]["verified"].as_u64() > Some(2), "{name}: {scrubbed}");
    }
    assert_eq!(json(&node, &["reload"])["changed"], json!([]));
    load.end().await;

    let files = fsck::files_under(&usb.path().join("blobs"));
    assert!(!files.is_empty() && backend(&node, "far")["objects"].as_u64() > Some(2));
    fsck::stop_and_check(&mut node).expect("nothing differs");
    node.run().expect("a start with the same file");
    for (key, size) in [("before", 5_000), ("before-large", 700_000), ("after", 5_000)] {
        let answer = node.client().get(key).await.expect("an answer");
        assert!(answer.status == 200 && answer.body == vec![b'x'; size], "{key}: {}", answer.brief());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_of_backends_follow_and_so_does_their_order() {
    let (far, usb) = (crate::asked::start(), dir());
    let node = start(&[format!("{}monthly_calls = 1000", provider("far", &far))]);
    let client = node.client();
    put(&client, "a", 50_000).await;
    append(&node, &disk("usb", usb.path()));
    json(&node, &["reload"]);
    put(&client, "b", 50_000).await;
    assert_eq!(places(&node, "b"), ["far"], "the first that is not full");

    edit(&node, "monthly_calls = 1000", "monthly_calls = 1");
    assert_eq!(json(&node, &["reload"])["changed"], json!(["backends.far.monthly_calls"]));
    put(&client, "c", 50_000).await;
    assert_eq!(places(&node, "c"), ["usb"], "its month is used up");

    edit(&node, "monthly_calls = 1", "monthly_calls = 1000000\nquota = \"60KB\"");
    json(&node, &["reload"]);
    assert_eq!(backend(&node, "far")["quota_bytes"], 60_000);
    put(&client, "d", 50_000).await;
    assert_eq!(places(&node, "d"), ["usb"], "its quota is used up");

    let usb_section = disk("usb", usb.path());
    edit(&node, "quota = \"60KB\"", "");
    edit(&node, &usb_section, "");
    edit(&node, "\n[[backends]]\nname = \"far\"", &format!("{usb_section}\n[[backends]]\nname = \"far\""));
    let shown = json(&node, &["reload"]);
    assert_eq!(shown["changed"], json!(["backends.far.quota", "the order of backends"]));
    put(&client, "e", 50_000).await;
    assert_eq!(places(&node, "e"), ["usb"], "the first in the file");
}

#[tokio::test]
async fn a_backend_that_cannot_be_opened_changes_nothing_as_at_a_start() {
    let (usb, foreign) = (dir(), dir());
    fs::write(foreign.path().join(".s3-orchestrator"), "another-node\nusb\n").expect("a marker");
    let node = start(&[]);
    put(&node.client(), "a", 10).await;
    let good = fs::read_to_string(node.config_path()).expect("the configuration");
    let (bucket, _) = further("app-2");
    for (path, why) in
        [(usb.path().join("absent"), "backend \"usb\": "), (foreign.path().to_owned(), "backend \"usb\": ")]
    {
        let more = format!("{bucket}{EMBEDDED}{}{}", disk("first", usb.path()), disk("usb", &path));
        fs::write(node.config_path(), format!("{good}{more}")).expect("the configuration");
        let refused = run(&node, &["reload"]);
        assert!(refused.code == Some(1) && refused.err.contains(why), "{refused:?}");
        let documented = run(&node, &["reload", "--json"]);
        assert!(documented.out.contains("\"bad-configuration\""), "{documented:?}");
        let usage = json(&node, &["usage"]);
        let names =
            |list: &str| usage[list].as_array().map(|all| all.iter().map(|a| a["name"].clone()).collect());
        assert_eq!(
            (names("buckets"), names("backends")),
            (Some(vec![json!("app-1")]), Some(vec![json!("embedded")]))
        );
        // A start says the same.
        let mut other = Node::prepare(node.config().clone()).expect("a directory");
        let unmarked = dir();
        let first = |path: &TempDir| disk("first", path.path());
        let more = more.replace(&first(&usb), &first(&unmarked));
        fs::write(other.config_path(), format!("{}{more}", node.config().render(&other.data_dir())))
            .expect("the configuration");
        let message = format!("{:?}", other.run().expect_err("the start is refused too"));
        assert!(message.contains(why), "{message}");
    }
    put(&node.client(), "b", 10).await;
    fs::create_dir(usb.path().join("absent")).ok();
    fs::write(node.config_path(), good).expect("the configuration");
    assert_eq!(json(&node, &["reload"])["changed"], json!([]));
}

#[tokio::test]
async fn a_disk_of_before_that_is_not_mounted_comes_up_as_absent() {
    let (parent, first) = (dir(), dir());
    let usb = parent.path().join("usb");
    fs::create_dir(&usb).expect("a directory");
    let section = disk("usb", &usb);
    let mut node = start(&[disk("first", first.path()), section.clone()]);
    edit(&node, &section, "");
    node.restart().expect("a start without it");
    fs::rename(&usb, parent.path().join("unplugged")).expect("unplugged");
    append(&node, &section);
    assert_eq!(json(&node, &["reload"])["changed"], json!(["backends.usb"]));
    edit(&node, "name = \"app-1\"\n", "name = \"app-1\"\ncopies = 2\n");
    json(&node, &["reload"]);
    put(&node.client(), "a", 50_000).await;
    assert_eq!(places(&node, "a"), ["first"]);
    fs::rename(parent.path().join("unplugged"), &usb).expect("plugged in");
    wait_until("the copy is made when the disk is there", || places(&node, "a") == ["first", "usb"]);
}

#[tokio::test]
async fn what_goes_or_moves_needs_a_start_and_works_until_then() {
    let (first, usb, elsewhere) = (dir(), dir(), dir());
    let node = start(&[disk("first", first.path())]);
    append(&node, &disk("usb", usb.path()));
    json(&node, &["reload"]);
    edit(&node, "name = \"app-1\"\n", "name = \"app-1\"\ncopies = 2\nacknowledge = \"all\"\n");
    json(&node, &["reload"]);
    // Also of one that came with a reload.
    let moved = disk("usb", elsewhere.path());
    edit(&node, &disk("usb", usb.path()), &moved);
    assert_eq!(json(&node, &["reload"])["needs_restart"], json!(["backends.usb.path"]));
    put(&node.client(), "a", 50_000).await;
    assert_eq!(places(&node, "a"), ["first", "usb"]);
    assert_eq!(fsck::files_under(elsewhere.path()).len(), 0, "it was used at its new place");
    edit(&node, "copies = 2\nacknowledge = \"all\"\n", "");
    edit(&node, &moved, "");
    assert_eq!(json(&node, &["reload"])["needs_restart"], json!(["backends.usb"]));
    assert_eq!(node.client().get("a").await.expect("an answer").status, 200);
    assert!(text(&node, &["status"]).contains("warning: the configuration was changed in backends.usb\n"));
}
