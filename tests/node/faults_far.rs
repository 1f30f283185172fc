//! What clients ask for beside PUT, GET and DELETE (`fleet.rs`), while a provider behind a proxy does everything that a
//! provider can do. Most of it is the records' affair and must not notice; none of it may leave anything behind: in
//! the end each backend has what the records name there, listed and compared.

use crate::asked::json;
use crate::fleet::{World, at_rest, faults, success, world};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use testkit::proxy::{Fault, Rule};
use testkit::rng::body;
use testkit::{ListQuery, S3Client};

const SMALL: usize = 3_000;
const KEPT: usize = 600_000;
/// Above the size of one PUT to a provider.
const LARGE: usize = (8 << 20) + 1_000;
/// How long what works in the background has to meet a fault.
const MOMENT: Duration = Duration::from_millis(700);

struct Table {
    world: World,
    client: S3Client,
    expected: BTreeMap<String, Bytes>,
    /// Methods with which the provider was called and did not do as it should.
    met: BTreeSet<String>,
    next: u64,
}

/// What was begun while all was well.
struct Begun {
    to_complete: (String, Bytes, Vec<(u16, String)>),
    to_abort: String,
}

impl Table {
    async fn new() -> Self {
        let world = world(2, "\"all\"", &["far-1", "far-2", "disk"]).await;
        let client = world.node.client();
        let mut table = Self { world, client, expected: BTreeMap::new(), met: BTreeSet::new(), next: 1_000 };
        table.put("kept", KEPT).await;
        table
    }

    fn body(&mut self, len: usize) -> Bytes {
        self.next += 1;
        // Of a length that divides nothing: no two windows of it are the same.
        let block = body(self.next, 65_521);
        block.iter().cycle().take(len).copied().collect()
    }

    async fn put(&mut self, key: &str, len: usize) {
        let bytes = self.body(len);
        let answer = self.client.put(key, bytes.clone()).await.expect("an answer");
        if success(&answer) {
            self.expected.insert(key.to_owned(), bytes);
        }
    }

