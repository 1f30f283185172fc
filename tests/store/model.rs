//! What the store promises, in a few maps: no disk, no concurrency, no crash.

use bytes::Bytes;
use std::collections::BTreeMap;
use store::{
    CompleteUpload, DeleteRequest, DigestMismatch, ListRequest, ListStart, ListUploadsRequest, NamedPart,
    ObjectPart, StoreError, StoredPart, Upload, UploadRef, Written,
};
use types::checksum::{Hasher, composite};
use types::{
    Algorithm, ByteRange, Checksum, ChecksumKind, ETag, Key, MIN_PART_SIZE_BYTES, ObjectHeaders, Tags,
    Timestamp, UploadId, Version, WriteConditions,
};

use crate::op::{Action, CopyAction, Fault, From, PartAction, PutAction};
use crate::rig::{EXPIRY, MAX_OBJECT_BYTES, md5_of, now};

pub type Answer = Result<Reply, StoreError>;

/// What a verb answers, the store's or the model's.
#[derive(Debug)]
pub enum Reply {
    Nothing,
    Flag(bool),
    Count(u64),
    Flags(Vec<Result<bool, StoreError>>),
    Written(Written),
    Object(Box<Object>),
    Bytes(Bytes),
    Created(UploadId),
    Part(StoredPart),
    Parts { upload: Upload, parts: Vec<StoredPart>, truncated: bool },
    Upload(Upload),
    Listing { entries: Vec<Entry>, next: Option<ListStart> },
    Uploads { entries: Vec<Entry>, truncated: bool },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    Key(Key, Version),
    Upload(Key, UploadId, Timestamp),
    Group(String),
}

#[derive(Debug, Clone)]
pub struct Object {
    pub body: Bytes,
    pub etag: ETag,
    /// 0 until the store said which.
    pub version: Version,
    pub modified: Timestamp,
    pub checksum: Option<Checksum>,
    pub headers: ObjectHeaders,
    pub parts: Vec<ObjectPart>,
}

#[derive(Debug, Clone)]
pub struct Part {
    pub body: Bytes,
    pub etag: ETag,
    pub modified: Timestamp,
    pub checksum: Checksum,
}

#[derive(Debug, Clone)]
pub struct Multipart {
    pub initiated: Timestamp,
    pub headers: ObjectHeaders,
    pub checksum: Option<(Algorithm, ChecksumKind)>,
    pub parts: BTreeMap<u16, Part>,
}

#[derive(Debug, Clone)]
struct Finished {
    upload: UploadRef,
    etags: Vec<ETag>,
    written: Written,
}

#[derive(Debug, Clone, Default)]
pub struct Model {
    pub objects: BTreeMap<Key, Object>,
    /// In the order of listings.
    pub uploads: BTreeMap<(Key, u64, u64), Multipart>,
    finished: Vec<Finished>,
    pub quota: Option<u64>,
}

pub fn upload_key(upload: &UploadRef) -> (Key, u64, u64) {
    (upload.key.clone(), upload.id.sequence, upload.id.secret)
}

fn sum(algorithm: Algorithm, bytes: &[u8]) -> Checksum {
    let mut hasher = Hasher::new(algorithm);
    hasher.update(bytes);
    hasher.finish()
}

impl Object {
    fn written(&self) -> Written {
        let (etag, version, modified) = (self.etag, self.version, self.modified);
        Written { etag, version, modified, size: self.body.len() as u64, checksum: self.checksum }
    }
}

impl Part {
    fn stored(&self, number: u16) -> StoredPart {
        let (etag, modified, checksum) = (self.etag, self.modified, Some(self.checksum));
        StoredPart { number, size: self.body.len() as u64, etag, modified, checksum }
    }
}

impl Multipart {
    fn upload(&self, key: &Key, id: UploadId) -> Upload {
        let (initiated, headers, checksum) = (self.initiated, self.headers.clone(), self.checksum);
        Upload { key: key.clone(), id, initiated, headers, checksum }
    }
}

impl Model {
    pub fn new(quota: Option<u64>) -> Self {
        Self { quota, ..Self::default() }
    }

