//! From what went wrong behind the door to the number that a system call returns.

pub use rustix::io::Errno;
use store::StoreError;
use types::condition::WriteRefusal;

pub type Answer<T> = Result<T, Errno>;

/// Logs what is not the caller's fault: an errno alone says too little.
pub fn of(error: StoreError) -> Errno {
    match error {
        StoreError::NoSuchKey | StoreError::NoSuchUpload => Errno::NOENT,
        StoreError::Refused(WriteRefusal::Missing) => Errno::NOENT,
        StoreError::Refused(_) => Errno::EXIST,
        StoreError::QuotaExceeded => Errno::DQUOT,
        StoreError::TooLarge { .. } => Errno::FBIG,
        StoreError::Full => Errno::NOSPC,
        StoreError::Busy => Errno::AGAIN,
        other => {
            tracing::error!(error = %other, "a file system request failed");
            Errno::IO
        }
    }
}