    async fn create(&self, key: &str) -> String {
        let answer = self.client.create_upload(key).await.expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.brief());
        answer.xml().expect("a document").text_of("UploadId").to_owned()
    }

    async fn begin(&mut self) -> Begun {
        for key in ["gone-1", "gone-2"] {
            self.put(key, SMALL).await;
        }
        let (to_complete, to_abort) = (self.create("completed").await, self.create("aborted").await);
        let bytes = self.body(SMALL);
        let part =
            self.client.put_part("completed", &to_complete, 1, bytes.clone()).await.expect("an answer");
        assert_eq!(part.status, 200, "{}", part.brief());
        let other = self.client.put_part("aborted", &to_abort, 1, bytes.clone()).await.expect("an answer");
        assert_eq!(other.status, 200, "{}", other.brief());
        Begun { to_complete: (to_complete, bytes, vec![(1, part.etag())]), to_abort }
    }

    async fn heads_and_listings(&self, when: &str) {
        let answer = self.client.head("kept").await.expect("an answer");
        let length = answer.header("content-length").and_then(|text| text.parse().ok());
        assert_eq!((answer.status, length), (200, Some(KEPT)), "{when}: HEAD");
        for version_1 in [false, true] {
            let query = ListQuery { version_1, max_keys: Some(2), ..ListQuery::default() };
            let listed =
                self.client.list_all(&query).await.unwrap_or_else(|why| panic!("{when}: LIST: {why}"));
            let listed: Vec<_> = listed.entries.into_iter().map(|entry| (entry.key, entry.size)).collect();
            let there = self.expected.iter().map(|(key, bytes)| (key.clone(), bytes.len() as u64));
            assert_eq!(listed, there.collect::<Vec<_>>(), "{when}: LIST");
        }
    }

    async fn copies(&mut self, when: &str) {
        let answer = self.client.copy("kept", "copied", &[]).await.expect("an answer");
        assert_eq!((answer.status, answer.code()), (200, None), "{when}: CopyObject");
        self.expected.insert("copied".to_owned(), self.expected["kept"].clone());
    }

    async fn ends_uploads(&mut self, when: &str, begun: Begun) {
        let (upload, bytes, parts) = begun.to_complete;
        let answer = self.client.complete("completed", &upload, &parts, &[]).await.expect("an answer");
        assert_eq!((answer.status, answer.code()), (200, None), "{when}: Complete");
        self.expected.insert("completed".to_owned(), bytes);
        let answer = self.client.abort("aborted", &begun.to_abort).await.expect("an answer");
        assert_eq!(answer.status, 204, "{when}: Abort");
        assert_eq!(self.client.list_uploads().await, Ok(Vec::new()), "{when}");
    }

    async fn deletes_many(&mut self, when: &str) {
        let keys = ["gone-1", "gone-2"].map(str::to_owned);
        let answer = self.client.delete_many(&keys).await.expect("an answer");
        let told = answer.xml().expect("a document");
        assert_eq!((answer.status, told.all("Error").count()), (200, 0), "{when}: DeleteObjects");
        for key in &keys {
            self.expected.remove(key);
            assert_eq!(self.client.get(key).await.expect("an answer").status, 404, "{when}: {key}");
        }
    }

    async fn reads_ranges(&self, when: &str) {
        let kept = &self.expected["kept"];
        for range in [0..1, 1_000..2_000, 200_000..KEPT] {
            let asked = format!("bytes={}-{}", range.start, range.end - 1);
            let answer = self.client.get_with("kept", &[("range", &asked)]).await.expect("an answer");
            assert!(
                answer.status == 206 && answer.body == kept[range],
                "{when}: {asked}: {}",
                answer.brief()
            );
        }
    }

    /// A part in its own right: taken, or refused with an error that clients try again after.
    async fn uploads_a_part(&mut self, when: &str, fault: Fault) {
        let (upload, bytes) = (self.create("parts").await, self.body(SMALL));
        self.world.proxies[0].rule(Rule::new(fault).times(1));
        let part = self.client.put_part("parts", &upload, 1, bytes.clone()).await.expect("an answer");
        if success(&part) {
            let answer = self.client.complete("parts", &upload, &[(1, part.etag())], &[]).await;
            assert_eq!(answer.expect("an answer").status, 200, "{when}: Complete");
            self.expected.insert("parts".to_owned(), bytes);
        } else {
            assert_eq!(self.client.abort("parts", &upload).await.expect("an answer").status, 204, "{when}");
        }
    }

    async fn all_is_readable(&self, when: &str) {
        for (key, bytes) in &self.expected {
            let answer = self.client.get(key).await.expect("an answer");
            assert!(answer.status == 200 && answer.body == *bytes, "{when}: {key}: {}", answer.brief());
        }
    }

    fn note_met(&mut self) {
        let seen = self.world.proxies[0].take_seen();
        self.met.extend(seen.into_iter().filter(|seen| seen.fault.is_some()).map(|seen| seen.method));
    }

    /// Whoever deletes in the background has met the fault.
    async fn deletions_are_tried(&mut self) {
        let begun = Instant::now();
        let deletes = |method: &str| method == "DELETE" || method == "POST";
        while begun.elapsed() < MOMENT {
            let seen = self.world.proxies[0].take_seen();
            let troubled: Vec<_> = seen.into_iter().filter(|seen| seen.fault.is_some()).collect();
            let tried = troubled.iter().any(|seen| deletes(&seen.method));
            self.met.extend(troubled.into_iter().map(|seen| seen.method));
            if tried {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn play(&mut self, fault: Fault) {
        let when = format!("{fault:?}");
        let begun = self.begin().await;
        self.world.proxies[0].always(fault);
        self.heads_and_listings(&when).await;
        self.copies(&when).await;
        self.reads_ranges(&when).await;
        self.ends_uploads(&when, begun).await;
        self.deletes_many(&when).await;
        self.deletions_are_tried().await;
        self.world.proxies[0].clear();
        self.world.answers_again("far-1").await;
        self.uploads_a_part(&when, fault).await;
        self.note_met();
        self.world.proxies[0].clear();
        self.all_is_readable(&when).await;
    }

    /// What the records name on each backend is what is there.
    async fn nothing_but_what_is_named(mut self) {
        at_rest(&mut self.world).await;
        self.world.node.run().expect("the node starts again");
        let mut named: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for key in self.expected.keys() {
            let located = json(&self.world.node, &["locate", &format!("test-bucket/{key}")]);
            for piece in located["pieces"].as_array().expect("pieces") {
                for replica in piece["replicas"].as_array().expect("replicas") {
                    let [backend, place] =
                        ["backend", "place"].map(|name| replica[name].as_str().expect("a name"));
                    named.entry(backend.to_owned()).or_default().insert(place.to_owned());
                }
            }
        }
        for backend in ["far-1", "far-2", "disk"] {
            let named = named.remove(backend).unwrap_or_default();
            assert_eq!(
                self.world.listed(backend).await,
                named,
                "what {backend} has, and what it should have"
            );
        }
        assert_eq!(named, BTreeMap::new());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_provider_does_no_other_operation_fails_or_leaves_anything() {
    let mut table = Table::new().await;
    for fault in faults() {
        table.play(fault).await;
    }
    let met = |method: &str| table.met.contains(method);
    assert!(met("GET") && met("PUT") && (met("POST") || met("DELETE")), "{:?}", table.met);
    table.nothing_but_what_is_named().await;
}

/// The calls that a large body makes at a provider, by method and what is in the target.
const CALLS: [(&str, &str); 4] =
    [("POST", "uploads"), ("PUT", "partNumber"), ("POST", "uploadId"), ("DELETE", "uploadId")];

fn faults_of_calls() -> [Fault; 8] {
    [
        Fault::Reset,
        Fault::Stall,
        Fault::Status(503),
        Fault::ResetUpload(10),
        Fault::DoneThenReset,
        Fault::DoneThenStall,
        Fault::DoneThenStatus(500),
        Fault::TruncateAfter(10),
    ]
}

/// Each call of an upload in parts to the provider fails once, and that in every way. Its end is asked for where a part
/// is refused each time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_to_a_provider_outlives_the_failure_of_each_of_its_calls() {
    let mut table = Table::new().await;
    for (method, target) in CALLS {
        for fault in faults_of_calls() {
            let when = format!("{method} {target} {fault:?}");
            table.world.answers_again("far-1").await;
            table.world.proxies[0].rule(Rule::new(fault).method(method).target(target).times(1));
            if method == "DELETE" {
                table.world.proxies[0].rule(Rule::new(Fault::Status(400)).method("PUT").target("partNumber"));
            }
            table.put("large", LARGE).await;
            if method == "DELETE" {
                table.deletions_are_tried().await;
            }
            let seen = table.world.proxies[0].take_seen();
            let met = seen.iter().any(|seen| seen.fault == Some(fault)) || method == "DELETE";
            assert!(met, "{when}: {seen:?}");
            table.world.proxies[0].clear();
            assert!(
                table.expected.contains_key("large"),
                "{when}: other backends take what this one does not"
            );
            table.all_is_readable(&when).await;
        }
    }
    table.nothing_but_what_is_named().await;
}
