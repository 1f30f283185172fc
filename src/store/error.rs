//! What can go wrong behind the door, by whose fault it is.

use std::fmt;
use types::condition::WriteRefusal;

/// An error that a face's [`crate::Source`] made; the face gets it back untouched.
pub type SourceError = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug)]
pub enum StoreError {
    // The client's.
    NoSuchKey,
    NoSuchUpload,
    /// A precondition of the write does not hold.
    Refused(WriteRefusal),
    QuotaExceeded,
    TooLarge {
        size: u64,
        max: u64,
    },
    /// The body ended before, or went on after, the promised length.
    SizeMismatch {
        promised: u64,
        got: u64,
    },
    Digest(DigestMismatch),
    InvalidPart {
        number: u16,
    },
    InvalidPartOrder,
    PartTooSmall {
        number: u16,
        size: u64,
        min: u64,
    },
    /// A request that contradicts what the upload was created with; the text is for the client.
    InvalidRequest(String),
    /// The body could not be read: the face's own error.
    Source(SourceError),

    // The world's.
    /// No room on the disk.
    Full,
    /// No backend could do it now; the text is for the log.
    Unavailable(String),
    /// A sync has failed: nothing is written until a restart; reads go on.
    Fenced,
    /// Stopping, or too much is waiting: try again.
    Busy,
    /// The stored bytes fail their checksums.
    Corrupt(String),
    /// A disk or the metadata failed; the text is for the log, not for the client.
    Storage(String),
}

/// Why something that an operator ordered is not begun.
#[derive(Debug)]
pub enum OrderError {
    /// What it names is not there.
    NotFound(String),
    /// Things are not as they would have to be.
    Refused(String),
    Store(StoreError),
}

impl OrderError {
    pub(crate) fn no_backend(inner: &crate::Inner, name: &str) -> Self {
        let names: Vec<_> = inner.fleet.members().iter().map(|member| member.name.clone()).collect();
        Self::NotFound(format!("there is no backend \"{name}\"; there are: {}", names.join(", ")))
    }
}

impl fmt::Display for OrderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound(why) | Self::Refused(why) => f.write_str(why),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for OrderError {}

impl From<StoreError> for OrderError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<meta::MetaError> for OrderError {
    fn from(error: meta::MetaError) -> Self {
        Self::Store(error.into())
    }
}

/// Which digest of a body differs from what was promised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DigestMismatch {
    ContentMd5 { computed: [u8; 16] },
    PayloadSha256 { computed: [u8; 32] },
    Checksum(types::Algorithm),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchKey => write!(f, "no such key"),
            Self::NoSuchUpload => write!(f, "no such upload"),
            Self::Refused(why) => write!(f, "precondition failed: {why:?}"),
            Self::QuotaExceeded => write!(f, "quota exceeded"),
            Self::TooLarge { size, max } => write!(f, "{size} bytes are more than {max}"),
            Self::SizeMismatch { promised, got } => write!(f, "{got} bytes came, {promised} were promised"),
            Self::Digest(which) => write!(f, "digest mismatch: {which:?}"),
            Self::InvalidPart { number } => write!(f, "part {number} is not as named"),
            Self::InvalidPartOrder => write!(f, "parts are not in ascending order"),
            Self::PartTooSmall { number, size, min } => {
                write!(f, "part {number} has {size} bytes, fewer than {min}")
            }
            Self::InvalidRequest(why) => write!(f, "{why}"),
            Self::Source(error) => write!(f, "reading the body: {error}"),
            Self::Full => write!(f, "no space left"),
            Self::Unavailable(what) => write!(f, "no backend could do it: {what}"),
            Self::Fenced => write!(f, "a sync has failed; nothing is written until a restart"),
            Self::Busy => write!(f, "busy"),
            Self::Corrupt(what) => write!(f, "stored bytes are damaged: {what}"),
            Self::Storage(what) => write!(f, "storage failed: {what}"),
        }
    }
}

impl std::error::Error for StoreError {}

impl From<meta::MetaError> for StoreError {
    fn from(error: meta::MetaError) -> Self {
        match error {
            meta::MetaError::Refused(why) => Self::Refused(why),
            meta::MetaError::Quota(_) => Self::QuotaExceeded,
            meta::MetaError::Engine(meta::EngineError::Full(_)) => Self::Full,
            meta::MetaError::Engine(meta::EngineError::Fenced) => Self::Fenced,
            meta::MetaError::Damaged(what) => Self::Corrupt(what),
            meta::MetaError::Closed => Self::Busy,
            other => Self::Storage(other.to_string()),
        }
    }
}

impl From<backend::BackendError> for StoreError {
    fn from(error: backend::BackendError) -> Self {
        match error.fault {
            backend::Fault::Full => Self::Full,
            backend::Fault::Absent | backend::Fault::Corrupt => Self::Corrupt(error.to_string()),
            _ => Self::Unavailable(error.to_string()),
        }
    }
}

impl From<std::io::Error> for StoreError {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::Storage(error.to_string()),
        }
    }
}
