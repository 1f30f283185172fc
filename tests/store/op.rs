//! What a run does: numbers drawn once, so that a list of operations can be cut and run again, and
//! what they mean for the state that they meet.

use bytes::Bytes;
use std::time::Duration;
use store::{
    CompleteUpload, CopyRequest, CreateUpload, DeleteRequest, ListRequest, ListStart, ListUploadsRequest,
    NamedPart, Promised, PutRequest, StoreError, UploadRef,
};
use testkit::Rng;
use types::checksum::Hasher;
use types::condition::ETagMatch;
use types::{
    Algorithm, BucketId, ByteRange, Checksum, ChecksumKind, ETag, Key, ObjectHeaders, Tags, UploadId,
    WriteConditions,
};

use crate::model::{Model, Object};
use crate::rig::{MAX_OBJECT_BYTES, content, key};

/// Keys that lie close to each other, and some that are odd.
const KEYS: &[&str] = &[
    "a",
    "a/",
    "a//b",
    "a/b",
    "a/b/c",
    "a/c",
    "a\0",
    "a\0b",
    "a b",
    "ab",
    "b",
    "b/ü",
    "b/\u{10ffff}",
    "b/x/y",
    "c--d--e",
    "c--d",
    "c-",
    "日本/語",
    "日本/",
    "日",
    "../x",
    "./x",
    "z%2F",
    "z+",
    "\u{7f}",
    "\0",
    "\u{10ffff}",
];
const TEXTS: &[&str] = &[
    "",
    "",
    "",
    "a",
    "a/",
    "a/b",
    "a//",
    "b/",
    "c--",
    "c-",
    "日",
    "日本",
    "z",
    "zz",
    "\0",
    "a\0",
    "\u{10ffff}",
    "a/b/",
];
const DELIMITERS: &[&str] = &["", "/", "/", "/", "--", "b", "本", "a/", "\0", "not there"];

const KIB: u64 = 1 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Put,
    Copy,
    CopyHeld,
    Delete,
    DeleteMany,
    SetTags,
    Head,
    Get,
    Create,
    PutPart,
    CopyPart,
    Complete,
    CompleteAgain,
    Abort,
    Upload,
    ListParts,
    List,
    ListUploads,
    Expire,
    /// Keeps a reader open.
    Hold,
    ReadHeld,
    DropHeld,
    Cleanup,
    /// A write whose caller goes away.
    Interrupted,
    Close,
    /// The process dies.
    Crash,
    CrashImage,
}

const WEIGHTS: &[(Verb, u64)] = &[
    (Verb::Put, 260),
    (Verb::Copy, 70),
    (Verb::CopyHeld, 20),
    (Verb::Delete, 80),
    (Verb::DeleteMany, 15),
    (Verb::SetTags, 30),
    (Verb::Head, 40),
    (Verb::Get, 90),
    (Verb::Create, 40),
    (Verb::PutPart, 90),
    (Verb::CopyPart, 15),
    (Verb::Complete, 45),
    (Verb::CompleteAgain, 10),
    (Verb::Abort, 8),
    (Verb::Upload, 10),
    (Verb::ListParts, 20),
    (Verb::List, 120),
    (Verb::ListUploads, 50),
    (Verb::Expire, 4),
    (Verb::Hold, 25),
    (Verb::ReadHeld, 30),
    (Verb::DropHeld, 15),
    (Verb::Cleanup, 25),
    (Verb::Interrupted, 6),
    (Verb::Close, 2),
    (Verb::Crash, 3),
    (Verb::CrashImage, 2),
];

#[derive(Clone, Copy)]
pub struct Op {
    pub verb: Verb,
    /// Everything else that is left to chance comes from here.
    pub draw: u64,
}

/// As it can be pasted into a test.
impl std::fmt::Debug for Op {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Op {{ verb: Verb::{:?}, draw: {} }}", self.verb, self.draw)
    }
}

pub fn draw(rng: &mut Rng) -> Op {
    let total = WEIGHTS.iter().map(|(_, weight)| weight).sum();
    let mut at = rng.below(total);
    let found = WEIGHTS.iter().find(|(_, weight)| {
        let here = at < *weight;
        at = at.saturating_sub(*weight);
        here
    });
    Op { verb: found.map_or(Verb::Put, |(verb, _)| *verb), draw: rng.next() }
}

