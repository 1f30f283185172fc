//! What callers hand to the door, and what they get back.

use bytes::Bytes;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use types::condition::ETagMatch;
use types::{
    Algorithm, BucketId, Checksum, ChecksumKind, ETag, Key, ObjectHeaders, Timestamp, UploadId, Version,
    WriteConditions,
};

use crate::error::SourceError;

/// A place for replicas, as the configuration names it.
#[derive(Debug, Clone)]
pub struct BackendOptions {
    /// Ties the records to it for ever.
    pub name: String,
    pub source: BackendSource,
    pub quota: Option<u64>,
    pub monthly: MonthlyLimits,
    /// Objects have names there that people can read.
    pub readable: bool,
    /// How fast copies may flow there and from there; clients are not held up by it.
    pub copy_bytes_per_second: Option<u64>,
    /// How often work that no client waits for may call it.
    pub copy_calls_per_second: Option<u64>,
    /// Of a provider: what it knows the node by from now on.
    pub signing: Option<backend::Signing>,
}

#[derive(Debug, Clone)]
pub enum BackendSource {
    /// In the data directory.
    Embedded,
    Other(Opener),
}

/// Opens a backend, knowing what the records say of it.
#[derive(Clone)]
pub struct Opener(pub Arc<dyn Fn(&Before) -> Result<Arc<dyn backend::Backend>, String> + Send + Sync>);

/// What the records know before a backend is opened.
#[derive(Debug, Clone)]
pub struct Before {
    /// Which node this is.
    pub node: String,
    /// A backend of this name was opened before.
    pub used: bool,
}

/// What a backend may be asked for in a month (UTC).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MonthlyLimits {
    pub calls: Option<u64>,
    pub ingress_bytes: Option<u64>,
    pub egress_bytes: Option<u64>,
}

impl BackendOptions {
    pub fn embedded(name: &str) -> Self {
        Self::of(name, BackendSource::Embedded)
    }

    /// One that is open already.
    pub fn opened(name: &str, backend: Arc<dyn backend::Backend>) -> Self {
        let open = move |_: &Before| Ok(Arc::clone(&backend));
        Self::of(name, BackendSource::Other(Opener(Arc::new(open))))
    }

    pub fn of(name: &str, source: BackendSource) -> Self {
        Self {
            name: name.to_owned(),
            source,
            quota: None,
            monthly: MonthlyLimits::default(),
            readable: true,
            copy_bytes_per_second: None,
            copy_calls_per_second: None,
            signing: None,
        }
    }

    pub fn with_quota(mut self, quota: Option<u64>) -> Self {
        self.quota = quota;
        self
    }

    pub fn is_embedded(&self) -> bool {
        matches!(self.source, BackendSource::Embedded)
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opener")
    }
}

/// A body on its way in.
pub trait Source: Send {
    /// The next piece. `None` is the end, and means that the face has verified all that it can
    /// verify itself: framing, chunk signatures, trailer signature, decoded length.
    fn next(&mut self) -> impl Future<Output = Result<Option<Bytes>, SourceError>> + Send;

    /// Asked after the end: a checksum that came behind the body.
    fn trailer(&self) -> Option<Checksum> {
        None
    }
}

/// What the client says of a body, to be verified before anything becomes visible.
#[derive(Debug, Clone, Default)]
pub struct Promised {
    /// Bytes of content; `None` only where the transport cannot tell.
    pub size: Option<u64>,
    pub content_md5: Option<[u8; 16]>,
    pub payload_sha256: Option<[u8; 32]>,
    /// Which checksum to compute and keep; `None` is CRC64NVME, as on AWS.
    pub algorithm: Option<Algorithm>,
    /// Its value, where it came before the body. One that comes behind it is in `Source::trailer`.
    pub checksum: Option<Checksum>,
}

#[derive(Debug, Clone)]
pub struct PutRequest {
    pub bucket: BucketId,
    pub key: Key,
    pub headers: ObjectHeaders,
    pub conditions: WriteConditions,
    pub promised: Promised,
}

/// What a write left behind.
#[derive(Debug, Clone)]
pub struct Written {
    pub etag: ETag,
    pub version: Version,
    pub modified: Timestamp,
    pub size: u64,
    pub checksum: Option<Checksum>,
}

