//! A mixed load that remembers what it was promised, and asks for it after a crash.
//!
//! Each [`Worker`] owns its keys and works on them in sequence, so that for every key the possible states are known
//! exactly; many workers make the concurrency. (Races on one key are the business of [`crate::linear`].)

use crate::body::{Bodies, Content};
use crate::client::{Answer, ListQuery, Outcome, RequestError, S3Client, md5};
use crate::model::{Model, State};
use crate::rng::Rng;
use crate::sign::hex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Where a body's origin travels besides the body: an empty body cannot name it.
const ORIGIN: &str = "x-amz-meta-origin";
const MIN_PART_BYTES: u64 = 5 << 20;

/// What the load consists of.
#[derive(Debug, Clone)]
pub struct Profile {
    pub workers: usize,
    pub keys_per_worker: u64,
    /// Most objects are up to here ...
    pub small_bytes: u64,
    /// ... some are up to here.
    pub large_bytes: u64,
    pub large_percent: u64,
    /// Whether uploads of two parts (more than 5 MiB) occur.
    pub two_parts: bool,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            workers: 8,
            keys_per_worker: 10,
            small_bytes: 16 << 10,
            large_bytes: 512 << 10,
            large_percent: 30,
            two_parts: true,
        }
    }
}

/// When the load ends, and from when on answers no longer count.
#[derive(Debug, Default)]
pub struct Halt {
    /// Workers begin nothing new.
    pub stop: AtomicBool,
    /// Answers that come now may be from beyond the grave: they count as none.
    pub frozen: AtomicBool,
    /// Acknowledgements of changes so far.
    pub acknowledged: AtomicU64,
}

/// An upload that goes on over crashes.
#[derive(Debug)]
struct OpenUpload {
    key: String,
    id: String,
    content: Content,
    /// Acknowledged parts: number, ETag, size.
    parts: Vec<(u16, String, u64)>,
}

pub struct Worker {
    prefix: String,
    profile: Profile,
    rng: Rng,
    bodies: Bodies,
    generation: u64,
    model: Model,
    etags: BTreeMap<String, String>,
    uploads: Vec<OpenUpload>,
    violations: Vec<String>,
}

/// Whether a worker goes on after an operation.
enum Next {
    GoOn,
    /// The node is gone, or its answers no longer count.
    End,
}

/// What an answer is worth.
enum Seen {
    Answer(Answer),
    /// The node never saw the request.
    Nothing,
    Unknown,
}

impl Worker {
    fn new(index: usize, seed: u64, rng: Rng, profile: &Profile) -> Self {
        Self {
            prefix: format!("w{index}/"),
            profile: profile.clone(),
            rng,
            bodies: Bodies::new(seed),
            generation: 0,
            model: Model::default(),
            etags: BTreeMap::new(),
            uploads: Vec::new(),
            violations: Vec::new(),
        }
    }

    async fn run(&mut self, client: &S3Client, halt: &Halt) {
        while !halt.stop.load(Ordering::SeqCst) {
            let next = match self.rng.below(100) {
                0..45 => self.put(client, halt).await,
                45..57 => self.delete(client, halt).await,
                57..65 => self.upload(client, halt).await,
                65..73 => self.copy(client, halt).await,
                73..85 => self.conditional(client, halt).await,
                _ => self.get(client, halt).await,
            };
            if let Next::End = next {
                return;
            }
        }
    }

    fn key(&mut self) -> String {
        format!("{}k{}", self.prefix, self.rng.below(self.profile.keys_per_worker))
    }

    fn content(&mut self, key: &str) -> Content {
        let large = self.rng.chance(self.profile.large_percent);
        let max = if large { self.profile.large_bytes } else { self.profile.small_bytes };
        let size = self.rng.size(max);
        self.content_of(key, size)
    }

    fn content_of(&mut self, key: &str, size: u64) -> Content {
        self.generation += 1;
        self.bodies.content(key, self.generation, size)
    }

    fn broken(&mut self, what: String) {
        self.violations.push(what);
    }

    fn see(&mut self, what: &str, outcome: Outcome, halt: &Halt) -> Seen {
        match outcome {
            Err(RequestError::NotSent(_)) => Seen::Nothing,
            Err(RequestError::Unknown(_)) => Seen::Unknown,
            Ok(_) if halt.frozen.load(Ordering::SeqCst) => Seen::Unknown,
            Ok(answer) if answer.status >= 500 => {
                self.broken(format!("SERVER ERROR: {what}: {} {:?}", answer.brief(), answer.body));
                Seen::Unknown
            }
            Ok(answer) => Seen::Answer(answer),
        }
    }

