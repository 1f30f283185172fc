//! Commands of a running node, as text and as JSON.

use crate::place::Finished;
use serde_json::Value;
use testkit::{Node, NodeConfig, S3Client};

pub const BINARY: &str = env!("CARGO_BIN_EXE_s3-orchestrator");

pub fn start() -> Node {
    Node::start(NodeConfig::new(BINARY)).expect("the node starts")
}

/// `s3-orchestrator COMMAND ... --config FILE`.
pub fn run(node: &Node, command: &[&str]) -> Finished {
    let (first, rest) = command.split_first().expect("a command");
    node.command(first).args(rest).output().expect("running the binary").into()
}

/// The document of a command that must go well.
pub fn json(node: &Node, command: &[&str]) -> Value {
    let mut command = command.to_vec();
    command.push("--json");
    let finished = run(node, &command);
    assert_eq!(finished.code, Some(0), "{command:?}: {finished:?}");
    serde_json::from_str(&finished.out).unwrap_or_else(|error| panic!("{error}: {}", finished.out))
}

/// The text of a command that must go well.
pub fn text(node: &Node, command: &[&str]) -> String {
    let finished = run(node, command);
    assert_eq!(finished.code, Some(0), "{command:?}: {finished:?}");
    assert!(!finished.out.contains('\x1b'), "escape sequences without a terminal: {}", finished.out);
    finished.out
}

/// A document with its shape only: numbers are 0, texts that differ from run to run are named.
pub fn shape(document: &Value, volatile: &[&str]) -> Value {
    match document {
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| match volatile.contains(&key.as_str()) {
                true => (key.clone(), Value::from("*")),
                false => (key.clone(), shape(value, volatile)),
            })
            .collect(),
        Value::Array(items) => items.iter().map(|item| shape(item, volatile)).collect(),
        other => other.clone(),
    }
}

/// A command that runs on its own; ended when the test is.
pub struct Running(pub std::process::Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub async fn put(client: &S3Client, key: &str, bytes: usize) {
    let answer = client.put(key, vec![b'x'; bytes]).await.expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.brief());
}