/// Time that goes by between two operations.
pub fn pause(rng: &mut Rng) -> Duration {
    Duration::from_millis(if rng.chance(1) { 900_000 } else { rng.below(30_000) })
}

#[derive(Debug, Clone)]
pub enum Action {
    Put(PutAction),
    Copy(CopyAction),
    Delete(DeleteRequest),
    DeleteMany(Vec<DeleteRequest>),
    SetTags(Key, Tags),
    Head(Key),
    Get(Key, ByteRange),
    Create(CreateUpload),
    PutPart(PartAction),
    Complete(CompleteUpload),
    Abort(UploadRef),
    Upload(UploadRef),
    ListParts(UploadRef, u16, usize),
    List(ListRequest),
    ListUploads(ListUploadsRequest),
    Expire,
}

#[derive(Debug, Clone)]
pub struct PutAction {
    pub request: PutRequest,
    pub body: Bytes,
    pub algorithm: Option<Algorithm>,
    pub fault: Fault,
    pub trailer: Option<Checksum>,
    /// How the body is cut.
    pub pieces: u64,
}

#[derive(Debug, Clone)]
pub struct PartAction {
    pub upload: UploadRef,
    pub number: u16,
    pub body: Bytes,
    pub copied_from: Option<(Key, ByteRange)>,
    pub algorithm: Option<Algorithm>,
    pub promised: Promised,
    pub fault: Fault,
    pub trailer: Option<Checksum>,
    pub pieces: u64,
}

#[derive(Debug, Clone)]
pub struct CopyAction {
    pub from: From,
    pub request: CopyRequest,
}

#[derive(Debug, Clone)]
pub enum From {
    Key(Key),
    /// A reader that is open, with what it reads.
    Held(usize, Box<Object>),
}

/// What is wrong with a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    WrongSize,
    Broken,
    Md5,
    Sha256,
    Checksum,
    Trailer,
}

impl Fault {
    pub fn error(self, body: &Bytes, promised: &Promised, algorithm: Algorithm) -> Result<(), StoreError> {
        use store::DigestMismatch::{Checksum, ContentMd5, PayloadSha256};
        Err(match self {
            Self::None => return Ok(()),
            Self::WrongSize => StoreError::SizeMismatch {
                promised: promised.size.unwrap_or_default(),
                got: body.len() as u64,
            },
            Self::Broken => StoreError::Source("the client hung up".into()),
            Self::Md5 => StoreError::Digest(ContentMd5 { computed: crate::rig::md5_of(body) }),
            Self::Sha256 => StoreError::Digest(PayloadSha256 { computed: sha256(body) }),
            Self::Checksum | Self::Trailer => StoreError::Digest(Checksum(algorithm)),
        })
    }
}

fn sha256(body: &[u8]) -> [u8; 32] {
    checksum(Algorithm::Sha256, body).bytes().try_into().expect("32 bytes")
}

fn checksum(algorithm: Algorithm, body: &[u8]) -> Checksum {
    let mut hasher = Hasher::new(algorithm);
    hasher.update(body);
    hasher.finish()
}

fn wrong(sum: Checksum) -> Checksum {
    let bytes: Vec<u8> = sum.bytes().iter().map(|byte| !byte).collect();
    Checksum::new(sum.algorithm(), &bytes).expect("the same length")
}

/// Chance and state together.
pub struct Resolver<'a> {
    pub rng: Rng,
    pub bucket: BucketId,
    pub model: &'a Model,
    pub held: &'a [Object],
}