#[derive(Debug, Clone)]
pub struct CopyRequest {
    pub bucket: BucketId,
    pub destination: Key,
    /// `None` keeps the source's headers (and user metadata).
    pub headers: Option<ObjectHeaders>,
    /// `None` keeps the source's tags; wins over the tags inside `headers`.
    pub tags: Option<types::Tags>,
    pub conditions: WriteConditions,
    /// Another checksum than the source has: the content is read once to compute it.
    pub algorithm: Option<Algorithm>,
}

#[derive(Debug, Clone)]
pub struct DeleteRequest {
    pub key: Key,
    pub if_match: Option<ETagMatch>,
}

#[derive(Debug, Clone)]
pub struct CreateUpload {
    pub bucket: BucketId,
    pub key: Key,
    pub headers: ObjectHeaders,
    pub checksum: Option<(Algorithm, ChecksumKind)>,
}

/// Which upload; every call checks that all three belong together.
#[derive(Debug, Clone)]
pub struct UploadRef {
    pub bucket: BucketId,
    pub key: Key,
    pub id: UploadId,
}

/// A part as the client names it in CompleteMultipartUpload.
#[derive(Debug, Clone)]
pub struct NamedPart {
    pub number: u16,
    /// `None`: text that no part of ours can have as ETag.
    pub etag: Option<ETag>,
    pub checksum: Option<Checksum>,
}

#[derive(Debug, Clone)]
pub struct CompleteUpload {
    pub upload: UploadRef,
    pub parts: Vec<NamedPart>,
    pub conditions: WriteConditions,
    /// The whole object's checksum as the client sees it: a full-object value, or for a composite
    /// one the value without its `-N`.
    pub checksum: Option<Checksum>,
    /// `x-amz-checksum-type`, if given: must be the upload's.
    pub kind: Option<ChecksumKind>,
    /// `x-amz-mp-object-size`.
    pub object_size: Option<u64>,
}

/// A part that was stored.
#[derive(Debug, Clone)]
pub struct StoredPart {
    pub number: u16,
    pub size: u64,
    pub etag: ETag,
    pub modified: Timestamp,
    pub checksum: Option<Checksum>,
}

/// One part of a finished multipart object.
#[derive(Debug, Clone)]
pub struct ObjectPart {
    pub number: u16,
    pub size: u64,
    pub checksum: Option<Checksum>,
}

/// An upload in progress.
#[derive(Debug, Clone)]
pub struct Upload {
    pub key: Key,
    pub id: UploadId,
    pub initiated: Timestamp,
    pub headers: ObjectHeaders,
    pub checksum: Option<(Algorithm, ChecksumKind)>,
}

#[derive(Debug, Clone)]
pub struct PartList {
    pub upload: Upload,
    pub parts: Vec<StoredPart>,
    pub truncated: bool,
}

/// Where a listing begins.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ListStart {
    #[default]
    Beginning,
    /// Behind this text, which need not be a key.
    After(String),
    /// Behind every key that begins with this text: a common prefix that was already returned.
    AfterGroup(String),
}

#[derive(Debug, Clone, Default)]
pub struct ListRequest {
    pub prefix: String,
    /// Any text; `None` or empty: no grouping.
    pub delimiter: Option<String>,
    pub start: ListStart,
    /// Entries at most, objects and common prefixes together.
    pub max: usize,
}

#[derive(Debug, Clone)]
pub enum ListEntry {
    Object(Key, crate::Object),
    CommonPrefix(String),
}

#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// In byte order of their text.
    pub entries: Vec<ListEntry>,
    /// Where the next page begins; `None`: there is nothing more.
    pub next: Option<ListStart>,
}

#[derive(Debug, Clone, Default)]
pub struct ListUploadsRequest {
    pub prefix: String,
    pub delimiter: Option<String>,
    /// Uploads of keys behind this text; with `id_marker` also later uploads of this very key.
    pub key_marker: Option<String>,
    pub id_marker: Option<UploadId>,
    /// A common prefix that was already returned.
    pub skip_group: Option<String>,
    pub max: usize,
}

#[derive(Debug, Clone)]
pub enum UploadEntry {
    Upload(Upload),
    CommonPrefix(String),
}

#[derive(Debug, Clone, Default)]
pub struct UploadListing {
    pub entries: Vec<UploadEntry>,
    pub truncated: bool,
}

/// How far a pass of background work came.
#[derive(Debug, Clone, Copy, Default)]
pub struct Progress {
    pub done: u64,
    /// What it saw and could not do yet.
    pub left: u64,
}