    pub fn apply(&mut self, action: &Action) -> Answer {
        match action {
            Action::Put(put) => self.put(put).map(Reply::Written),
            Action::Copy(copy) => self.copy(copy).map(Reply::Written),
            Action::Delete(request) => self.delete(request).map(Reply::Flag),
            Action::DeleteMany(requests) => {
                Ok(Reply::Flags(requests.iter().map(|request| self.delete(request)).collect()))
            }
            Action::SetTags(key, tags) => self.set_tags(key, tags),
            Action::Head(key) => self.object(key).map(|object| Reply::Object(Box::new(object))),
            Action::Get(key, range) => {
                self.object(key).map(|object| Reply::Bytes(slice(&object.body, *range)))
            }
            Action::Create(request) => {
                let initiated = now();
                let parts = BTreeMap::new();
                let (headers, checksum) = (request.headers.clone(), request.checksum);
                let upload = Multipart { initiated, headers, checksum, parts };
                self.uploads.insert((request.key.clone(), 0, 0), upload);
                Ok(Reply::Created(UploadId { sequence: 0, secret: 0 }))
            }
            Action::PutPart(part) => self.put_part(part).map(Reply::Part),
            Action::Complete(request) => self.complete(request).map(Reply::Written),
            Action::Abort(upload) => self
                .uploads
                .remove(&upload_key(upload))
                .map(|_| Reply::Nothing)
                .ok_or(StoreError::NoSuchUpload),
            Action::Upload(upload) => {
                self.multipart(upload).map(|found| Reply::Upload(found.upload(&upload.key, upload.id)))
            }
            Action::ListParts(upload, after, max) => self.list_parts(upload, *after, *max),
            Action::List(request) => Ok(self.list(request)),
            Action::ListUploads(request) => Ok(self.list_uploads(request)),
            Action::Expire => Ok(Reply::Count(self.expire())),
        }
    }

    /// Takes over what only the store can know: version numbers and upload ids.
    pub fn learn(&mut self, action: &Action, reply: &Reply) {
        match (action, reply) {
            (Action::Put(PutAction { request, .. }), Reply::Written(written)) => {
                self.learn_version(&request.key, written.version);
            }
            (Action::Copy(copy), Reply::Written(written)) => {
                self.learn_version(&copy.request.destination, written.version);
            }
            (Action::Complete(request), Reply::Written(written)) => {
                self.learn_version(&request.upload.key, written.version);
                self.finished.iter_mut().filter(|note| note.written.version == Version(0)).for_each(|note| {
                    note.written.version = written.version;
                });
            }
            (Action::Create(request), Reply::Created(id)) => {
                if let Some(upload) = self.uploads.remove(&(request.key.clone(), 0, 0)) {
                    self.uploads.insert((request.key.clone(), id.sequence, id.secret), upload);
                }
            }
            _ => {}
        }
    }

    fn learn_version(&mut self, key: &Key, version: Version) {
        if let Some(object) = self.objects.get_mut(key).filter(|object| object.version == Version(0)) {
            object.version = version;
        }
    }

    /// Versions that a crash hid are taken over from the store.
    pub fn learn_hidden(&mut self, key: &Key, version: Version) {
        self.learn_version(key, version);
        self.finished
            .iter_mut()
            .filter(|note| note.written.version == Version(0) && note.upload.key == *key)
            .for_each(|note| note.written.version = version);
    }

    pub fn object(&self, key: &Key) -> Result<Object, StoreError> {
        self.objects.get(key).cloned().ok_or(StoreError::NoSuchKey)
    }

    fn multipart(&self, upload: &UploadRef) -> Result<&Multipart, StoreError> {
        self.uploads.get(&upload_key(upload)).ok_or(StoreError::NoSuchUpload)
    }

    pub fn bytes(&self) -> u64 {
        let objects = self.objects.values().map(|object| object.body.len());
        let parts =
            self.uploads.values().flat_map(|upload| upload.parts.values().map(|part| part.body.len()));
        objects.chain(parts).map(|len| len as u64).sum()
    }

    fn check(&self, key: &Key, conditions: &WriteConditions) -> Result<(), StoreError> {
        conditions.check(self.objects.get(key).map(|object| &object.etag)).map_err(StoreError::Refused)
    }

    fn check_quota(&self, grows_by: u64) -> Result<(), StoreError> {
        match self.quota {
            Some(quota) if grows_by > 0 && self.bytes() + grows_by > quota => Err(StoreError::QuotaExceeded),
            _ => Ok(()),
        }
    }

    fn check_growth(&self, key: &Key, size: u64) -> Result<(), StoreError> {
        let before = self.objects.get(key).map_or(0, |object| object.body.len() as u64);
        self.check_quota(size.saturating_sub(before))
    }