    /// Books a change of `key` to `state`; `true` where it was acknowledged.
    fn book(&mut self, key: &str, state: State, seen: &Seen, halt: &Halt) -> bool {
        match seen {
            Seen::Answer(answer) if answer.is_success() && answer.code().is_none() => {
                halt.acknowledged.fetch_add(1, Ordering::SeqCst);
                self.model.acknowledged(key, state);
                self.etags.insert(key.to_owned(), answer.etag());
                true
            }
            Seen::Answer(_) | Seen::Nothing => false,
            Seen::Unknown => {
                self.model.maybe(key, state);
                false
            }
        }
    }

    fn end_unless_answered(seen: &Seen) -> Next {
        if let Seen::Answer(_) = seen { Next::GoOn } else { Next::End }
    }

    async fn put(&mut self, client: &S3Client, halt: &Halt) -> Next {
        let key = self.key();
        let content = self.content(&key);
        let outcome = client.put_with(&key, content.bytes(), &[(ORIGIN, &origin(content))]).await;
        let seen = self.see(&format!("PUT {key}"), outcome, halt);
        if !self.book(&key, Some(content), &seen, halt)
            && let Seen::Answer(answer) = &seen
        {
            self.broken(format!("REFUSED: PUT {key}: {}", answer.brief()));
        }
        Self::end_unless_answered(&seen)
    }

    async fn delete(&mut self, client: &S3Client, halt: &Halt) -> Next {
        let key = self.key();
        let outcome = client.delete(&key).await;
        let seen = self.see(&format!("DELETE {key}"), outcome, halt);
        if !self.book(&key, None, &seen, halt)
            && let Seen::Answer(answer) = &seen
        {
            self.broken(format!("REFUSED: DELETE {key}: {}", answer.brief()));
        }
        Self::end_unless_answered(&seen)
    }

    async fn copy(&mut self, client: &S3Client, halt: &Halt) -> Next {
        let (from, to) = (self.key(), self.key());
        let source = self.model.certain(&from);
        let (Some(Some(source)), true) = (source, from != to) else {
            return Next::GoOn;
        };
        let outcome = client.copy(&from, &to, &[]).await;
        let seen = self.see(&format!("COPY {from} to {to}"), outcome, halt);
        if !self.book(&to, Some(source), &seen, halt)
            && let Seen::Answer(answer) = &seen
        {
            self.broken(format!("REFUSED: COPY {from} to {to}: {}", answer.brief()));
        }
        Self::end_unless_answered(&seen)
    }

    /// The worker alone writes its keys, so it knows what the precondition must say.
    async fn conditional(&mut self, client: &S3Client, halt: &Halt) -> Next {
        let key = self.key();
        let Some(current) = self.model.certain(&key) else {
            return Next::GoOn;
        };
        let content = self.content(&key);
        let etag = self.etags.get(&key).cloned().unwrap_or_default();
        let (header, holds) = match (current, self.rng.below(3)) {
            (_, 0) => (("if-none-match", "*"), current.is_none()),
            (Some(_), 1) => (("if-match", etag.as_str()), true),
            _ => (("if-match", "\"00000000000000000000000000000000\""), false),
        };
        let outcome = client.put_with(&key, content.bytes(), &[header, (ORIGIN, &origin(content))]).await;
        let seen = self.see(&format!("conditional PUT {key}"), outcome, halt);
        if let Seen::Answer(answer) = &seen
            && answer.is_success() != holds
        {
            self.broken(format!("CONDITION: {header:?} on {key} ({current:?}, {etag}): {}", answer.brief()));
        }
        if holds || matches!(seen, Seen::Answer(_)) {
            self.book(&key, Some(content), &seen, halt);
        }
        Self::end_unless_answered(&seen)
    }

    async fn get(&mut self, client: &S3Client, halt: &Halt) -> Next {
        let key = self.key();
        let outcome = client.get(&key).await;
        let seen = self.see(&format!("GET {key}"), outcome, halt);
        if let Seen::Answer(answer) = &seen {
            self.settle(&key, answer);
        }
        Self::end_unless_answered(&seen)
    }

    /// Compares an answer to GET with what is allowed.
    fn settle(&mut self, key: &str, answer: &Answer) {
        match read_state(key, answer) {
            Ok(state) => {
                if let Err(why) = self.model.observed(key, state) {
                    self.broken(why);
                }
                self.etags.insert(key.to_owned(), answer.etag());
            }
            Err(why) => self.broken(why),
        }
    }

