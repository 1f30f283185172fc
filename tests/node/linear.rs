//! A key is a linearizable register: histories of many clients on few keys, checked; races with exactly one winner.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use testkit::body::generation_of;
use testkit::client::RequestError;
use testkit::linear::{History, Op, Outcome, Verdict, check};
use testkit::{Answer, Bodies, Node, NodeConfig, Rng, S3Client, Seed};
use tokio::sync::Barrier;

const CLIENTS: usize = 8;
const OPERATIONS: usize = 50;
const HISTORIES: u64 = 60;
const HISTORIES_OVER_KILLS: usize = 12;
/// Every request that a kill leaves unanswered multiplies the orders to try: a history that has too many is followed
/// by another.
const HISTORIES_OVER_KILLS_AT_MOST: u64 = 20;
const RACES: u64 = 150;

fn start() -> Node {
    Node::start(NodeConfig::new(env!("CARGO_BIN_EXE_s3-orchestrator"))).expect("the node starts")
}

/// One key, what its values are, and what happened to it.
struct Register {
    key: String,
    bodies: Bodies,
    values: AtomicU64,
    history: History,
    dead: AtomicBool,
}

impl Register {
    fn new(seed: u64, name: u64) -> Arc<Self> {
        Arc::new(Self {
            key: format!("register-{name}"),
            bodies: Bodies::new(seed),
            values: AtomicU64::new(1),
            history: History::default(),
            dead: AtomicBool::new(false),
        })
    }

    fn fresh(&self) -> u64 {
        self.values.fetch_add(1, Ordering::SeqCst)
    }

    /// A body by its value alone, so that readers need not be told its size: every third one is a file.
    fn body(&self, value: u64) -> bytes::Bytes {
        let size = if value.is_multiple_of(3) { 20_000 + value } else { 100 + value };
        self.bodies.content(&self.key, value, size).bytes()
    }

    fn etag(&self, value: u64) -> String {
        format!("\"{}\"", testkit::sign::hex(&testkit::client::md5(&self.body(value))))
    }

    /// The value of a body that is whole.
    fn value(&self, answer: &Answer) -> u64 {
        let value = generation_of(&answer.body).expect("a body of ours");
        assert_eq!(answer.body, self.body(value), "{}: a torn body", self.key);
        value
    }

    async fn perform(&self, client: &S3Client, op: Op) -> Result<Answer, RequestError> {
        let put = |value, headers: Vec<(&'static str, String)>| async move {
            let headers: Vec<(&str, &str)> =
                headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            client.put_with(&self.key, self.body(value), &headers).await
        };
        match op {
            Op::Read => client.get(&self.key).await,
            Op::Put(value) if value % 7 == 5 => self.upload(client, value, &[]).await,
            Op::Put(value) => put(value, Vec::new()).await,
            Op::PutIfAbsent(value) if value % 7 == 5 => {
                self.upload(client, value, &[("if-none-match", "*")]).await
            }
            Op::PutIfAbsent(value) => put(value, vec![("if-none-match", "*".to_owned())]).await,
            Op::PutIfMatch { expected, new } => put(new, vec![("if-match", self.etag(expected))]).await,
            Op::Delete => client.delete(&self.key).await,
            Op::DeleteIfMatch { expected } => {
                client.delete_with(&self.key, &[("if-match", &self.etag(expected))]).await
            }
        }
    }

    /// The same write by multipart upload: only its Complete changes the key.
    async fn upload(
        &self,
        client: &S3Client,
        value: u64,
        headers: &[(&str, &str)],
    ) -> Result<Answer, RequestError> {
        let created = client.create_upload(&self.key).await?;
        let id = created.xml().map(|root| root.text_of("UploadId").to_owned()).unwrap_or_default();
        let part = client.put_part(&self.key, &id, 1, self.body(value)).await?;
        assert!(part.is_success(), "{}", part.brief());
        client.complete(&self.key, &id, &[(1, part.etag())], headers).await
    }

