//! Replicas at a provider that speaks S3.
//!
//! Providers differ; what one lacks is told in [`Lacks`], and everything else asks for no more than
//! all of them have: no checksum headers of the SDK's own accord, one size for all parts of an upload,
//! `Content-MD5` where a batch needs a digest. `s3-orchestrator probe` finds out what a provider can do.

/// PutObject and CreateMultipartUpload take the same headers, by the same names, in two types.
macro_rules! dressed {
    ($call:expr, $dress:expr) => {{
        let dress: &crate::s3::describe::Dress = $dress;
        $call
            .set_content_type(dress.content_type.clone())
            .set_cache_control(dress.cache_control.clone())
            .set_content_disposition(dress.content_disposition.clone())
            .set_content_encoding(dress.content_encoding.clone())
            .set_content_language(dress.content_language.clone())
            .set_metadata(Some(dress.metadata.iter().cloned().collect()))
    }};
}

mod body;
mod call;
mod client;
mod describe;
mod examine;
mod fault;
mod list;
mod name;
mod part;
mod read;
mod remove;
mod writer;

use crate::{
    About, Answer, Backend, BackendError, Fault, Location, NewReplica, Page, Reader, Result, Usage, Writer,
};
use aws_sdk_s3::Client;
use call::Caller;
use parking_lot::RwLock;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use types::{BlobId, ByteRange};

/// Bodies up to this go in one PUT, larger ones in parts of this: small enough to be kept for a
/// retry, large enough that the number of calls does not matter. S3's minimum is 5 MiB.
pub const PART_BYTES: u64 = 8 << 20;
/// What is kept of bodies on their way, for retries, over all writes to one backend. A write that finds
/// no room here passes its bytes on without keeping them.
pub const KEPT_BYTES: usize = 64 << 20;
const KEPT_UNIT_BYTES: u64 = 64 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `{bucket}/{key}` and the blob's id.
    Readable,
    /// The blob's id.
    Opaque,
}

/// What a provider does not have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lacks {
    /// DeleteObjects: replicas are deleted one by one.
    pub batch_delete: bool,
    /// ListObjectsV2: the old form is used.
    pub list_v2: bool,
    /// ListMultipartUploads: unfinished uploads of a crash stay until the provider expires them.
    pub list_uploads: bool,
    /// Multipart uploads: everything goes in one PUT, which cannot be tried again if it is large.
    pub multipart: bool,
}

#[derive(Clone)]
pub struct S3Options {
    pub endpoint: String,
    pub bucket: String,
    /// To begin with.
    pub signing: Signing,
    pub path_style: bool,
    pub layout: Layout,
    pub lacks: Lacks,
    /// No byte for as long as this (up to twice as long): the call has failed.
    pub stall: Duration,
    pub connect_timeout: Duration,
    /// Of one call, the first included.
    pub attempts: u32,
    pub part_bytes: u64,
    pub kept_bytes: usize,
    /// For the jitter of retries.
    pub random: fn() -> u64,
}

/// What a provider knows the node by.
#[derive(Clone, PartialEq, Eq)]
pub struct Signing {
    pub access_key_id: String,
    pub secret_access_key: String,
    pub region: String,
}

impl fmt::Debug for Signing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { access_key_id, region, .. } = self;
        f.debug_struct("Signing")
            .field("access_key_id", access_key_id)
            .field("region", region)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for S3Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { endpoint, bucket, signing, path_style, layout, lacks, .. } = self;
        f.debug_struct("S3Options")
            .field("endpoint", endpoint)
            .field("bucket", bucket)
            .field("signing", signing)
            .field("path_style", path_style)
            .field("layout", layout)
            .field("lacks", lacks)
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
pub struct S3(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: RwLock<(Signing, Client)>,
    caller: Caller,
    options: S3Options,
    kept: Arc<Semaphore>,
}

impl S3 {
    /// Makes no call.
    pub fn new(options: S3Options) -> Self {
        let signing = options.signing.clone();
        let client = client::connect(&options, &signing);
        let caller = Caller::new(options.stall, options.attempts, options.random);
        let units = options.kept_bytes as u64 / KEPT_UNIT_BYTES;
        let kept = Arc::new(Semaphore::new(usize::try_from(units).unwrap_or(Semaphore::MAX_PERMITS)));
        Self(Arc::new(Inner { client: RwLock::new((signing, client)), caller, options, kept }))
    }
}

impl Inner {
    /// For one call: the next one may be signed with other keys.
    fn client(&self) -> Client {
        self.client.read().1.clone()
    }

    fn bucket(&self) -> &str {
        &self.options.bucket
    }

    fn locate(&self, blob: BlobId, readable: Option<&str>) -> Location {
        match (self.options.layout, readable) {
            (Layout::Readable, Some(readable)) => name::readable(readable, blob),
            _ => name::opaque(blob),
        }
    }

