//! Runs operations against a store and the model, and compares every answer.

use bytes::Bytes;
use std::time::{Duration, Instant};
use store::{
    DeleteRequest, Durability, ListEntry, ListRequest, OpenObject, Reader, Store, StoreError, UploadEntry,
    UploadRef, Written,
};
use testkit::Rng;
use testkit::cancel::drop_after;
use types::{BucketId, ByteRange, UploadId, Version};

use crate::model::{Answer, Entry, Model, Object, Reply, slice};
use crate::op::{Action, CopyAction, Fault, From, Op, PartAction, PutAction, Resolver, Verb, pause};
use crate::recount;
use crate::rig::{Body, Rig, advance, read_all};

/// So often everything that the ledger counts is counted anew; the bucket is held against the model each time.
const RECOUNTED: u64 = 100;

/// What differs, in words.
pub type Difference = String;
type Checked = Result<(), Difference>;

/// A reader that is kept while the world goes on.
struct Held {
    open: OpenObject,
    reader: Reader,
    at: u64,
}

pub struct Runner {
    rig: Rig,
    store: Option<Store>,
    bucket: BucketId,
    model: Model,
    held: Vec<Held>,
    held_objects: Vec<Object>,
    highest: Version,
    steps: u64,
}

macro_rules! same {
    ($what:expr, $got:expr, $want:expr) => {
        let (got, want) = (&$got, &$want);
        if got != want {
            return Err(format!("{}: the store has {got:?}, the model {want:?}", $what));
        }
    };
}

impl Runner {
    pub fn new(durability: Durability, quota: Option<u64>) -> Self {
        let rig = Rig::new(durability).with_quota(quota);
        let (store, bucket) = rig.open();
        let model = Model::new(quota);
        let (held, held_objects) = (Vec::new(), Vec::new());
        Self { rig, store: Some(store), bucket, model, held, held_objects, highest: Version(0), steps: 0 }
    }

    fn store(&self) -> &Store {
        self.store.as_ref().expect("the store is open between two operations")
    }

    pub async fn step(&mut self, op: Op) -> Checked {
        let mut rng = Rng::new(op.draw);
        advance(pause(&mut rng));
        let model = self.model.clone();
        let mut resolver = Resolver { rng, bucket: self.bucket, model: &model, held: &self.held_objects };
        let action = resolver.action(op.verb);
        let mut rng = resolver.rng;
        match (op.verb, action) {
            (Verb::Interrupted, Some(action)) => self.interrupted(&action, &mut rng).await?,
            (_, Some(action)) => self.compare(&action).await?,
            (Verb::Hold, None) => self.hold(&mut rng).await?,
            (Verb::ReadHeld, None) => self.read_held(&mut rng).await?,
            (Verb::DropHeld, None) => self.drop_held(&mut rng),
            (Verb::Cleanup, None) => self.cleanup().await?,
            (Verb::Close | Verb::Crash | Verb::CrashImage, None) => self.reopen(op.verb).await?,
            // Nothing to do it with yet.
            (_, None) => {}
        }
        self.compare_ledger()?;
        self.steps += 1;
        match self.steps % RECOUNTED {
            0 => recount::compare(&self.rig, self.store(), self.bucket).await,
            _ => Ok(()),
        }
    }

    async fn compare(&mut self, action: &Action) -> Checked {
        let got = self.perform(action, None).await.expect("not interrupted");
        let want = self.model.apply(action);
        if let Ok(reply) = &got {
            self.note_version(reply, &want)?;
            self.model.learn(action, reply);
        }
        compare_answers(action, &got, &want)
    }

    fn note_version(&mut self, reply: &Reply, want: &Answer) -> Checked {
        let (Reply::Written(got), Ok(Reply::Written(want))) = (reply, want) else { return Ok(()) };
        // A repeated Complete tells the version of the first. All others grow, also over restarts.
        if want.version == Version(0) && got.version <= self.highest {
            return Err(format!("{:?} is not behind {:?}", got.version, self.highest));
        }
        self.highest = self.highest.max(got.version);
        Ok(())
    }