    async fn step(&self, client: &S3Client, index: usize, op: Op) {
        let called = self.history.call();
        let outcome = match self.perform(client, op).await {
            Err(RequestError::NotSent(_)) => {
                self.dead.store(true, Ordering::SeqCst);
                return;
            }
            Err(RequestError::Unknown(_)) => Outcome::Unknown,
            Ok(answer) => match (answer.status, answer.code().as_deref(), op) {
                (200, None, Op::Read) => Outcome::Found(self.value(&answer)),
                (404, _, Op::Read) => Outcome::Absent,
                (200 | 204, None, _) => Outcome::Done,
                (412 | 404, ..) => Outcome::Refused,
                // Told to come again: nothing happened.
                (409 | 503, ..) => return,
                (status, code, _) => panic!("{op:?}: {status} {code:?} {:?}", answer.body),
            },
        };
        self.history.answered(index, called, op, outcome);
    }

    fn choose(&self, rng: &mut Rng) -> Op {
        let fresh = self.fresh();
        // Often one that was there a moment ago.
        let expected = fresh.saturating_sub(rng.between(1, 10)).max(1);
        match rng.below(100) {
            0..35 => Op::Read,
            35..58 => Op::Put(fresh),
            58..70 => Op::PutIfAbsent(fresh),
            70..82 => Op::PutIfMatch { expected, new: fresh },
            82..95 => Op::Delete,
            _ => Op::DeleteIfMatch { expected },
        }
    }

    /// Panics if the history is not linearizable. `false`: too many orders to try them all.
    fn is_linearizable(&self) -> bool {
        match check(&self.history.operations(), None) {
            Verdict::Linearizable => true,
            Verdict::Violation(why) => panic!("{} is not linearizable: {why}", self.key),
            Verdict::GaveUp => false,
        }
    }
}

/// An If-Match may only name a value whose ETag is the MD5 of its body: the ETag of a multipart upload is another,
/// and the checker would take the refusal for a lie.
fn matchable(op: Op) -> Op {
    match op {
        Op::PutIfMatch { expected, new } if expected % 7 == 5 => {
            Op::PutIfMatch { expected: expected + 1, new }
        }
        Op::DeleteIfMatch { expected } if expected % 7 == 5 => Op::DeleteIfMatch { expected: expected + 1 },
        op => op,
    }
}