    fn write(&mut self, key: &Key, object: Object) -> Written {
        let written = object.written();
        self.objects.insert(key.clone(), object);
        written
    }

    fn put(&mut self, put: &PutAction) -> Result<Written, StoreError> {
        let PutAction { request, body, fault, .. } = put;
        let size = body.len() as u64;
        if request.promised.size.is_some_and(|size| size > MAX_OBJECT_BYTES) {
            return Err(StoreError::TooLarge { size, max: MAX_OBJECT_BYTES });
        }
        self.check(&request.key, &request.conditions)?;
        self.check_growth(&request.key, request.promised.size.unwrap_or(size))?;
        check_unannounced(request.promised.size, size, *fault)?;
        let algorithm = put.algorithm.unwrap_or(Algorithm::Crc64Nvme);
        fault.error(body, &request.promised, algorithm)?;
        let object = Object {
            body: body.clone(),
            etag: ETag::single(md5_of(body)),
            version: Version(0),
            modified: now(),
            checksum: Some(sum(algorithm, body)),
            headers: request.headers.clone(),
            parts: Vec::new(),
        };
        Ok(self.write(&request.key, object))
    }

    fn copy(&mut self, copy: &CopyAction) -> Result<Written, StoreError> {
        let mut object = match &copy.from {
            From::Key(key) => self.object(key)?,
            From::Held(_, object) => Object::clone(object),
        };
        let request = &copy.request;
        if let Some(algorithm) =
            request.algorithm.filter(|a| Some(*a) != object.checksum.map(|c| c.algorithm()))
        {
            object.checksum = Some(sum(algorithm, &object.body));
        }
        if let Some(headers) = &request.headers {
            object.headers = headers.clone();
        }
        if let Some(tags) = &request.tags {
            object.headers.tags = tags.clone();
        }
        self.check_growth(&request.destination, object.body.len() as u64)?;
        self.check(&request.destination, &request.conditions)?;
        (object.version, object.modified) = (Version(0), now());
        Ok(self.write(&request.destination, object))
    }

    fn delete(&mut self, request: &DeleteRequest) -> Result<bool, StoreError> {
        let conditions = WriteConditions { if_match: request.if_match.clone(), if_absent: false };
        self.check(&request.key, &conditions)?;
        Ok(self.objects.remove(&request.key).is_some())
    }

    fn set_tags(&mut self, key: &Key, tags: &Tags) -> Answer {
        let object = self.objects.get_mut(key).ok_or(StoreError::NoSuchKey)?;
        object.headers.tags = tags.clone();
        Ok(Reply::Nothing)
    }

    fn put_part(&mut self, action: &PartAction) -> Result<StoredPart, StoreError> {
        let body = match &action.copied_from {
            Some((key, range)) => slice(&self.object(key)?.body, *range),
            None => action.body.clone(),
        };
        let upload = self.multipart(&action.upload)?;
        let wanted = upload.checksum.map(|(algorithm, _)| algorithm);
        if let (Some(wanted), Some(given)) = (wanted, action.algorithm)
            && wanted != given
        {
            return Err(StoreError::InvalidRequest("another algorithm".to_owned()));
        }
        if action.promised.size.is_some_and(|size| size > MAX_OBJECT_BYTES) {
            return Err(StoreError::TooLarge { size: body.len() as u64, max: MAX_OBJECT_BYTES });
        }
        self.check_quota(action.promised.size.unwrap_or(body.len() as u64))?;
        check_unannounced(action.promised.size, body.len() as u64, action.fault)?;
        let algorithm = action.algorithm.or(wanted).unwrap_or(Algorithm::Crc64Nvme);
        action.fault.error(&body, &action.promised, algorithm)?;
        let part = Part {
            etag: ETag::single(md5_of(&body)),
            modified: now(),
            checksum: sum(algorithm, &body),
            body,
        };
        let stored = part.stored(action.number);
        if let Some(upload) = self.uploads.get_mut(&upload_key(&action.upload)) {
            upload.parts.insert(action.number, part);
        }
        Ok(stored)
    }