    fn compare_ledger(&self) -> Checked {
        let usage = self.store().bucket_usage(self.bucket);
        same!("bytes of the bucket", usage.bytes, self.model.bytes());
        same!("objects of the bucket", usage.objects, self.model.objects.len() as u64);
        same!("bytes that are reserved", usage.reserved_bytes, 0);
        same!("bytes that are reserved on the backend", self.store().backend_usage().reserved_bytes, 0);
        Ok(())
    }

    /// `None`: dropped before it answered.
    async fn perform(&self, action: &Action, polls: Option<usize>) -> Option<Answer> {
        let work = perform(self.store(), self.bucket, &self.held, action);
        match polls {
            Some(polls) => drop_after(polls, work).await,
            None => Some(work.await),
        }
    }

    /// The caller goes away, then the process. Either all of it happened or nothing.
    async fn interrupted(&mut self, action: &Action, rng: &mut Rng) -> Checked {
        let polls = rng.below(12) as usize;
        let answer = self.perform(action, Some(polls)).await;
        let before = self.model.clone();
        let want = self.model.apply(action);
        if let Some(got) = answer {
            if let Ok(reply) = &got {
                self.note_version(reply, &want)?;
                self.model.learn(action, reply);
            }
            return compare_answers(action, &got, &want);
        }
        self.close(Verb::Crash).await?;
        self.open();
        let happened = self.learn_hidden(action).await;
        let Err(why) = self.audit().await else { return Ok(()) };
        if happened {
            return Err(why);
        }
        self.model = before;
        self.audit().await.map_err(|neither| format!("neither before ({neither}) nor after ({why})"))
    }

    /// Whether the key that an interrupted write was for has a version that the model has not seen.
    async fn learn_hidden(&mut self, action: &Action) -> bool {
        let key = match action {
            Action::Put(put) => &put.request.key,
            Action::Copy(copy) => &copy.request.destination,
            Action::Complete(request) => &request.upload.key,
            _ => return false,
        };
        let unknown = self.model.objects.get(key).is_some_and(|object| object.version == Version(0));
        let Ok(found) = self.store().head(self.bucket, key).await else { return false };
        if !unknown || found.version <= self.highest {
            return false;
        }
        self.highest = found.version;
        self.model.learn_hidden(key, found.version);
        true
    }

    async fn hold(&mut self, rng: &mut Rng) -> Checked {
        let model = self.model.clone();
        let mut resolver = Resolver { rng: rng.fork(), bucket: self.bucket, model: &model, held: &[] };
        let key = resolver.present_key();
        let (Ok(open), Ok(object)) = (self.store().open(self.bucket, &key).await, self.model.object(&key))
        else {
            return Ok(());
        };
        if self.held.len() >= 6 {
            self.drop_held(rng);
        }
        let range = resolver.range_of(object.body.len() as u64);
        self.held.push(Held { reader: open.read(range), open, at: range.start });
        self.held_objects.push(object);
        Ok(())
    }

    /// The next piece of the open reader, and a range of what it was opened on.
    async fn read_held(&mut self, rng: &mut Rng) -> Checked {
        let Some(index) = (rng.next() as usize).checked_rem(self.held.len()) else { return Ok(()) };
        let (held, object) = (&mut self.held[index], &self.held_objects[index]);
        if let Some(piece) = held.reader.next().await {
            let piece = piece.map_err(|error| format!("a held reader: {error}"))?;
            let at = held.at as usize;
            same!("a piece of a held reader", piece, object.body.slice(at..at + piece.len()));
            held.at += piece.len() as u64;
        }
        let size = object.body.len() as u64;
        let start = rng.below(size + 1);
        let range = ByteRange { start, end: rng.between(start, size) };
        let bytes = read_all(&held.open, range).await.map_err(|error| format!("a held object: {error}"))?;
        same!("a range of a held object", Bytes::from(bytes), slice(&object.body, range));
        Ok(())
    }

    fn drop_held(&mut self, rng: &mut Rng) {
        if let Some(index) = (rng.next() as usize).checked_rem(self.held.len()) {
            self.held.swap_remove(index);
            self.held_objects.swap_remove(index);
        }
    }