    async fn head(&self, location: &Location) -> Result<About> {
        let head = |_| {
            let call = self.client().head_object().bucket(self.bucket()).key(location.as_str());
            call.send()
        };
        match self.caller.call("HeadObject", head).await {
            Ok(answer) => describe_head(location, &answer),
            // An answer without a body: a bucket that is gone looks like a replica that is not there.
            Err(error) if matches!(error.fault, Fault::Absent) => {
                self.probe().await?;
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    async fn probe(&self) -> Result<()> {
        list::one(self).await
    }
}

fn describe_head(
    location: &Location,
    answer: &aws_sdk_s3::operation::head_object::HeadObjectOutput,
) -> Result<About> {
    let Some(size) = answer.content_length().and_then(|size| u64::try_from(size).ok()) else {
        return Err(BackendError::new(Fault::Unavailable, "HeadObject: an answer without a length"));
    };
    let found = crate::Found {
        location: location.clone(),
        size,
        etag: answer.e_tag().map(list::unquoted),
        modified: list::timestamp(answer.last_modified()),
    };
    let mut off = describe::Undressed::default();
    off.header("content-type", answer.content_type());
    off.header("cache-control", answer.cache_control());
    off.header("content-disposition", answer.content_disposition());
    off.header("content-encoding", answer.content_encoding());
    off.header("content-language", answer.content_language());
    off.header("expires", answer.expires_string());
    for (name, value) in answer.metadata().into_iter().flatten() {
        off.metadata(name, value);
    }
    off.metadata.sort();
    off.identity.sort();
    Ok(About { found, headers: off.headers, metadata: off.metadata, identity: off.identity })
}

impl Backend for S3 {
    fn locate(&self, blob: BlobId, readable: Option<&str>) -> Location {
        self.0.locate(blob, readable)
    }

    fn leaves_traces(&self) -> bool {
        true
    }

    fn is_remote(&self) -> bool {
        true
    }

    fn begin(&self, new: NewReplica) -> Answer<'_, Box<dyn Writer>> {
        self.begin_aside(self.0.locate(new.blob, new.readable.as_deref()), new)
    }

    fn begin_aside(&self, location: Location, new: NewReplica) -> Answer<'_, Box<dyn Writer>> {
        let writer = writer::S3Writer::begin(Arc::clone(&self.0), location, new);
        Box::pin(std::future::ready(writer.map(|writer| Box::new(writer) as Box<dyn Writer>)))
    }

    fn read<'a>(&'a self, location: &'a Location, range: ByteRange) -> Answer<'a, Box<dyn Reader>> {
        Box::pin(async move {
            let reader = read::open(&self.0, location, range).await?;
            Ok(Box::new(reader) as Box<dyn Reader>)
        })
    }

    fn remove<'a>(&'a self, locations: &'a [Location]) -> Answer<'a, Vec<Result<()>>> {
        Box::pin(async { Ok(remove::all(&self.0, locations).await) })
    }

    fn abandon<'a>(&'a self, location: &'a Location) -> Answer<'a, ()> {
        Box::pin(remove::abandon(&self.0, location))
    }

    fn calls_to_remove(&self, count: usize) -> u64 {
        remove::calls(&self.0.options.lacks, count)
    }

    fn calls_to_abandon(&self) -> u64 {
        remove::calls_to_abandon(&self.0.options.lacks)
    }

    fn head<'a>(&'a self, location: &'a Location) -> Answer<'a, About> {
        Box::pin(self.0.head(location))
    }

    fn list<'a>(&'a self, prefix: &'a str, after: Option<&'a Location>, limit: usize) -> Answer<'a, Page> {
        Box::pin(list::page(&self.0, prefix, after, limit))
    }

    fn is_reserved(&self, location: &Location) -> bool {
        let ours = [crate::examine::PLACE, crate::KEPT_ASIDE];
        ours.iter().any(|place| location.as_str().starts_with(place))
    }

    fn unfinished<'a>(&'a self, prefix: &'a str, limit: usize) -> Answer<'a, Vec<Location>> {
        Box::pin(async move {
            let uploads = list::uploads(&self.0, prefix, limit).await?;
            let mut locations: Vec<_> = uploads.into_iter().map(|upload| upload.location).collect();
            locations.dedup();
            Ok(locations)
        })
    }

    fn probe(&self) -> Answer<'_, ()> {
        Box::pin(self.0.probe())
    }

    fn usage(&self) -> Usage {
        self.0.caller.meter.usage()
    }

    fn sign_with(&self, signing: &Signing) {
        let mut client = self.0.client.write();
        if client.0 != *signing {
            *client = (signing.clone(), client::connect(&self.0.options, signing));
        }
    }
}