    fn complete(&mut self, request: &CompleteUpload) -> Result<Written, StoreError> {
        let Ok(upload) = self.multipart(&request.upload) else { return self.complete_again(request) };
        let chosen = choose(upload, &request.parts)?;
        let body =
            Bytes::from(chosen.iter().flat_map(|(_, part)| part.body.iter().copied()).collect::<Vec<u8>>());
        if request.object_size.is_some_and(|size| size != body.len() as u64) {
            return Err(StoreError::InvalidRequest("another size".to_owned()));
        }
        let checksum = whole_checksum(upload, &chosen, &body, request)?;
        self.check(&request.upload.key, &request.conditions)?;
        let etags: Vec<ETag> = chosen.iter().map(|(_, part)| part.etag).collect();
        let digests: Vec<u8> = etags.iter().flat_map(|etag| etag.md5).collect();
        let parts = chosen.iter().map(|(number, part)| ObjectPart {
            number: *number,
            size: part.body.len() as u64,
            checksum: Some(part.checksum),
        });
        let object = Object {
            etag: ETag { md5: md5_of(&digests), parts: Some(chosen.len() as u16) },
            version: Version(0),
            modified: now(),
            checksum,
            headers: upload.headers.clone(),
            parts: parts.collect(),
            body,
        };
        self.uploads.remove(&upload_key(&request.upload));
        let written = self.write(&request.upload.key, object);
        let note = Finished { upload: request.upload.clone(), etags, written: written.clone() };
        self.finished.push(note);
        Ok(written)
    }

    fn complete_again(&self, request: &CompleteUpload) -> Result<Written, StoreError> {
        let asked: Option<Vec<ETag>> = request.parts.iter().map(|part| part.etag).collect();
        let known = |note: &&Finished| {
            upload_key(&note.upload) == upload_key(&request.upload) && Some(&note.etags) == asked.as_ref()
        };
        self.finished.iter().find(known).map(|note| note.written.clone()).ok_or(StoreError::NoSuchUpload)
    }

    /// An upload that was finished, and the parts that it was finished with.
    pub fn finished(&self, index: usize) -> Option<(UploadRef, Vec<ETag>)> {
        let note = self.finished.get(index.checked_rem(self.finished.len())?)?;
        Some((note.upload.clone(), note.etags.clone()))
    }

    fn list_parts(&self, upload: &UploadRef, after: u16, max: usize) -> Answer {
        let found = self.multipart(upload)?;
        let behind: Vec<_> = found.parts.iter().filter(|(number, _)| **number > after).collect();
        let parts = behind.iter().take(max).map(|(number, part)| part.stored(**number)).collect();
        let truncated = behind.len() > max;
        Ok(Reply::Parts { upload: found.upload(&upload.key, upload.id), parts, truncated })
    }

    fn list(&self, request: &ListRequest) -> Reply {
        let keys = self.objects.iter().filter(|(key, _)| match &request.start {
            ListStart::Beginning => true,
            ListStart::After(text) => key.as_str() > text.as_str(),
            ListStart::AfterGroup(text) => key.as_str() > text.as_str() && !key.as_str().starts_with(text),
        });
        let entries = keys.map(|(key, object)| (key, Entry::Key(key.clone(), object.version)));
        let all = grouped(entries, &request.prefix, request.delimiter.as_deref());
        let page: Vec<Entry> = all.iter().take(request.max).cloned().collect();
        let next = page.last().filter(|_| all.len() > page.len()).map(|last| match last {
            Entry::Key(key, _) | Entry::Upload(key, ..) => ListStart::After(key.as_str().to_owned()),
            Entry::Group(text) => ListStart::AfterGroup(text.clone()),
        });
        Reply::Listing { entries: page, next }
    }

    fn list_uploads(&self, request: &ListUploadsRequest) -> Reply {
        let marker = request.key_marker.as_deref().filter(|marker| !marker.is_empty());
        let behind = |key: &Key, id: UploadId| match (&request.skip_group, marker, request.id_marker) {
            (Some(group), ..) => key.as_str() > group.as_str() && !key.as_str().starts_with(group),
            (None, None, _) => true,
            (None, Some(marker), None) => key.as_str() > marker,
            (None, Some(marker), Some(after)) => (key.as_str(), id) > (marker, after),
        };
        let entries = self.uploads.iter().filter_map(|((key, sequence, secret), upload)| {
            let id = UploadId { sequence: *sequence, secret: *secret };
            behind(key, id).then(|| (key, Entry::Upload(key.clone(), id, upload.initiated)))
        });
        let all = grouped(entries, &request.prefix, request.delimiter.as_deref());
        let page: Vec<Entry> = all.iter().take(request.max).cloned().collect();
        let truncated = all.len() > page.len();
        Reply::Uploads { entries: page, truncated }
    }

