//! A node that is told to stop does so soon, whatever it was copying, and goes on after the next start.

use crate::asked::{BINARY, json, start};
use std::fs;
use std::time::{Duration, Instant};
use testkit::proxy::{Fault, Proxy, Rule};
use testkit::{BucketConfig, Node, NodeConfig, backends, fsck};

const LARGE: usize = 6_000_000;
/// The whole of it takes five minutes.
const SLOW_BYTES_PER_SECOND: u64 = 20_000;
const SOON: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(60);

fn bytes() -> Vec<u8> {
    testkit::rng::body(6, LARGE)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_from_a_slow_provider_does_not_hold_up_a_stop() {
    let provider = start();
    let proxy = Proxy::start(provider.addr()).await.expect("a proxy");
    let disk = tempfile::tempdir().expect("a directory");
    let credential = &BucketConfig::new("test-bucket").credentials[0];
    let mut config = NodeConfig::new(BINARY);
    config.buckets[0].more = vec!["copies = 1".to_owned()];
    config.more = vec![
        backends::provider("far", &proxy.url(), "test-bucket", credential),
        backends::disk("near", disk.path()),
    ];
    let mut node = Node::start(config).expect("the node starts");
    assert_eq!(node.client().put("large", bytes()).await.expect("an answer").status, 200);

    proxy.rule(Rule::new(Fault::Slow(SLOW_BYTES_PER_SECOND)).method("GET"));
    proxy.take_seen();
    let file = fs::read_to_string(node.config_path()).expect("the configuration");
    fs::write(node.config_path(), file.replace("copies = 1", "copies = 2")).expect("the configuration");
    json(&node, &["reload"]);
    let begun = Instant::now();
    while !proxy.take_seen().iter().any(|seen| seen.method == "GET" && seen.target.contains("large")) {
        assert!(begun.elapsed() < PATIENCE, "no copy is begun");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let ordered = Instant::now();
    let ended = tokio::task::block_in_place(|| node.sigterm()).expect("it stops");
    assert!(ended.success() && ordered.elapsed() < SOON, "{ended} after {:?}", ordered.elapsed());

    proxy.clear();
    tokio::task::block_in_place(|| node.run()).expect("the node starts again");
    let begun = Instant::now();
    let copies = |node: &Node| {
        let located = json(node, &["locate", "test-bucket/large"]);
        located["pieces"][0]["replicas"].as_array().map_or(0, Vec::len)
    };
    while copies(&node) < 2 {
        assert!(begun.elapsed() < PATIENCE, "the copy is not made");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    proxy.down();
    let answer = node.client().get("large").await.expect("an answer");
    assert!(answer.status == 200 && answer.body == bytes(), "{}", answer.brief());
    proxy.up().await.expect("the proxy is back");
    tokio::task::block_in_place(|| fsck::stop_and_check(&mut node)).expect("nothing differs");
}