    /// Passes until nothing is left but what is held. A write that failed hands in what it leaves after
    /// it has answered, so that may take a moment.
    async fn cleanup(&mut self) -> Checked {
        let begun = Instant::now();
        loop {
            let progress = self.store().cleanup_pass().await.map_err(|error| format!("cleanup: {error}"))?;
            let waiting = self.store().backend_usage().awaiting_bytes;
            if progress.done == 0 && (!self.held.is_empty() || (progress.left, waiting) == (0, 0)) {
                return Ok(());
            }
            if begun.elapsed() > Duration::from_secs(10) {
                return Err(format!("cleanup does not come to an end: {progress:?}, {waiting} bytes wait"));
            }
        }
    }

    async fn reopen(&mut self, how: Verb) -> Checked {
        self.close(how).await?;
        self.open();
        self.audit().await
    }

    async fn close(&mut self, how: Verb) -> Checked {
        self.held.clear();
        self.held_objects.clear();
        let store = self.store.take().expect("the store is open between two operations");
        match how {
            Verb::Close => {
                store.close().await;
                drop(store);
            }
            Verb::CrashImage => {
                let old = self.rig.move_to_image();
                drop(store);
                // Dropped readers may be at their last step; then the directory goes with the rig.
                let _ = std::fs::remove_dir_all(old);
            }
            _ => drop(store),
        }
        let (_, differences) = self.rig.fsck();
        same!("fsck", differences, Vec::new());
        Ok(())
    }

    fn open(&mut self) {
        let (store, bucket) = self.rig.open();
        self.store = Some(store);
        self.bucket = bucket;
    }

    /// Everything, compared.
    pub async fn audit(&mut self) -> Checked {
        self.compare_ledger()?;
        for action in self.whole_state() {
            let got = self.perform(&action, None).await.expect("not interrupted");
            compare_answers(&action, &got, &self.model.clone().apply(&action))?;
        }
        Ok(())
    }

    fn whole_state(&self) -> Vec<Action> {
        let (bucket, max) = (self.bucket, 10_000);
        let mut actions = vec![
            Action::List(ListRequest { max, ..ListRequest::default() }),
            Action::ListUploads(store::ListUploadsRequest { max, ..Default::default() }),
        ];
        for (key, object) in &self.model.objects {
            actions.push(Action::Head(key.clone()));
            actions.push(Action::Get(key.clone(), ByteRange::whole(object.body.len() as u64)));
        }
        for (key, sequence, secret) in self.model.uploads.keys().cloned() {
            let upload = UploadRef { bucket, key, id: UploadId { sequence, secret } };
            actions.push(Action::ListParts(upload, 0, max));
        }
        actions
    }

    /// At the end of a run: nothing but what the model has is left on the disk.
    pub async fn finish(&mut self) -> Checked {
        self.reopen(Verb::Close).await?;
        self.cleanup().await?;
        self.close(Verb::Close).await?;
        let (summary, _) = self.rig.fsck();
        same!("objects", summary.objects, self.model.objects.len() as u64);
        same!("uploads", summary.uploads, self.model.uploads.len() as u64);
        same!("tasks", summary.tasks, 0);
        same!("files", summary.files, self.rig.blob_files().len() as u64);
        Ok(())
    }
}