impl Resolver<'_> {
    /// `None`: the verb is no single call of the store.
    pub fn action(&mut self, verb: Verb) -> Option<Action> {
        Some(match verb {
            Verb::Put => self.put(),
            Verb::Copy => self.copy(),
            Verb::CopyHeld => self.copy_held()?,
            Verb::Delete => Action::Delete(self.delete()),
            Verb::DeleteMany => {
                Action::DeleteMany((0..self.rng.between(1, 12)).map(|_| self.delete()).collect())
            }
            Verb::SetTags => Action::SetTags(self.present_key(), self.tags()),
            Verb::Head => Action::Head(self.present_key()),
            Verb::Get => self.get(),
            Verb::Create => self.create(),
            Verb::PutPart => self.put_part(),
            Verb::CopyPart => self.copy_part(),
            Verb::Complete => self.complete(),
            Verb::CompleteAgain => self.complete_again()?,
            Verb::Abort => Action::Abort(self.upload()),
            Verb::Upload => Action::Upload(self.upload()),
            Verb::ListParts => self.list_parts(),
            Verb::List => self.list(),
            Verb::ListUploads => self.list_uploads(),
            Verb::Expire => Action::Expire,
            Verb::Interrupted => {
                let verbs = [
                    Verb::Put,
                    Verb::Put,
                    Verb::Copy,
                    Verb::Delete,
                    Verb::SetTags,
                    Verb::PutPart,
                    Verb::Complete,
                    Verb::Abort,
                ];
                let verb = *self.rng.pick(&verbs);
                return self.action(verb);
            }
            _ => return None,
        })
    }

    fn any_key(&mut self) -> Key {
        if self.rng.chance(1) {
            return key(&"k".repeat(types::MAX_KEY_BYTES));
        }
        key(self.rng.pick::<&str>(KEYS))
    }

    /// Mostly one that holds an object.
    pub fn present_key(&mut self) -> Key {
        let present: Vec<Key> = self.model.objects.keys().cloned().collect();
        if present.is_empty() || self.rng.chance(10) {
            return self.any_key();
        }
        self.rng.pick(&present).clone()
    }

    /// Around every size at which something else begins.
    fn size(&mut self) -> u64 {
        let near = |rng: &mut Rng, size: u64| (size + rng.below(3)).saturating_sub(1);
        match self.rng.below(100) {
            0..4 => 0,
            4..50 => self.rng.between(1, 3000),
            50..62 => near(&mut self.rng, 16 * KIB),
            62..80 => {
                let chunks = self.rng.between(1, 5);
                near(&mut self.rng, chunks * 128 * KIB)
            }
            80..96 => self.rng.between(20 * KIB, 700 * KIB),
            96..99 => self.rng.between(1 << 20, 3 << 20),
            _ => near(&mut self.rng, MAX_OBJECT_BYTES),
        }
    }

    fn conditions(&mut self, key: &Key) -> WriteConditions {
        let if_match = match self.rng.below(20) {
            0 => Some(ETagMatch::Any),
            1 | 2 => Some(ETagMatch::OneOf(self.etags_of(key))),
            3 => Some(ETagMatch::OneOf(vec![ETag::single([7; 16])])),
            _ => None,
        };
        WriteConditions { if_match, if_absent: self.rng.chance(10) }
    }

    fn etags_of(&mut self, key: &Key) -> Vec<ETag> {
        let current = self.model.objects.get(key).map(|object| object.etag);
        [Some(ETag { md5: [9; 16], parts: Some(2) }), current].into_iter().flatten().collect()
    }

    fn headers(&mut self) -> ObjectHeaders {
        let mut text =
            |percent, text: &str| self.rng.chance(percent).then(|| format!("{text}{}", self.rng.below(10)));
        let mut headers = ObjectHeaders {
            content_type: text(50, "text/"),
            cache_control: text(10, "max-age="),
            content_disposition: text(10, "attachment; filename=ü"),
            content_encoding: text(10, "x-"),
            content_language: text(5, "de-"),
            expires: text(5, "whenever "),
            website_redirect_location: text(5, "/"),
            storage_class: None,
            ..ObjectHeaders::default()
        };
        let pairs = self.rng.below(3);
        headers.user_metadata = (0..pairs).map(|n| (format!("name-{n}"), format!("wert-{n}-ä"))).collect();
        if self.rng.chance(20) {
            headers.tags = self.tags();
        }
        headers
    }

    fn tags(&mut self) -> Tags {
        let count = self.rng.below(4);
        let pairs = (0..count).map(|n| (format!("tag {n}"), self.rng.below(100).to_string())).collect();
        Tags::new(pairs).expect("good tags")
    }

    fn algorithm(&mut self) -> Option<Algorithm> {
        self.rng.chance(30).then(|| *self.rng.pick(&Algorithm::ALL))
    }

    fn body(&mut self, size: u64) -> Bytes {
        content(self.rng.next(), size)
    }

    /// Promises about a body, right or with one fault.
    fn promise(&mut self, body: &Bytes, algorithm: Option<Algorithm>) -> (Promised, Fault, Option<Checksum>) {
        let size = body.len() as u64;
        let sum = checksum(algorithm.unwrap_or(Algorithm::Crc64Nvme), body);
        let mut promised = Promised { size: Some(size), algorithm, ..Promised::default() };
        let mut trailer = None;
        if self.rng.chance(15) {
            promised.size = None;
        }
        if self.rng.chance(15) {
            promised.content_md5 = Some(crate::rig::md5_of(body));
        }
        if self.rng.chance(15) {
            promised.payload_sha256 = Some(sha256(body));
        }
        if algorithm.is_some() && self.rng.chance(50) {
            promised.checksum = Some(sum);
        } else if algorithm.is_some() && self.rng.chance(50) {
            trailer = Some(sum);
        }
        let fault = match self.rng.below(60) {
            0 => Fault::WrongSize,
            // How far it came decides whether the quota or the break is met first.
            1 if promised.size.is_none() && self.model.quota.is_some() => Fault::None,
            1 => Fault::Broken,
            2 => Fault::Md5,
            3 => Fault::Sha256,
            4 if algorithm.is_some() => Fault::Checksum,
            5 if algorithm.is_some() => Fault::Trailer,
            _ => Fault::None,
        };
        match fault {
            Fault::None | Fault::Broken => {}
            Fault::WrongSize if size > 0 && self.rng.chance(50) => promised.size = Some(size - 1),
            Fault::WrongSize => promised.size = Some(size + 1),
            Fault::Md5 => promised.content_md5 = Some([1; 16]),
            Fault::Sha256 => (promised.content_md5, promised.payload_sha256) = (None, Some([1; 32])),
            Fault::Checksum => {
                (promised.content_md5, promised.payload_sha256) = (None, None);
                promised.checksum = Some(wrong(sum));
            }
            Fault::Trailer => {
                (promised.content_md5, promised.payload_sha256) = (None, None);
                trailer = Some(wrong(sum));
            }
        }
        (promised, fault, trailer)
    }

    fn put(&mut self) -> Action {
        let key = self.any_key();
        let size = self.size();
        let (body, algorithm) = (self.body(size), self.algorithm());
        let (promised, fault, trailer) = self.promise(&body, algorithm);
        let (conditions, headers) = (self.conditions(&key), self.headers());
        let request = PutRequest { bucket: self.bucket, key, headers, conditions, promised };
        Action::Put(PutAction { request, body, algorithm, fault, trailer, pieces: self.rng.next() })
    }

    fn copy_request(&mut self) -> CopyRequest {
        let destination = self.any_key();
        let conditions = self.conditions(&destination);
        CopyRequest {
            bucket: self.bucket,
            headers: self.rng.chance(40).then(|| self.headers()),
            tags: self.rng.chance(30).then(|| self.tags()),
            algorithm: self.algorithm(),
            destination,
            conditions,
        }
    }

    fn copy(&mut self) -> Action {
        let from = From::Key(self.present_key());
        Action::Copy(CopyAction { from, request: self.copy_request() })
    }

    fn copy_held(&mut self) -> Option<Action> {
        let index = (self.rng.next() as usize).checked_rem(self.held.len())?;
        let from = From::Held(index, Box::new(self.held.get(index)?.clone()));
        Some(Action::Copy(CopyAction { from, request: self.copy_request() }))
    }

    fn delete(&mut self) -> DeleteRequest {
        let key = self.present_key();
        let if_match = self.conditions(&key).if_match;
        DeleteRequest { key, if_match }
    }

    pub fn range_of(&mut self, size: u64) -> ByteRange {
        if self.rng.chance(40) {
            return ByteRange::whole(size);
        }
        let start = self.rng.below(size + 1);
        let end = if self.rng.chance(30) { (start + 1).min(size) } else { self.rng.between(start, size) };
        ByteRange { start, end }
    }

    fn get(&mut self) -> Action {
        let key = self.present_key();
        let size = self.model.objects.get(&key).map_or(0, |object| object.body.len() as u64);
        let range = self.range_of(size);
        Action::Get(key, range)
    }

    fn create(&mut self) -> Action {
        let (key, headers) = (self.any_key(), self.headers());
        let kinds = [ChecksumKind::FullObject, ChecksumKind::Composite];
        let choice = self.algorithm().map(|algorithm| (algorithm, *self.rng.pick(&kinds)));
        let checksum = choice.filter(|(algorithm, kind)| algorithm.allows(*kind));
        Action::Create(CreateUpload { bucket: self.bucket, key, headers, checksum })
    }

    /// Mostly one that is in progress.
    fn upload(&mut self) -> UploadRef {
        let bucket = self.bucket;
        let known: Vec<_> = self.model.uploads.keys().cloned().collect();
        if known.is_empty() || self.rng.chance(3) {
            let id = UploadId { sequence: self.rng.below(3_000_000), secret: self.rng.next() };
            return UploadRef { bucket, key: self.any_key(), id };
        }
        let (mut key, sequence, mut secret) = self.rng.pick(&known).clone();
        match self.rng.below(60) {
            0 => key = self.any_key(),
            1 => secret ^= 1,
            _ => {}
        }
        UploadRef { bucket, key, id: UploadId { sequence, secret } }
    }

    fn part_algorithm(&mut self, upload: &UploadRef) -> Option<Algorithm> {
        let known = self.model.uploads.get(&crate::model::upload_key(upload));
        match known.and_then(|upload| upload.checksum) {
            Some((algorithm, _)) if self.rng.chance(90) => self.rng.chance(50).then_some(algorithm),
            _ => self.algorithm(),
        }
    }

    fn put_part(&mut self) -> Action {
        let upload = self.upload();
        let number = self.part_number();
        let size = if self.rng.chance(30) { (5 << 20) + self.rng.below(2) } else { self.size() };
        let (body, algorithm) = (self.body(size), self.part_algorithm(&upload));
        let wanted = self.model.uploads.get(&crate::model::upload_key(&upload)).and_then(|u| u.checksum);
        let effective = algorithm.or(wanted.map(|(algorithm, _)| algorithm));
        let (mut promised, fault, trailer) = self.promise(&body, effective);
        if algorithm.is_none() && promised.checksum.is_none() {
            promised.algorithm = None;
        }
        // What the part is promised with decides, whether it was drawn or follows from the upload.
        let algorithm = promised.algorithm.or(promised.checksum.map(|sum| sum.algorithm()));
        let pieces = self.rng.next();
        let copied_from = None;
        Action::PutPart(PartAction {
            upload,
            number,
            body,
            copied_from,
            algorithm,
            promised,
            fault,
            trailer,
            pieces,
        })
    }

    fn copy_part(&mut self) -> Action {
        let (upload, number, key) = (self.upload(), self.part_number(), self.present_key());
        let size = self.model.objects.get(&key).map_or(0, |object| object.body.len() as u64);
        // A face refuses a source that is too large for a part.
        let range = self.range_of(size.min(MAX_OBJECT_BYTES));
        let promised = Promised { size: Some(range.len()), ..Promised::default() };
        Action::PutPart(PartAction {
            upload,
            number,
            body: Bytes::new(),
            copied_from: Some((key, range)),
            algorithm: None,
            promised,
            fault: Fault::None,
            trailer: None,
            pieces: 0,
        })
    }

    fn part_number(&mut self) -> u16 {
        if self.rng.chance(5) { types::MAX_PARTS } else { self.rng.between(1, 4) as u16 }
    }

    fn complete(&mut self) -> Action {
        let upload = self.upload();
        let found = self.model.uploads.get(&crate::model::upload_key(&upload));
        let composite = matches!(found.and_then(|f| f.checksum), Some((_, ChecksumKind::Composite)));
        let mut parts = Vec::new();
        for (number, part) in found.iter().flat_map(|found| &found.parts) {
            if self.rng.chance(75) {
                let checksum = (composite || self.rng.chance(20)).then_some(part.checksum);
                parts.push(NamedPart { number: *number, etag: Some(part.etag), checksum });
            }
        }
        if parts.is_empty() {
            parts.push(NamedPart { number: 1, etag: Some(ETag::single([3; 16])), checksum: None });
        }
        let (mut object_size, mut sum, mut kind) = (None, None, None);
        match self.rng.below(30) {
            0 => parts.reverse(),
            1 => parts.iter_mut().for_each(|part| part.etag = None),
            2 => parts.iter_mut().for_each(|part| part.checksum = part.checksum.map(wrong)),
            3 => parts.iter_mut().for_each(|part| part.checksum = None),
            4 => parts.iter_mut().for_each(|part| part.number += 1),
            5 => object_size = Some(12345),
            6 => sum = found.and_then(|f| f.checksum).map(|(a, _)| wrong(checksum(a, b"x"))),
            7 => kind = Some(ChecksumKind::Composite),
            8 => kind = Some(ChecksumKind::FullObject),
            _ => {}
        }
        let conditions = self.conditions(&upload.key);
        Action::Complete(CompleteUpload { upload, parts, conditions, checksum: sum, kind, object_size })
    }

    fn complete_again(&mut self) -> Option<Action> {
        let (upload, etags) = self.model.finished(self.rng.next() as usize)?;
        let mut etags: Vec<Option<ETag>> = etags.into_iter().map(Some).collect();
        match self.rng.below(5) {
            0 => etags.push(Some(ETag::single([5; 16]))),
            1 => etags.iter_mut().for_each(|etag| *etag = None),
            _ => {}
        }
        let parts = (1..).zip(etags).map(|(number, etag)| NamedPart { number, etag, checksum: None });
        let (conditions, parts) = (WriteConditions::default(), parts.collect());
        Some(Action::Complete(CompleteUpload {
            upload,
            parts,
            conditions,
            checksum: None,
            kind: None,
            object_size: None,
        }))
    }

    fn list_parts(&mut self) -> Action {
        let after = *self.rng.pick(&[0, 0, 1, 2, 9_999, types::MAX_PARTS, u16::MAX]);
        Action::ListParts(self.upload(), after, self.max())
    }

    fn max(&mut self) -> usize {
        *self.rng.pick(&[0, 1, 2, 3, 5, 8, 1000])
    }

    fn text(&mut self) -> String {
        if self.rng.chance(30) {
            self.any_key().as_str().to_owned()
        } else {
            (*self.rng.pick(TEXTS)).to_owned()
        }
    }

    fn delimiter(&mut self) -> Option<String> {
        self.rng.chance(60).then(|| (*self.rng.pick(DELIMITERS)).to_owned())
    }

    fn list(&mut self) -> Action {
        let start = match self.rng.below(4) {
            0 => ListStart::After(self.text()),
            1 => ListStart::AfterGroup(self.text()),
            _ => ListStart::Beginning,
        };
        let (prefix, delimiter, max) = (self.prefix(), self.delimiter(), self.max());
        Action::List(ListRequest { prefix, delimiter, start, max })
    }

    fn prefix(&mut self) -> String {
        (*self.rng.pick(TEXTS)).to_owned()
    }

    fn list_uploads(&mut self) -> Action {
        let mut request = ListUploadsRequest {
            prefix: self.prefix(),
            delimiter: self.delimiter(),
            max: self.max(),
            ..ListUploadsRequest::default()
        };
        match self.rng.below(5) {
            0 => request.key_marker = Some(self.text()),
            1 => {
                let upload = self.upload();
                request.key_marker = Some(upload.key.as_str().to_owned());
                request.id_marker = Some(upload.id);
            }
            2 => request.skip_group = Some(self.text()),
            _ => {}
        }
        Action::ListUploads(request)
    }
}