    /// One step of an upload: a new one, another part, or the end of one.
    async fn upload(&mut self, client: &S3Client, halt: &Halt) -> Next {
        match self.uploads.len() {
            0 => self.create_upload(client, halt).await,
            _ if self.uploads.iter().all(|upload| upload.parts.is_empty()) => {
                self.put_part(client, halt).await
            }
            _ => match self.rng.below(10) {
                0..3 => self.create_upload(client, halt).await,
                3..6 => self.put_part(client, halt).await,
                6 => self.abort(client, halt).await,
                _ => self.complete(client, halt).await,
            },
        }
    }

    async fn create_upload(&mut self, client: &S3Client, halt: &Halt) -> Next {
        let key = self.key();
        let two = self.profile.two_parts && self.rng.chance(15);
        let size = if two { MIN_PART_BYTES + self.rng.size(100_000) + 1 } else { self.rng.size(200_000) + 1 };
        let content = self.content_of(&key, size);
        let origin = origin(content);
        let outcome =
            client.request("POST", &client.path_of(&key), "uploads=", &[(ORIGIN, &origin)], "").await;
        let seen = self.see(&format!("CreateMultipartUpload {key}"), outcome, halt);
        if let Seen::Answer(answer) = &seen {
            match answer.xml().map(|root| root.text_of("UploadId").to_owned()) {
                Ok(id) if answer.status == 200 && !id.is_empty() => {
                    halt.acknowledged.fetch_add(1, Ordering::SeqCst);
                    self.uploads.push(OpenUpload { key, id, content, parts: Vec::new() });
                }
                _ => self.broken(format!("REFUSED: CreateMultipartUpload {key}: {}", answer.brief())),
            }
        }
        Self::end_unless_answered(&seen)
    }

    async fn put_part(&mut self, client: &S3Client, halt: &Halt) -> Next {
        let Some(at) = self.pick_upload() else {
            return Next::GoOn;
        };
        let Some(upload) = self.uploads.get(at) else {
            return Next::GoOn;
        };
        let (key, id, content) = (upload.key.clone(), upload.id.clone(), upload.content);
        let number =
            if content.size > MIN_PART_BYTES && upload.parts.iter().any(|part| part.0 == 1) { 2 } else { 1 };
        let (start, end) = part_bounds(content, number);
        let body = content.slice(start, end);
        let want = format!("\"{}\"", hex(&md5(&body)));
        let outcome = client.put_part(&key, &id, number, body).await;
        let seen = self.see(&format!("UploadPart {key} {number}"), outcome, halt);
        if let Seen::Answer(answer) = &seen {
            if answer.status == 200 && answer.etag() == want {
                halt.acknowledged.fetch_add(1, Ordering::SeqCst);
                if let Some(upload) = self.uploads.get_mut(at) {
                    upload.parts.retain(|part| part.0 != number);
                    upload.parts.push((number, want, end - start));
                }
            } else {
                self.broken(format!(
                    "REFUSED: UploadPart {key} {number}: {} {}",
                    answer.brief(),
                    answer.etag()
                ));
            }
        }
        Self::end_unless_answered(&seen)
    }

    fn pick_upload(&mut self) -> Option<usize> {
        let count = self.uploads.len() as u64;
        (count > 0).then(|| self.rng.below(count) as usize)
    }

    async fn abort(&mut self, client: &S3Client, halt: &Halt) -> Next {
        let Some(at) = self.pick_upload() else {
            return Next::GoOn;
        };
        let upload = self.uploads.swap_remove(at);
        let outcome = client.abort(&upload.key, &upload.id).await;
        let seen = self.see(&format!("AbortMultipartUpload {}", upload.key), outcome, halt);
        if let Seen::Answer(answer) = &seen
            && answer.status != 204
        {
            self.broken(format!("REFUSED: AbortMultipartUpload {}: {}", upload.key, answer.brief()));
        }
        if let Seen::Nothing = seen {
            self.uploads.push(upload);
        }
        Self::end_unless_answered(&seen)
    }

