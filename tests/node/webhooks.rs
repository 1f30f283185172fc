//! Webhooks: a receiver that is there, one that fails, one that is away while the node dies.

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha2::Sha256;
use std::collections::BTreeMap;
use std::time::Duration;
use testkit::receiver::{Delivery, Mood, Receiver};
use testkit::{BucketConfig, Node, NodeConfig};

/// Generous: a test machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);
const SECRET: &str = "whsec-for-tests-only";

fn config(hooks: &str) -> NodeConfig {
    let mut config = NodeConfig::new(env!("CARGO_BIN_EXE_s3-orchestrator"));
    config.buckets = vec![BucketConfig::new("told").quota("1MB"), BucketConfig::new("untold")];
    config.more = vec![hooks.to_owned()];
    config
}

fn hook(receiver: &Receiver, more: &str) -> String {
    let url = receiver.url("/hook");
    format!("[[webhooks]]\nname = \"h\"\nurl = \"{url}\"\nsecret = \"{SECRET}\"\ntimeout = \"1s\"\n{more}\n")
}

/// The records of deliveries that were answered well, in the order they came.
fn received(deliveries: &[Delivery]) -> Vec<Value> {
    let good = deliveries.iter().filter(|delivery| (200..300).contains(&delivery.status));
    good.flat_map(records).collect()
}

fn records(delivery: &Delivery) -> Vec<Value> {
    let document: Value = serde_json::from_slice(&delivery.body).expect("JSON");
    document["Records"].as_array().expect("records").clone()
}

fn name(record: &Value) -> String {
    record["eventName"].as_str().unwrap_or_default().to_owned()
}

fn key(record: &Value) -> String {
    record["s3"]["object"]["key"].as_str().unwrap_or_default().to_owned()
}

/// Of objects only, as `name key`.
fn told(deliveries: &[Delivery]) -> Vec<String> {
    let all = received(deliveries);
    all.iter().filter(|record| record["s3"].is_object()).map(|r| format!("{} {}", name(r), key(r))).collect()
}