async fn perform(store: &Store, bucket: BucketId, held: &[Held], action: &Action) -> Answer {
    match action {
        Action::Put(put) => store.put(put.request.clone(), put_body(put)).await.map(Reply::Written),
        Action::Copy(copy) => perform_copy(store, bucket, held, copy).await.map(Reply::Written),
        Action::Delete(request) => store.delete(bucket, request.clone()).await.map(Reply::Flag),
        Action::DeleteMany(requests) => {
            let requests: Vec<DeleteRequest> = requests.clone();
            Ok(Reply::Flags(store.delete_many(bucket, requests).await))
        }
        Action::SetTags(key, tags) => {
            store.set_tags(bucket, key, tags.clone()).await.map(|()| Reply::Nothing)
        }
        Action::Head(key) => {
            let head = store.head(bucket, key).await?;
            let open = store.open(bucket, key).await?;
            Ok(Reply::Object(Box::new(Object {
                body: Bytes::from(vec![0; head.size as usize]),
                etag: head.etag,
                version: head.version,
                modified: head.modified,
                checksum: head.checksum,
                headers: head.headers,
                parts: open.parts(),
            })))
        }
        Action::Get(key, range) => {
            let open = store.open(bucket, key).await?;
            read_all(&open, *range).await.map(|bytes| Reply::Bytes(Bytes::from(bytes)))
        }
        Action::Create(request) => store.create_upload(request.clone()).await.map(Reply::Created),
        Action::PutPart(part) => perform_part(store, bucket, part).await,
        Action::Complete(request) => store.complete_upload(request.clone()).await.map(Reply::Written),
        Action::Abort(upload) => store.abort_upload(upload).await.map(|()| Reply::Nothing),
        Action::Upload(upload) => store.upload(upload).await.map(Reply::Upload),
        Action::ListParts(upload, after, max) => {
            let list = store.list_parts(upload, *after, *max).await?;
            Ok(Reply::Parts { upload: list.upload, parts: list.parts, truncated: list.truncated })
        }
        Action::List(request) => {
            let listing = store.list(bucket, request.clone()).await?;
            let entries = listing.entries.into_iter().map(|entry| match entry {
                ListEntry::Object(key, object) => Entry::Key(key, object.version),
                ListEntry::CommonPrefix(text) => Entry::Group(text),
            });
            Ok(Reply::Listing { entries: entries.collect(), next: listing.next })
        }
        Action::ListUploads(request) => {
            let listing = store.list_uploads(bucket, request.clone()).await?;
            let entries = listing.entries.into_iter().map(|entry| match entry {
                UploadEntry::Upload(upload) => Entry::Upload(upload.key, upload.id, upload.initiated),
                UploadEntry::CommonPrefix(text) => Entry::Group(text),
            });
            Ok(Reply::Uploads { entries: entries.collect(), truncated: listing.truncated })
        }
        Action::Expire => store.expire_uploads().await.map(Reply::Count),
    }
}

fn put_body(put: &PutAction) -> Body {
    let body = Body::in_pieces(put.body.clone(), &mut Rng::new(put.pieces)).with_trailer(put.trailer);
    if put.fault == Fault::Broken { body.broken() } else { body }
}

async fn perform_copy(
    store: &Store,
    bucket: BucketId,
    held: &[Held],
    copy: &CopyAction,
) -> Result<Written, StoreError> {
    match &copy.from {
        From::Key(key) => store.copy(&store.open(bucket, key).await?, copy.request.clone()).await,
        From::Held(index, _) => store.copy(&held[*index].open, copy.request.clone()).await,
    }
}

async fn perform_part(store: &Store, bucket: BucketId, part: &PartAction) -> Answer {
    let stored = if let Some((key, range)) = &part.copied_from {
        let source = store.open(bucket, key).await?;
        store.copy_part(&part.upload, part.number, &source, *range).await?
    } else {
        let body = Body::in_pieces(part.body.clone(), &mut Rng::new(part.pieces)).with_trailer(part.trailer);
        let body = if part.fault == Fault::Broken { body.broken() } else { body };
        store.put_part(&part.upload, part.number, part.promised.clone(), body).await?
    };
    Ok(Reply::Part(stored))
}

fn compare_answers(action: &Action, got: &Answer, want: &Answer) -> Checked {
    let what = || format!("{:.1500}", format!("{action:?}"));
    let same = match (got, want) {
        (Err(got), Err(want)) => same_error(got, want),
        (Ok(got), Ok(want)) => same_reply(got, want),
        _ => false,
    };
    if same {
        return Ok(());
    }
    Err(format!("{}\n  the store: {:.3000}\n  the model: {:.3000}", what(), show(got), show(want)))
}

fn show(answer: &Answer) -> String {
    match answer {
        Ok(Reply::Bytes(bytes)) => format!("{} bytes, MD5 {:x?}", bytes.len(), crate::rig::md5_of(bytes)),
        Ok(Reply::Object(object)) => {
            let Object { body, etag, version, modified, checksum, headers, parts } = &**object;
            let size = body.len();
            format!("{size} bytes, {etag} {version:?} {modified:?} {checksum:?} {headers:?} {parts:?}")
        }
        other => format!("{other:?}"),
    }
}