    async fn complete(&mut self, client: &S3Client, halt: &Halt) -> Next {
        let whole = |upload: &OpenUpload| upload.parts.len() == part_count(upload.content);
        let Some(at) = self.uploads.iter().position(whole) else {
            return Next::GoOn;
        };
        let upload = self.uploads.swap_remove(at);
        let mut parts: Vec<(u16, String)> =
            upload.parts.iter().map(|(n, etag, _)| (*n, etag.clone())).collect();
        parts.sort();
        let outcome = client.complete(&upload.key, &upload.id, &parts, &[]).await;
        let seen = self.see(&format!("CompleteMultipartUpload {}", upload.key), outcome, halt);
        if !self.book(&upload.key, Some(upload.content), &seen, halt)
            && let Seen::Answer(answer) = &seen
        {
            self.broken(format!("REFUSED: CompleteMultipartUpload {}: {}", upload.key, answer.brief()));
        }
        if let Seen::Nothing = seen {
            self.uploads.push(upload);
        }
        // Without an answer the upload is forgotten here; `verify` aborts it if it is still there.
        Self::end_unless_answered(&seen)
    }

    /// After a restart: everything promised is there, everything else is gone or whole.
    async fn verify(&mut self, client: &S3Client) {
        for n in 0..self.profile.keys_per_worker {
            let key = format!("{}k{n}", self.prefix);
            match client.get(&key).await {
                Ok(answer) => self.settle(&key, &answer),
                Err(error) => self.broken(format!("UNREADABLE: GET {key}: {error}")),
            }
        }
        self.verify_listing(client).await;
        self.verify_uploads(client).await;
    }

    async fn verify_listing(&mut self, client: &S3Client) {
        let list = ListQuery { prefix: &self.prefix.clone(), max_keys: Some(7), ..ListQuery::default() };
        let listed: BTreeSet<(String, u64, String)> = match client.list_all(&list).await {
            Ok(page) => page.entries.into_iter().map(|entry| (entry.key, entry.size, entry.etag)).collect(),
            Err(why) => return self.broken(format!("LISTING: {}: {why}", self.prefix)),
        };
        let etag = |key: &str| self.etags.get(key).cloned().unwrap_or_default();
        let present: BTreeSet<(String, u64, String)> =
            self.model.present().map(|(key, content)| (key.to_owned(), content.size, etag(key))).collect();
        let differences: Vec<String> =
            listed.symmetric_difference(&present).map(|entry| format!("{entry:?}")).collect();
        if !differences.is_empty() {
            self.broken(format!("LISTING: only listed or only read: {}", differences.join(" ")));
        }
    }

    /// Acknowledged parts are still there; uploads that nobody knows of (no answer came) are aborted.
    async fn verify_uploads(&mut self, client: &S3Client) {
        let mut broken = Vec::new();
        for upload in &self.uploads {
            match client.list_parts(&upload.key, &upload.id).await {
                Err(why) => broken.push(format!("LOST: upload of {}: {why}", upload.key)),
                Ok(found) => {
                    for (number, etag, size) in &upload.parts {
                        if !found.contains(&(*number, *size, etag.clone())) {
                            broken.push(format!("LOST: part {number} of {}: {found:?}", upload.key));
                        }
                    }
                }
            }
        }
        match client.list_uploads().await {
            Err(why) => broken.push(format!("LISTING: uploads: {why}")),
            Ok(found) => {
                let known: BTreeSet<&str> = self.uploads.iter().map(|upload| upload.id.as_str()).collect();
                let strays = found
                    .iter()
                    .filter(|(key, id)| key.starts_with(&self.prefix) && !known.contains(id.as_str()));
                for (key, id) in strays {
                    match client.abort(key, id).await {
                        Ok(answer) if answer.status == 204 => {}
                        other => broken.push(format!("REFUSED: abort of a stray upload of {key}: {other:?}")),
                    }
                }
            }
        }
        self.violations.extend(broken);
    }

    async fn abort_all(&mut self, client: &S3Client) {
        for upload in std::mem::take(&mut self.uploads) {
            match client.abort(&upload.key, &upload.id).await {
                Ok(answer) if answer.status == 204 => {}
                other => self.broken(format!("REFUSED: abort of {}: {other:?}", upload.key)),
            }
        }
    }
}

fn part_count(content: Content) -> usize {
    if content.size > MIN_PART_BYTES { 2 } else { 1 }
}

fn part_bounds(content: Content, number: u16) -> (u64, u64) {
    match (part_count(content), number) {
        (1, _) => (0, content.size),
        (_, 1) => (0, MIN_PART_BYTES),
        _ => (MIN_PART_BYTES, content.size),
    }
}

fn origin(content: Content) -> String {
    format!("{:x}-{}-{}", content.stream, content.generation, content.size)
}

fn parse_origin(text: &str) -> Option<Content> {
    let mut fields = text.split('-');
    let stream = u64::from_str_radix(fields.next()?, 16).ok()?;
    let generation = fields.next()?.parse().ok()?;
    let size = fields.next()?.parse().ok()?;
    Some(Content { stream, generation, size })
}

