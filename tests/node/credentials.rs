//! The life of credentials, with requests that are really signed.

use crate::asked::{json, put, run, start, text};
use serde_json::{Value, json};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use testkit::{Credential, Node, S3Client};

/// A client with what `credentials add` or `rotate` showed.
fn client(node: &Node, shown: &Value) -> S3Client {
    let word = |key: &str| shown["made"][key].as_str().expect("a made credential").to_owned();
    let credential =
        Credential { access_key: word("access_key_id"), secret: word("secret_access_key"), rights: None };
    S3Client::new(node.addr(), "test-bucket", credential)
}

async fn status(client: &S3Client, key: &str) -> u16 {
    client.get(key).await.expect("an answer").status
}

#[tokio::test]
async fn a_credential_is_made_limited_rotated_and_removed_without_a_restart() {
    let mut node = start();
    put(&node.client(), "a", 10).await;
    let added = json(&node, &["credentials", "add", "test-bucket", "--rights", "read,write"]);
    let first = client(&node, &added);
    let id = added["made"]["access_key_id"].as_str().expect("an id").to_owned();
    assert_eq!(
        added["credentials"],
        json!([{ "access_key_id": id, "bucket": "test-bucket", "rights": ["read", "write"], "origin": "added" }])
    );
    put(&first, "b", 10).await;
    assert_eq!(first.delete("b").await.expect("an answer").status, 403);

    json(&node, &["credentials", "limit", &id, "read"]);
    assert_eq!(first.put("c", "x").await.expect("an answer").status, 403);
    assert_eq!(status(&first, "a").await, 200);

    let rotated = json(&node, &["credentials", "rotate", &id]);
    assert_eq!(status(&first, "a").await, 403, "the old secret still works");
    let second = client(&node, &rotated);
    assert_eq!(status(&second, "a").await, 200);
    assert_eq!(second.put("c", "x").await.expect("an answer").status, 403, "rotation gave more rights");

    node.restart().expect("a start");
    let second = client(&node, &rotated);
    assert_eq!(status(&second, "a").await, 200, "lost over a crash");

    json(&node, &["credentials", "remove", &id]);
    assert_eq!(status(&second, "a").await, 403);
    node.restart().expect("a start");
    assert_eq!(status(&client(&node, &rotated), "a").await, 403, "it came back");
}

#[tokio::test]
async fn those_of_the_configuration_can_be_changed_and_restored() {
    let node = start();
    put(&node.client(), "a", 10).await;
    let id = node.config().buckets[0].credentials[0].access_key.clone();
    let limited = json(&node, &["credentials", "limit", &id, "read"]);
    assert_eq!((&limited["credentials"][0]["origin"], &limited["made"]), (&json!("changed"), &Value::Null));
    assert_eq!(node.client().put("b", "x").await.expect("an answer").status, 403);
    json(&node, &["reload"]);
    assert_eq!(node.client().put("b", "x").await.expect("an answer").status, 403, "undone by a reload");
    let rotated = json(&node, &["credentials", "rotate", &id]);
    assert_eq!(status(&node.client(), "a").await, 403);
    assert_eq!(status(&client(&node, &rotated), "a").await, 200);
    json(&node, &["credentials", "remove", &id]);
    assert_eq!(json(&node, &["credentials"])["credentials"], json!([]));
    assert_eq!(run(&node, &["credentials", "rotate", &id]).code, Some(1));
    json(&node, &["credentials", "restore", &id]);
    put(&node.client(), "b", 10).await;
    assert_eq!(run(&node, &["credentials", "restore", &id]).code, Some(1), "nothing to restore");
}

#[tokio::test]
async fn secrets_are_shown_once_and_kept_private() {
    let node = start();
    let shown = text(&node, &["credentials", "add", "test-bucket", "--access-key-id", "AKID_NEW"]);
    let secret = shown.lines().find_map(|l| l.trim().strip_prefix("secret_access_key ")).expect("a secret");
    assert_eq!(secret.len(), 40, "{shown}");
    for command in [&["credentials"][..], &["credentials", "--json"], &["logs", "--audit"], &["status"]] {
        let shown = text(&node, command);
        assert!(!shown.contains(secret), "{command:?} shows the secret");
        assert!(!shown.contains("/test-bucket/"), "{command:?} shows the secret of the configuration");
    }
    let log = std::fs::read_to_string(node.log_path()).expect("the log");
    assert!(!log.contains(secret), "the log has the secret");
    let file = node.data_dir().join("credentials.toml");
    let mode = std::fs::metadata(file).expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_secret_of_ones_own_comes_through_standard_input() {
    let node = start();
    put(&node.client(), "a", 10).await;
    let with = |secret: &str| {
        let mut command = node.command("credentials");
        command.args(["add", "test-bucket", "--access-key-id", "AKID_OWN", "--secret-file", "-", "--json"]);
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().expect("the command");
        child.stdin.take().expect("a pipe").write_all(secret.as_bytes()).expect("a secret");
        crate::place::Finished::from(child.wait_with_output().expect("the command"))
    };
    let weak = with("minioadmin\n");
    assert!(weak.code == Some(1) && weak.err.contains("everybody knows"), "{weak:?}");
    let added = with("my ${own} \"secret\"\n");
    assert_eq!((added.code, added.out.contains("secret_access_key")), (Some(0), false), "{added:?}");
    let credential = Credential {
        access_key: "AKID_OWN".to_owned(),
        secret: "my ${own} \"secret\"".to_owned(),
        rights: None,
    };
    let client = S3Client::new(node.addr(), "test-bucket", credential);
    assert_eq!(status(&client, "a").await, 200);
    json(&node, &["reload"]);
    assert_eq!(status(&client, "a").await, 200, "it reads back differently");
}

#[test]
fn what_cannot_be_is_refused() {
    let node = start();
    let id = node.config().buckets[0].credentials[0].access_key.clone();
    for (command, why) in [
        (&["credentials", "add", "no-such-bucket"][..], "no bucket no-such-bucket"),
        (&["credentials", "add", "test-bucket", "--access-key-id", &id], "already"),
        (&["credentials", "add", "test-bucket", "--access-key-id", "a/b"], "access key id"),
        (&["credentials", "rotate", "nobody"], "no credential nobody"),
        (&["credentials", "remove", "nobody"], "no credential nobody"),
    ] {
        let refused = run(&node, command);
        assert!(refused.code == Some(1) && refused.err.contains(why), "{command:?}: {refused:?}");
    }
    for command in
        [&["credentials", "limit", &id, "fly"][..], &["credentials", "limit", &id], &["credentials", "add"]]
    {
        assert_eq!(run(&node, command).code, Some(2), "{command:?}");
    }
    assert!(!node.data_dir().join("credentials.toml").exists(), "a refusal wrote something");
}

#[test]
fn a_damaged_file_of_changes_is_named_at_the_start() {
    let mut node = start();
    node.sigterm().expect("an orderly end");
    std::fs::write(node.data_dir().join("credentials.toml"), "[[credentials]]\naccess_key_id = 5\n")
        .expect("a file");
    let error = format!("{:#}", node.run().expect_err("a start with a damaged file"));
    assert!(error.contains("credentials.toml:2:17: error: `access_key_id` must be a string"), "{error}");
}