fn same_error(got: &StoreError, want: &StoreError) -> bool {
    use StoreError as E;
    match (got, want) {
        // How far a body had come, and words, are nobody's promise.
        (E::SizeMismatch { promised: a, .. }, E::SizeMismatch { promised: b, .. }) => a == b,
        (E::TooLarge { max: a, .. }, E::TooLarge { max: b, .. }) => a == b,
        (E::InvalidRequest(_), E::InvalidRequest(_)) | (E::Source(_), E::Source(_)) => true,
        _ => format!("{got:?}") == format!("{want:?}"),
    }
}

fn same_reply(got: &Reply, want: &Reply) -> bool {
    match (got, want) {
        (Reply::Written(got), Reply::Written(want)) => same_written(got, want),
        (Reply::Created(_), Reply::Created(_)) => true,
        (Reply::Object(got), Reply::Object(want)) => {
            let facts =
                |o: &Object| (o.body.len(), o.etag, o.version, o.modified, o.checksum, o.headers.clone());
            facts(got) == facts(want) && format!("{:?}", got.parts) == format!("{:?}", want.parts)
        }
        (Reply::Bytes(got), Reply::Bytes(want)) => got == want,
        (Reply::Listing { entries: a, next: b }, Reply::Listing { entries: c, next: d }) => a == c && b == d,
        (Reply::Uploads { entries: a, truncated: b }, Reply::Uploads { entries: c, truncated: d }) => {
            a == c && b == d
        }
        (Reply::Nothing, Reply::Nothing) => true,
        (Reply::Flag(got), Reply::Flag(want)) => got == want,
        (Reply::Count(got), Reply::Count(want)) => got == want,
        (Reply::Flags(got), Reply::Flags(want)) => as_text(got) == as_text(want),
        (Reply::Part(got), Reply::Part(want)) => as_text(got) == as_text(want),
        (Reply::Upload(got), Reply::Upload(want)) => as_text(got) == as_text(want),
        (
            Reply::Parts { upload: a, parts: b, truncated: c },
            Reply::Parts { upload: d, parts: e, truncated: f },
        ) => as_text(&(a, b)) == as_text(&(d, e)) && c == f,
        _ => false,
    }
}

/// The store's answers have no equality, but a text that says all of them.
fn as_text(answer: &impl std::fmt::Debug) -> String {
    format!("{answer:?}")
}

/// The model does not know the version of what was just written.
fn same_written(got: &Written, want: &Written) -> bool {
    let facts = |w: &Written| (w.etag, w.modified, w.size, w.checksum);
    facts(got) == facts(want) && (want.version == Version(0) || got.version == want.version)
}

/// Runs a list; says at which operation it differs, and how.
pub fn run(durability: Durability, quota: Option<u64>, ops: &[Op]) -> Result<(), (usize, Difference)> {
    crate::rig::runtime().block_on(async {
        let mut runner = Runner::new(durability, quota);
        for (index, op) in ops.iter().enumerate() {
            runner.step(*op).await.map_err(|why| (index, why))?;
        }
        runner.finish().await.map_err(|why| (ops.len(), why))
    })
}

/// Leaves out what is not needed to fail, as long as the time lasts.
pub fn shrink(durability: Durability, quota: Option<u64>, ops: &[Op], time: Duration) -> Vec<Op> {
    let begun = Instant::now();
    let mut ops = ops.to_vec();
    let mut chunk = ops.len() / 2;
    while chunk > 0 && begun.elapsed() < time {
        let mut at = 0;
        while at < ops.len() && begun.elapsed() < time {
            let without: Vec<Op> = ops
                .iter()
                .enumerate()
                .filter(|(i, _)| !(at..at + chunk).contains(i))
                .map(|(_, op)| *op)
                .collect();
            match run(durability, quota, &without) {
                Err((last, _)) => {
                    ops = without;
                    ops.truncate(last + 1);
                }
                Ok(()) => at += chunk,
            }
        }
        chunk /= 2;
    }
    ops
}
