//! A replica's file, open for reading.

use crate::{BackendError, Fault};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt as _;
use types::ByteRange;

/// It stays readable when its name is gone.
#[derive(Debug)]
pub struct StoredFile(pub(super) File);

impl StoredFile {
    pub fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    pub fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    /// A file that was cut says so before its first byte is sent.
    pub(super) fn must_hold(&self, range: ByteRange) -> Result<(), BackendError> {
        let size = self.size()?;
        if range.end > size {
            let detail = format!("{size} bytes where {} should be", range.end);
            return Err(BackendError::new(Fault::Corrupt, detail));
        }
        Ok(())
    }
}

impl AsFd for StoredFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