/// What an answer to GET shows, if it is whole.
fn read_state(key: &str, answer: &Answer) -> Result<State, String> {
    if answer.status == 404 {
        return Ok(None);
    }
    if answer.status != 200 {
        return Err(format!("UNREADABLE: GET {key}: {} {:?}", answer.brief(), answer.body));
    }
    let content = answer
        .header(ORIGIN)
        .and_then(parse_origin)
        .ok_or_else(|| format!("TORN: {key} lost its metadata"))?;
    content.verify(&answer.body).map_err(|why| format!("TORN: {key}: {why}"))?;
    let etag = answer.etag();
    let single = format!("\"{}\"", hex(&md5(&answer.body)));
    if !etag.contains('-') && etag != single {
        return Err(format!("TORN: {key} has ETag {etag}, its body {single}"));
    }
    Ok(Some(content))
}

/// All workers of a load.
#[derive(Default)]
pub struct Fleet {
    workers: Vec<Worker>,
}

impl Fleet {
    pub fn new(seed: u64, profile: &Profile) -> Self {
        let mut rng = Rng::new(seed);
        let workers =
            (0..profile.workers).map(|index| Worker::new(index, seed, rng.fork(), profile)).collect();
        Self { workers }
    }

    /// Starts all workers; they come back when the node is gone or `halt` says so.
    pub fn start(self, client: &S3Client, halt: &Arc<Halt>) -> Underway {
        let run = |mut worker: Worker| {
            let (client, halt) = (client.clone(), halt.clone());
            tokio::spawn(async move {
                worker.run(&client, &halt).await;
                worker
            })
        };
        Underway { tasks: self.workers.into_iter().map(run).collect() }
    }

    /// Asks the restarted node for all that was promised, all workers at once.
    pub async fn verify(&mut self, client: &S3Client) {
        let verify = |mut worker: Worker| {
            let client = client.clone();
            tokio::spawn(async move {
                worker.verify(&client).await;
                worker
            })
        };
        let tasks = self.workers.drain(..).map(verify).collect();
        *self = Underway { tasks }.join().await;
    }

    /// Ends all uploads, so that nothing but objects is left.
    pub async fn abort_uploads(&mut self, client: &S3Client) {
        for worker in &mut self.workers {
            worker.abort_all(client).await;
        }
    }

    /// What was broken since the last time.
    pub fn take_violations(&mut self) -> Vec<String> {
        self.workers.iter_mut().flat_map(|worker| worker.violations.drain(..)).collect()
    }

    pub fn objects(&self) -> usize {
        self.workers.iter().map(|worker| worker.model.present().count()).sum()
    }
}

/// A load that is running.
pub struct Underway {
    tasks: Vec<tokio::task::JoinHandle<Worker>>,
}

impl Underway {
    pub async fn join(self) -> Fleet {
        let mut workers = Vec::new();
        for task in self.tasks {
            workers.push(task.await.expect("a worker does not panic"));
        }
        Fleet { workers }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use bytes::Bytes;
    use http::HeaderMap;

    fn answer(content: Content, body: Bytes) -> Answer {
        let mut headers = HeaderMap::new();
        headers.insert("etag", format!("\"{}\"", hex(&md5(&body))).parse().unwrap());
        headers.insert(ORIGIN, origin(content).parse().unwrap());
        Answer { status: 200, headers, body }
    }

    #[test]
    fn a_torn_object_is_seen() {
        let bodies = Bodies::new(3);
        let (new, old) = (bodies.content("k", 2, 100), bodies.content("k", 1, 100));
        assert_eq!(read_state("k", &answer(new, new.bytes())), Ok(Some(new)));
        assert!(read_state("k", &answer(new, old.bytes())).unwrap_err().starts_with("TORN"));
        assert!(read_state("k", &answer(new, Bytes::new())).unwrap_err().starts_with("TORN"));
        assert_eq!(parse_origin(&origin(new)), Some(new));
    }

    #[test]
    fn answers_after_the_freeze_do_not_count() {
        let mut worker = Worker::new(0, 1, Rng::new(1), &Profile::default());
        let content = worker.content_of("w0/k0", 10);
        let halt = Halt::default();
        halt.frozen.store(true, Ordering::SeqCst);
        let seen = worker.see("PUT", Ok(answer(content, content.bytes())), &halt);
        assert!(!worker.book("w0/k0", Some(content), &seen, &halt));
        assert_eq!(worker.model.allowed("w0/k0"), [None, Some(content)]);
    }
}
