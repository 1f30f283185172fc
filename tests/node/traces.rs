//! Traces in a collector's hands, and the audit log in a file of its own.

use std::time::Duration;
use testkit::receiver::{Delivery, Receiver};
use testkit::{Node, NodeConfig};

const PATIENCE: Duration = Duration::from_secs(60);
const TRACE: [u8; 16] =
    [0x4b, 0xf9, 0x2f, 0x35, 0x77, 0xb3, 0x4d, 0xa6, 0xa3, 0xce, 0x92, 0x9d, 0x0e, 0x0e, 0x47, 0x36];
const PARENT: [u8; 8] = [0x00, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7];
const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn node(more: String) -> Node {
    let mut config = NodeConfig::new(env!("CARGO_BIN_EXE_s3-orchestrator"));
    config.more = vec![more];
    Node::start(config).expect("a node")
}

fn holds(delivery: &Delivery, bytes: &[u8]) -> bool {
    delivery.body.windows(bytes.len()).any(|window| window == bytes)
}

/// Protobuf writes ids and text as they are: a span of the client's trace has its trace's id and its
/// parent's id in it.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_goes_on_with_the_trace_of_its_client() {
    let collector = Receiver::start().expect("a collector");
    let mut node = node(format!("[telemetry]\notlp_endpoint = \"{}\"", collector.url("")));
    let client = node.client();
    let headers = [("traceparent", TRACEPARENT), ("x-request-id", "traced-request-1")];
    let answer = client.put_with("traced", "content", &headers).await.expect("an answer");
    assert!(answer.is_success(), "{}", answer.brief());
    client.get_with("untraced", &[("x-request-id", "untraced-request-2")]).await.expect("an answer");
    // What waits is sent when the node stops.
    node.sigterm().expect("an end");
    let found = |deliveries: &[Delivery]| {
        deliveries.iter().any(|delivery| holds(delivery, b"traced-request-1"))
            && deliveries.iter().any(|delivery| holds(delivery, b"untraced-request-2"))
    };
    assert!(collector.wait(PATIENCE, found), "{} deliveries", collector.deliveries().len());
    let deliveries = collector.deliveries();
    let traced = deliveries.iter().find(|delivery| holds(delivery, b"traced-request-1")).expect("the trace");
    assert_eq!(traced.path, "/v1/traces");
    assert_eq!(traced.headers.get("content-type").map(String::as_str), Some("application/x-protobuf"));
    for part in [&TRACE[..], &PARENT, b"PutObject", b"test-bucket", b"traced", b"s3-orchestrator"] {
        assert!(holds(traced, part), "{} is not in the trace", part.escape_ascii());
    }
    // The other request has a trace of its own: the client's id is there once.
    let times: usize = deliveries.iter().map(|d| d.body.windows(16).filter(|w| *w == TRACE).count()).sum();
    assert_eq!(times, 1);
    assert!(deliveries.iter().any(|delivery| holds(delivery, b"NoSuchKey")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_client_does_not_sample_is_not_sent_and_a_ratio_of_none_sends_nothing() {
    let collector = Receiver::start().expect("a collector");
    let more =
        format!("[telemetry]\notlp_endpoint = \"{}\"\nsample_ratio = \"0\"", collector.url("/v1/traces"));
    let mut node = node(more);
    let client = node.client();
    client.put("unsampled", "content").await.expect("an answer");
    let headers = [("traceparent", TRACEPARENT), ("x-request-id", "sampled-by-the-client")];
    client.get_with("unsampled", &headers).await.expect("an answer");
    node.sigterm().expect("an end");
    assert!(collector.wait(PATIENCE, |d| d.iter().any(|d| holds(d, b"sampled-by-the-client"))));
    assert!(!collector.deliveries().iter().any(|delivery| holds(delivery, b"PutObject")));
}

/// Nobody listens there: requests are answered all the same, and the node stops in good order.
#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_harms_nobody() {
    let gone = Receiver::start().expect("a collector").url("");
    let mut node = node(format!("[telemetry]\notlp_endpoint = \"{gone}\""));
    let answer = node.client().put("a", "content").await.expect("an answer");
    assert!(answer.is_success());
    assert_eq!(node.sigterm().expect("an end").code(), Some(0));
}

fn audit(node: &Node, name: &str) -> Vec<serde_json::Value> {
    let path = node.config_path().with_file_name(name);
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_has_its_own_file_and_follows_when_it_is_moved() {
    let node = node("[log]\naudit_file = \"audit.log\"\nlevel = \"warn\"".to_owned());
    let client = node.client();
    let keys = |name: &str| -> Vec<String> {
        audit(&node, name).iter().map(|line| line["key"].as_str().unwrap_or_default().to_owned()).collect()
    };
    client.put("before", "x").await.expect("an answer");
    for (signal, moved) in [(libc::SIGUSR1, "audit.log.1"), (libc::SIGHUP, "audit.log.2")] {
        let path = |name: &str| node.config_path().with_file_name(name);
        std::fs::rename(path("audit.log"), path(moved)).expect("moving the file");
        client.put("between", "x").await.expect("an answer");
        node.signal(signal);
        let until = std::time::Instant::now() + PATIENCE;
        while !path("audit.log").exists() && std::time::Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
        client.put("after", "x").await.expect("an answer");
    }
    assert_eq!(keys("audit.log.1"), ["before", "between"]);
    assert_eq!(keys("audit.log.2"), ["after", "between"]);
    assert_eq!(keys("audit.log"), ["after"]);
    let line = &audit(&node, "audit.log")[0];
    assert_eq!((line["operation"].as_str(), line["status"].as_u64()), (Some("PutObject"), Some(200)));
    assert!(!node.log_tail().contains("PutObject"), "audit lines are in the log too");
}