async fn put(node: &Node, key: &str) {
    let answer = node.client().put(key, "content").await.expect("an answer");
    assert!(answer.is_success(), "{}", answer.brief());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_is_told_in_order_and_signed() {
    let receiver = Receiver::start().expect("a receiver");
    let node = Node::start(config(&hook(&receiver, "bucket = \"told\""))).expect("a node");
    let client = node.client();
    put(&node, "a b").await;
    client.copy("a b", "copied", &[]).await.expect("an answer");
    let created = client.create_upload("parts").await.expect("an answer");
    let id = created.xml().expect("xml").text_of("UploadId").to_owned();
    let part = client.put_part("parts", &id, 1, vec![1; 1000]).await.expect("an answer");
    client.complete("parts", &id, &[(1, part.etag())], &[]).await.expect("an answer");
    client.delete("a b").await.expect("an answer");
    client.delete("was-never-there").await.expect("an answer");
    client.delete_many(&["copied".to_owned()]).await.expect("an answer");
    let expected = [
        "ObjectCreated:Put a+b",
        "ObjectCreated:Copy copied",
        "ObjectCreated:CompleteMultipartUpload parts",
        "ObjectRemoved:Delete a+b",
        "ObjectRemoved:Delete copied",
    ];
    receiver.wait(PATIENCE, |deliveries| told(deliveries).len() >= expected.len());
    let deliveries = receiver.deliveries();
    assert_eq!(told(&deliveries), expected);
    let first = received(&deliveries).first().expect("a record").clone();
    assert_eq!(first["s3"]["bucket"]["name"], "told");
    assert_eq!(first["s3"]["object"]["size"], 7);
    assert_eq!(first["s3"]["object"]["eTag"], "9a0364b9e99bb480dd25e1f0284c8555");
    for delivery in &deliveries {
        check_signature(delivery);
        assert_eq!(delivery.headers.get("content-type").map(String::as_str), Some("application/json"));
        assert_eq!(delivery.path, "/hook");
    }
}

fn check_signature(delivery: &Delivery) {
    let header = delivery.headers.get("x-s3o-signature").expect("a signature");
    let (time, signature) = header.split_once(",v1=").expect("two parts");
    let time = time.strip_prefix("t=").expect("a time");
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("a key");
    mac.update(time.as_bytes());
    mac.update(b".");
    mac.update(&delivery.body);
    let expected: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(signature, expected);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_secs();
    let age = now.abs_diff(time.parse::<u64>().expect("seconds"));
    assert!(age < 120, "signed {age} s ago");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_was_asked_for_is_told() {
    let receiver = Receiver::start().expect("a receiver");
    let more = "bucket = \"told\"\nprefix = \"in/\"\nevents = [\"removed\"]";
    let node = Node::start(config(&hook(&receiver, more))).expect("a node");
    let client = node.client();
    for key in ["in/a", "out/a"] {
        put(&node, key).await;
        client.delete(key).await.expect("an answer");
    }
    put(&node, "in/b").await;
    client.delete("in/b").await.expect("an answer");
    receiver.wait(PATIENCE, |deliveries| told(deliveries).len() >= 2);
    assert_eq!(told(&receiver.deliveries()), ["ObjectRemoved:Delete in/a", "ObjectRemoved:Delete in/b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_fails_is_told_again_in_the_same_order() {
    let receiver = Receiver::start().expect("a receiver");
    let node = Node::start(config(&hook(&receiver, "events = [\"created\"]"))).expect("a node");
    for mood in [Mood::Answer(500), Mood::HangUp, Mood::Silent(Duration::from_secs(5)), Mood::Answer(404)] {
        let before = receiver.deliveries().len();
        receiver.mood(mood);
        put(&node, &format!("{}", before)).await;
        assert!(
            receiver.wait(PATIENCE, |deliveries| deliveries.len() > before + 1),
            "{mood:?} is not tried again"
        );
    }
    receiver.mood(Mood::Answer(204));
    receiver.wait(PATIENCE, |deliveries| told(deliveries).len() >= 4);
    let names = told(&receiver.deliveries());
    assert_eq!(names.len(), 4, "{names:?}");
    let sequencers: Vec<_> = received(&receiver.deliveries())
        .iter()
        .map(|record| record["s3"]["object"]["sequencer"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert!(sequencers.is_sorted(), "{sequencers:?}");
    // A failure is one line in the log, with its reason and without the secret.
    let log = node.log_tail();
    assert!(log.contains("not delivered") && !log.contains(SECRET), "{log}");
}

/// What was acknowledged before a SIGKILL is told after it, however often the node dies.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_the_node_dies() {
    let receiver = Receiver::start().expect("a receiver");
    receiver.mood(Mood::Answer(503));
    let mut node =
        Node::start(config(&hook(&receiver, "events = [\"created\", \"removed\"]"))).expect("a node");
    let mut written: BTreeMap<String, usize> = BTreeMap::new();
    for round in 0..4 {
        let (client, mut writers) = (node.client(), tokio::task::JoinSet::new());
        for writer in 0..4 {
            let client = client.clone();
            writers.spawn(async move {
                let mut done = Vec::new();
                for n in 0..30 {
                    let key = format!("{writer}/{}", n % 10);
                    match client.put(&key, format!("{round} {n}")).await {
                        Ok(answer) if answer.is_success() => done.push(key),
                        _ => break,
                    }
                }
                done
            });
        }
        tokio::time::sleep(Duration::from_millis(60)).await;
        node.kill9();
        while let Some(done) = writers.join_next().await {
            for key in done.expect("a writer") {
                *written.entry(key).or_default() += 1;
            }
        }
        // The last time the receiver is there again, and dies with the node in the middle of it.
        receiver.mood(if round < 2 { Mood::Answer(503) } else { Mood::Answer(200) });
        node.run().expect("a start");
    }
    let count = |deliveries: &[Delivery]| {
        let mut told: BTreeMap<String, BTreeMap<String, ()>> = BTreeMap::new();
        for record in received(deliveries).iter().filter(|record| record["s3"].is_object()) {
            let sequencer = record["s3"]["object"]["sequencer"].as_str().unwrap_or_default().to_owned();
            told.entry(key(record)).or_default().insert(sequencer, ());
        }
        told
    };
    let all_told = |deliveries: &[Delivery]| {
        let told = count(deliveries);
        written.iter().all(|(key, times)| told.get(key).is_some_and(|told| told.len() >= *times))
    };
    assert!(!written.is_empty(), "nothing was written");
    assert!(receiver.wait(PATIENCE, all_told), "lost: {written:?} {:?}", count(&receiver.deliveries()));
}

#[tokio::test(flavor = "multi_thread")]
async fn trouble_is_told_when_it_begins_and_when_it_is_over() {
    let receiver = Receiver::start().expect("a receiver");
    let node = Node::start(config(&hook(&receiver, "events = [\"trouble\"]"))).expect("a node");
    let client = node.client();
    let answer = client.put("large", vec![1; 950_000]).await.expect("an answer");
    assert!(answer.is_success(), "{}", answer.brief());
    let states = |deliveries: &[Delivery]| {
        let near = received(deliveries).into_iter().filter(|record| name(record) == "Trouble:QuotaNear");
        near.map(|record| record["trouble"]["state"].as_str().unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    };
    assert!(
        receiver.wait(PATIENCE, |deliveries| states(deliveries) == ["begun"]),
        "{:?}",
        receiver.deliveries()
    );
    let record = received(&receiver.deliveries()).first().expect("a record").clone();
    assert!(record["trouble"]["message"].as_str().unwrap_or_default().contains("bucket told"), "{record}");
    client.delete("large").await.expect("an answer");
    assert!(receiver.wait(PATIENCE, |deliveries| states(deliveries) == ["begun", "over"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_receiver_that_was_removed_is_forgotten() {
    let receiver = Receiver::start().expect("a receiver");
    receiver.mood(Mood::Answer(503));
    let mut node = Node::start(config(&hook(&receiver, ""))).expect("a node");
    put(&node, "a").await;
    node.sigterm().expect("an end");
    let text = std::fs::read_to_string(node.config_path()).expect("the configuration");
    let without = text.split("[[webhooks]]").next().unwrap_or_default().to_owned();
    std::fs::write(node.config_path(), without).expect("a configuration without webhooks");
    node.run().expect("a start");
    put(&node, "b").await;
    node.sigterm().expect("an end");
    assert!(node.log_tail().contains("dropped"), "{}", node.log_tail());
    receiver.mood(Mood::Answer(200));
    std::fs::write(node.config_path(), text).expect("the configuration of before");
    node.run().expect("a start");
    put(&node, "c").await;
    receiver.wait(PATIENCE, |deliveries| !told(deliveries).is_empty());
    assert_eq!(told(&receiver.deliveries()), ["ObjectCreated:Put c"]);
}
