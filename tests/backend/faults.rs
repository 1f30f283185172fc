//! An S3 provider behind a network that fails: each call ends well, or says whose fault it was; a body is never
//! shorter than asked for; and nothing is left that `abandon` does not find.

use crate::kinds::{node, of_node};
use crate::suite::{PART, body, everything, fault, get, new_blob, put};
use backend::{Backend as _, BackendError, Location, NewReplica, S3, S3Options};
use std::time::{Duration, Instant};
use testkit::Node;
use testkit::proxy::{Fault, Proxy, Rule};
use types::ByteRange;

const STALL: Duration = Duration::from_millis(400);

struct Rig {
    /// Alive for as long as the rig.
    _node: Node,
    proxy: Proxy,
    s3: S3,
}

impl Rig {
    async fn new() -> Self {
        let node = node();
        let proxy = Proxy::start(node.addr()).await.unwrap();
        let options = S3Options { endpoint: proxy.url(), stall: STALL, ..of_node(&node) };
        Self { _node: node, proxy, s3: S3::new(options) }
    }

    async fn put(&self, size: u64) -> (Location, Result<(), BackendError>) {
        let blob = new_blob();
        let new = NewReplica { size: Some(size), readable: Some("b/k".to_owned()), ..NewReplica::of(blob) };
        let location = self.s3.locate(blob, new.readable.as_deref());
        (location, put(&self.s3, new, &body(blob, size)).await.map(drop))
    }