async fn clients(client: &S3Client, register: &Arc<Register>, rng: &mut Rng, operations: usize) {
    let mut tasks = Vec::new();
    for index in 0..CLIENTS {
        let (client, register, mut rng) = (client.clone(), register.clone(), rng.fork());
        tasks.push(tokio::spawn(async move {
            for _ in 0..operations {
                if register.dead.load(Ordering::SeqCst) {
                    return;
                }
                let op = matchable(register.choose(&mut rng));
                register.step(&client, index, op).await;
            }
        }));
    }
    for task in tasks {
        task.await.expect("a client's answers are in order");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn histories_are_linearizable() {
    let seed = Seed::new();
    let mut rng = seed.rng();
    let node = start();
    let client = node.client();
    for name in 0..HISTORIES {
        let register = Register::new(seed.value(), name);
        clients(&client, &register, &mut rng, OPERATIONS).await;
        assert!(register.is_linearizable(), "{}: the checker gave up", register.key);
    }
}

/// The history goes on over a kill: what was not answered may or may not have been done, but not twice and not late.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn histories_over_kills_are_linearizable() {
    let seed = Seed::new();
    let mut rng = seed.rng();
    let mut node = start();
    let mut decided = 0;
    for name in 0..HISTORIES_OVER_KILLS_AT_MOST {
        if decided == HISTORIES_OVER_KILLS {
            return;
        }
        let register = Register::new(seed.value(), name);
        let client = node.client();
        let killed = {
            let (register, mut rng) = (register.clone(), rng.fork());
            tokio::spawn(async move { clients(&client, &register, &mut rng, OPERATIONS / 2).await })
        };
        tokio::time::sleep(Duration::from_millis(rng.between(5, 60))).await;
        node.restart().expect("the node starts after a kill");
        killed.await.expect("a client's answers are in order");
        register.dead.store(false, Ordering::SeqCst);
        clients(&node.client(), &register, &mut rng, OPERATIONS / 4).await;
        decided += usize::from(register.is_linearizable());
    }
    assert_eq!(decided, HISTORIES_OVER_KILLS, "the checker gave up too often");
}

/// Sends `CLIENTS` requests at one moment and counts the answers by status.
async fn race<F, R>(of: F) -> Vec<(u16, usize)>
where
    F: Fn(usize) -> R,
    R: Future<Output = Result<Answer, RequestError>> + Send + 'static,
{
    let barrier = Arc::new(Barrier::new(CLIENTS));
    let mut tasks = Vec::new();
    for index in 0..CLIENTS {
        let (barrier, request) = (barrier.clone(), of(index));
        tasks.push(tokio::spawn(async move {
            barrier.wait().await;
            request.await
        }));
    }
    let mut statuses = Vec::new();
    for (index, task) in tasks.into_iter().enumerate() {
        let answer = task.await.expect("no panic").expect("an answer");
        let failed = answer.code().is_some() && answer.status == 200;
        statuses.push((if failed { 412 } else { answer.status }, index));
    }
    statuses
}

fn winners(statuses: &[(u16, usize)]) -> Vec<usize> {
    statuses.iter().filter(|(status, _)| matches!(status, 200 | 204)).map(|(_, index)| *index).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn racing_creations_have_one_winner() {
    let seed = Seed::new();
    let node = start();
    let client = node.client();
    for round in 0..RACES {
        let register = Register::new(seed.value(), round);
        let statuses = race(|index| {
            let (client, register) = (client.clone(), register.clone());
            async move { register.perform(&client, Op::PutIfAbsent(1 + index as u64)).await }
        })
        .await;
        let won = winners(&statuses);
        assert_eq!(won.len(), 1, "round {round}: {statuses:?}");
        assert!(statuses.iter().all(|(status, _)| matches!(status, 200 | 409 | 412)), "{statuses:?}");
        let answer = client.get(&register.key).await.expect("an answer");
        assert_eq!(register.value(&answer), 1 + won[0] as u64, "the winner's bytes are there");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn racing_replacements_have_one_winner() {
    let seed = Seed::new();
    let node = start();
    let client = node.client();
    for round in 0..RACES / 2 {
        let register = Register::new(seed.value(), round);
        let base = register.perform(&client, Op::Put(100)).await.expect("an answer");
        assert_eq!(base.etag(), register.etag(100));
        let statuses = race(|index| {
            let (client, register) = (client.clone(), register.clone());
            // One of them deletes.
            let op = match index {
                0 => Op::DeleteIfMatch { expected: 100 },
                _ => Op::PutIfMatch { expected: 100, new: index as u64 },
            };
            async move { register.perform(&client, op).await }
        })
        .await;
        assert_eq!(winners(&statuses).len(), 1, "round {round}: {statuses:?}");
    }
}

/// Complete against Complete, Abort and UploadPart: one outcome, and the object is exactly the listed parts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn racing_ends_of_an_upload_have_one_outcome() {
    let seed = Seed::new();
    let node = start();
    let client = node.client();
    for round in 0..RACES / 3 {
        let register = Register::new(seed.value(), round);
        let created = client.create_upload(&register.key).await.expect("an answer");
        let id = created.xml().expect("XML").text_of("UploadId").to_owned();
        let part = client.put_part(&register.key, &id, 1, register.body(1)).await.expect("an answer");
        let etag = part.etag();
        let statuses = race(|index| {
            let (client, register, id, etag) = (client.clone(), register.clone(), id.clone(), etag.clone());
            async move {
                match index {
                    0 | 1 => client.complete(&register.key, &id, &[(1, etag)], &[]).await,
                    2 => client.abort(&register.key, &id).await,
                    3 => client.put_part(&register.key, &id, 1, register.body(2)).await,
                    _ => client.get(&register.key).await,
                }
            }
        })
        .await;
        let completed = statuses.iter().any(|(status, index)| *index < 2 && *status == 200);
        assert!(statuses.iter().all(|(status, _)| *status < 500), "round {round}: {statuses:?}");
        let answer = client.get(&register.key).await.expect("an answer");
        match answer.status {
            200 => assert!(completed && register.value(&answer) == 1, "round {round}: {statuses:?}"),
            404 => assert!(!completed, "round {round}: {statuses:?}"),
            _ => panic!("round {round}: {}", answer.brief()),
        }
        let _ = client.abort(&register.key, &id).await;
    }
    assert_eq!(client.list_uploads().await.expect("a listing"), []);
}