    fn expire(&mut self) -> u64 {
        let until = now().saturating_sub_ms(EXPIRY.as_millis() as u64);
        self.finished.retain(|note| note.written.modified > until);
        let before = self.uploads.len();
        self.uploads.retain(|_, upload| {
            let parts = upload.parts.values().map(|part| part.modified);
            parts.chain([upload.initiated]).max().is_some_and(|active| active > until)
        });
        (before - self.uploads.len()) as u64
    }
}

/// A body of unknown length is found too large only when it has come that far.
fn check_unannounced(promised: Option<u64>, size: u64, fault: Fault) -> Result<(), StoreError> {
    match promised {
        None if size > MAX_OBJECT_BYTES && fault != Fault::Broken => {
            Err(StoreError::TooLarge { size, max: MAX_OBJECT_BYTES })
        }
        _ => Ok(()),
    }
}

pub fn slice(body: &Bytes, range: ByteRange) -> Bytes {
    body.slice(range.start as usize..range.end as usize)
}

/// Entries in order, those with the delimiter behind the prefix as one group each.
fn grouped<'a>(
    entries: impl Iterator<Item = (&'a Key, Entry)>,
    prefix: &str,
    delimiter: Option<&str>,
) -> Vec<Entry> {
    let mut all = Vec::new();
    for (key, entry) in entries {
        let Some(rest) = key.as_str().strip_prefix(prefix) else { continue };
        let cut = delimiter.filter(|d| !d.is_empty()).and_then(|d| Some(rest.find(d)? + d.len()));
        let entry = match cut {
            Some(cut) => Entry::Group(format!("{prefix}{}", &rest[..cut])),
            None => entry,
        };
        if all.last() != Some(&entry) {
            all.push(entry);
        }
    }
    all
}

type Chosen = Vec<(u16, Part)>;

fn choose(upload: &Multipart, named: &[NamedPart]) -> Result<Chosen, StoreError> {
    let mut chosen: Chosen = Vec::new();
    for (index, name) in named.iter().enumerate() {
        let number = name.number;
        if chosen.last().is_some_and(|(before, _)| *before >= number) {
            return Err(StoreError::InvalidPartOrder);
        }
        let part = upload.parts.get(&number).ok_or(StoreError::InvalidPart { number })?;
        if name.etag != Some(part.etag) || name.checksum.is_some_and(|sum| sum != part.checksum) {
            return Err(StoreError::InvalidPart { number });
        }
        if matches!(upload.checksum, Some((_, ChecksumKind::Composite))) && name.checksum.is_none() {
            return Err(StoreError::InvalidRequest("a checksum for each part".to_owned()));
        }
        let size = part.body.len() as u64;
        if index + 1 < named.len() && size < MIN_PART_SIZE_BYTES {
            return Err(StoreError::PartTooSmall { number, size, min: MIN_PART_SIZE_BYTES });
        }
        chosen.push((number, part.clone()));
    }
    Ok(chosen)
}

fn whole_checksum(
    upload: &Multipart,
    chosen: &Chosen,
    body: &[u8],
    request: &CompleteUpload,
) -> Result<Option<Checksum>, StoreError> {
    let kind = upload.checksum.map_or(ChecksumKind::FullObject, |(_, kind)| kind);
    if upload.checksum.is_some() && request.kind.is_some_and(|given| given != kind) {
        return Err(StoreError::InvalidRequest("another kind".to_owned()));
    }
    let sums: Vec<Checksum> = chosen.iter().map(|(_, part)| part.checksum).collect();
    let Some(algorithm) = sums.first().map(Checksum::algorithm) else { return Ok(None) };
    let one_algorithm = sums.iter().all(|sum| sum.algorithm() == algorithm);
    let is_crc = !matches!(algorithm, Algorithm::Sha1 | Algorithm::Sha256);
    let whole = match kind {
        ChecksumKind::Composite => composite(algorithm, &sums),
        ChecksumKind::FullObject if one_algorithm && (is_crc || sums.len() == 1) => {
            Some(sum(algorithm, body))
        }
        ChecksumKind::FullObject => None,
    };
    match (request.checksum.filter(|_| upload.checksum.is_some()), whole) {
        (Some(promised), Some(whole)) if promised.bytes() != whole.bytes() => {
            Err(StoreError::Digest(DigestMismatch::Checksum(promised.algorithm())))
        }
        _ => Ok(whole),
    }
}