    /// All is well again: what is there is whole, and `abandon` leaves nothing.
    async fn settle(&self, location: &Location) {
        self.proxy.clear();
        for _ in 0..100 {
            self.s3.abandon(location).await.unwrap();
            if self.s3.unfinished("", 10).await.unwrap().is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(everything(&self.s3, "").await, []);
        assert_eq!(self.s3.unfinished("", 10).await.unwrap(), []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_outlives_one_fault() {
    let rig = Rig::new().await;
    for fault in [
        Fault::Reset,
        Fault::Status(500),
        Fault::Status(503),
        Fault::Stall,
        Fault::ResetUpload(1000),
        Fault::StallUpload(1000),
        Fault::Late(5 * STALL),
        Fault::DoneThenReset,
        Fault::DoneThenStall,
        Fault::DoneThenStatus(500),
    ] {
        rig.proxy.rule(Rule::new(fault).method("PUT").times(1));
        let (location, result) = rig.put(300_000).await;
        result.unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        assert_eq!(everything(&rig.s3, "").await, std::slice::from_ref(&location), "{fault:?}");
        rig.settle(&location).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_body_outlives_one_fault_at_each_call() {
    let rig = Rig::new().await;
    let size = 2 * PART + 10;
    for (method, target) in [("POST", "?uploads"), ("PUT", "partNumber=2"), ("POST", "?uploadId")] {
        for fault in [Fault::Reset, Fault::Status(500), Fault::DoneThenReset, Fault::DoneThenStatus(503)] {
            rig.proxy.rule(Rule::new(fault).method(method).target(target).times(1));
            let (location, result) = rig.put(size).await;
            result.unwrap_or_else(|error| panic!("{fault:?} at {method} {target}: {error}"));
            assert_eq!(rig.s3.head(&location).await.unwrap().found.size, size);
            rig.settle(&location).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_that_stays_is_told_by_its_kind() {
    use backend::Fault::{Full, Refused, Throttled, Unavailable};
    let rig = Rig::new().await;
    for (network, expected) in [
        (Fault::Reset, Unavailable),
        (Fault::Status(500), Unavailable),
        (Fault::Status(503), Throttled),
        (Fault::Status(403), Refused),
        (Fault::Status(507), Full),
        (Fault::Stall, Unavailable),
        (Fault::DoneThenStatus(500), Unavailable),
    ] {
        rig.proxy.always(network);
        let begun = Instant::now();
        let (location, result) = rig.put(1000).await;
        assert_eq!(fault(result), expected, "{network:?}");
        assert_eq!(fault(rig.s3.probe().await), expected, "{network:?}");
        assert_eq!(fault(rig.s3.list("", None, 10).await), expected, "{network:?}");
        assert_eq!(fault(get(&rig.s3, &location, ByteRange::whole(5)).await), expected, "{network:?}");
        let removed = rig.s3.remove(std::slice::from_ref(&location)).await.unwrap().remove(0);
        assert_eq!(fault(removed), expected, "{network:?}");
        assert!(begun.elapsed() < 60 * STALL, "{network:?} took {:?}", begun.elapsed());
        rig.settle(&location).await;
    }
    rig.proxy.down();
    assert_eq!(fault(rig.s3.probe().await), Unavailable);
    assert_eq!(fault(rig.put(1000).await.1), Unavailable);
    rig.proxy.up().await.unwrap();
    rig.s3.probe().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_is_an_error_and_never_an_end() {
    let rig = Rig::new().await;
    let size = 2_000_000;
    let (location, result) = rig.put(size).await;
    result.unwrap();
    for network in [
        Fault::ResetAfter(0),
        Fault::ResetAfter(1_000_000),
        Fault::TruncateAfter(1_999_999),
        Fault::TruncateAfter(3),
        Fault::StallAfter(1_000_000),
    ] {
        rig.proxy.rule(Rule::new(network).method("GET"));
        let failed = fault(get(&rig.s3, &location, ByteRange::whole(size)).await);
        assert!(
            matches!(failed, backend::Fault::Unavailable | backend::Fault::Corrupt),
            "{network:?}: {failed:?}"
        );
        rig.proxy.clear();
    }
    // A fault before the first byte is tried again.
    for network in
        [Fault::Reset, Fault::Status(500), Fault::Stall, Fault::DoneThenReset, Fault::Late(5 * STALL)]
    {
        rig.proxy.once(network);
        assert!(get(&rig.s3, &location, ByteRange::whole(size)).await.is_ok(), "{network:?}");
    }
    rig.settle(&location).await;
}

/// Limits are on progress: a transfer that takes far longer than any of them succeeds.
#[tokio::test(flavor = "multi_thread")]
async fn slow_is_not_broken() {
    let rig = Rig::new().await;
    let (location, result) = rig.put(2_000_000).await;
    result.unwrap();
    rig.proxy.rule(Rule::new(Fault::Slow(500_000)).method("GET"));
    let begun = Instant::now();
    get(&rig.s3, &location, ByteRange::whole(2_000_000)).await.unwrap();
    assert!(begun.elapsed() > 4 * STALL, "{:?}", begun.elapsed());

    // A writer that has nothing to say for long is not the provider's fault.
    let options = S3Options { endpoint: rig.proxy.url(), stall: STALL, kept_bytes: 0, ..of_node(&rig._node) };
    let passing = S3::new(options);
    let new = NewReplica { size: Some(300_000), ..NewReplica::of(new_blob()) };
    let other = passing.locate(new.blob, None);
    let mut writer = passing.begin(new).await.unwrap();
    for _ in 0..3 {
        writer.write(vec![7; 100_000].into()).await.unwrap();
        tokio::time::sleep(3 * STALL).await;
    }
    writer.finish(Vec::new()).await.unwrap();
    passing.abandon(&other).await.unwrap();
    rig.settle(&location).await;
}

/// A provider that fails for long is not asked three times as often as there is work.
#[tokio::test(flavor = "multi_thread")]
async fn retries_have_a_budget() {
    let rig = Rig::new().await;
    rig.proxy.always(Fault::Status(500));
    for _ in 0..200 {
        assert!(rig.s3.probe().await.is_err());
    }
    let asked = rig.proxy.take_seen().len();
    assert!((200..=310).contains(&asked), "{asked} requests for 200 calls");
}
