//! Where bytes lie: replicas of blobs on local disks and at providers.
//!
//! A backend does not know buckets, objects or records: it is handed a blob's id, a name that people
//! can read, bytes, and pairs to keep beside them. Nothing is ever written in place: every write has
//! a location of its own, and a replica that can be read is whole and durable.
//!
//! Start with [`Backend`]; the simplest one is `memory.rs`.

mod disk;
mod error;
pub mod examine;
mod faulty;
mod local;
mod memory;
mod meter;
mod replica;
mod s3;

pub use disk::{Disk, DiskOptions};
pub use error::{BackendError, Fault};
pub use faulty::{Call, Faulty, Script, Trouble};
pub use local::{Local, NewFile, StoredFile, SyncRule};
pub use memory::Memory;
pub use replica::{About, Found, Location, MAX_LOCATION_BYTES, NewReplica, Page, Pairs, Stored, Usage};
pub use s3::{KEPT_BYTES, Lacks, Layout, PART_BYTES, S3, S3Options, Signing};

use bytes::Bytes;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use types::{BlobId, ByteRange};

/// Below this lies what the node keeps on a backend besides replicas: snapshots of its records.
pub const KEPT_ASIDE: &str = ".s3-orchestrator-snapshots/";

pub type Result<T, E = BackendError> = std::result::Result<T, E>;
/// Boxed, so that a backend of any kind can stand behind one `dyn Backend`.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// One place for replicas.
///
/// # Contract
///
/// * **Names first.** [`locate`](Self::locate) is a pure function, so that a durable note of the
///   location exists before there is anything at it. When it must be durable, says
///   [`leaves_traces`](Self::leaves_traces).
/// * **Whole or absent.** A location holds a whole, durable replica or nothing that `read`, `head` or
///   `list` would show. The one exception is an unfinished upload, which only `abandon` sees.
/// * **Errors are ambiguous.** A write or removal that failed may have happened, or may happen yet.
///   Locations are never used again, so that a late one hits nothing that lives.
/// * **Time limits are on progress**, not on the whole: a slow transfer of a large body goes on as long as
///   bytes move. Retries happen inside, within a budget; what comes out as an error has used it up.
/// * **Memory** is bounded for each write and read, whatever the size; see [`Writer::write`].
/// * Futures may be dropped at any await; what they were doing is then ambiguous, as after an error.
pub trait Backend: Send + Sync + fmt::Debug {
    /// Where a replica of this blob goes: never twice the same for two blobs, at most
    /// [`MAX_LOCATION_BYTES`] long. Kinds without readable names leave `readable` aside.
    fn locate(&self, blob: BlobId, readable: Option<&str>) -> Location;

    /// Whether a write may leave something behind before `finish` is called. If so, the intent must
    /// be durable before the first `write`, otherwise before `finish`.
    fn leaves_traces(&self) -> bool;

    /// Whether reads go over a network: a local replica is preferred to a remote one.
    fn is_remote(&self) -> bool;

    /// Begins a replica at `locate(new.blob, new.readable)`. Cheap: a remote backend makes no call yet.
    fn begin(&self, new: NewReplica) -> Answer<'_, Box<dyn Writer>>;

    /// As `begin`, at a place below [`KEPT_ASIDE`] where nothing is yet: what is written there is no replica.
    fn begin_aside(&self, location: Location, new: NewReplica) -> Answer<'_, Box<dyn Writer>>;

    /// Streams `range` of a replica; a range beyond its end is `Corrupt`.
    fn read<'a>(&'a self, location: &'a Location, range: ByteRange) -> Answer<'a, Box<dyn Reader>>;

    /// The way to a replica's bytes that needs no async: `None` where there is no local file. Opening
    /// and reading block for as long as the disk does.
    fn open_file(&self, location: &Location) -> Option<Result<StoredFile>> {
        let _ = location;
        None
    }

    /// Deletes replicas durably, one result for each; one that is not there is deleted already.
    fn remove<'a>(&'a self, locations: &'a [Location]) -> Answer<'a, Vec<Result<()>>>;

    /// Deletes whatever a write that never ended may have left at a location: the replica if it came to be,
    /// and unfinished uploads. Costs more calls than `remove`. A request that is still under way may
    /// arrive after it: whoever abandons waits for that, or comes again.
    fn abandon<'a>(&'a self, location: &'a Location) -> Answer<'a, ()>;

    /// The calls that `remove` of so many makes, when none is tried again. A file is one.
    fn calls_to_remove(&self, count: usize) -> u64 {
        count as u64
    }

    /// The calls that `abandon` makes at most, for the one upload that a location has.
    fn calls_to_abandon(&self) -> u64 {
        1
    }

    /// `Absent` if there is none.
    fn head<'a>(&'a self, location: &'a Location) -> Answer<'a, About>;

    /// What lies below `prefix`, behind `after`, in the byte order of locations, at most about `limit`
    /// (1,000 where a provider allows no more). It shows foreign things too, and nothing unfinished.
    fn list<'a>(&'a self, prefix: &'a str, after: Option<&'a Location>, limit: usize) -> Answer<'a, Page>;

    /// Whether a place is kept for what we write ourselves, whatever lies there and has no name of a replica.
    fn is_reserved(&self, location: &Location) -> bool {
        let _ = location;
        false
    }

    /// The locations that have unfinished uploads, at most about `limit`: leftovers of a crash whose intent was
    /// lost. Empty where writes leave no traces.
    fn unfinished<'a>(&'a self, prefix: &'a str, limit: usize) -> Answer<'a, Vec<Location>> {
        let _ = (prefix, limit);
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    /// One cheap call that fails if the backend is of no use now: what a half-open breaker tries.
    fn probe(&self) -> Answer<'_, ()>;

    /// Bytes that fit, where the backend can say.
    fn free_bytes(&self) -> Option<u64> {
        None
    }

    fn usage(&self) -> Usage;

    /// What calls are signed with from now on; those under way keep what they have. Nothing to do where
    /// nobody asks for it.
    fn sign_with(&self, signing: &Signing) {
        let _ = signing;
    }
}

/// A replica in the making. Dropped without `finish` it is abandoned: what can be undone at once is, in
/// the background; the rest is found by [`Backend::abandon`] of its location.
pub trait Writer: Send {
    fn location(&self) -> &Location;

    /// Takes the next bytes, in order, and returns when there is room for more: a slow backend holds
    /// back its caller, with a bounded number of bytes in flight. Pieces of 64 KiB to 1 MiB do best. After an
    /// error the writer is of no more use.
    fn write(&mut self, bytes: Bytes) -> Answer<'_, ()>;

    /// Returns when the replica is whole and durable under its location. `last`: identity that is known only now
    /// that the body has ended; kept where the backend still can (files, a body in one PUT), left out
    /// where the headers have gone already (a large body on S3).
    fn finish(self: Box<Self>, last: Pairs) -> Answer<'static, Stored>;
}

/// Bytes of a replica on their way.
pub trait Reader: Send {
    /// The next piece, never empty; `None` when all bytes of the range have come. Fewer bytes than
    /// the range are an error, never an end.
    fn next(&mut self) -> Answer<'_, Option<Bytes>>;
}
