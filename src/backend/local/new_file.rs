//! A file in the making.

use super::identity;
use crate::NewReplica;
use parking_lot::Mutex;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes after which the kernel is asked to begin writing, so that the final sync is short.
const WRITE_BEHIND_BYTES: u64 = 8 << 20;
/// Bytes after which a sync is due while more is written: what the kernel has written still lies in the device's own
/// cache, often that of a host, and only a sync makes it flow from there.
const SYNC_BESIDE_BYTES: u64 = 64 << 20;

#[derive(Debug)]
pub struct NewFile {
    pub(super) file: File,
    /// Where it has a name already, for want of unnamed files: below the root.
    pub(super) temporary: Option<String>,
    /// It had a name and lost it: it cannot get one again.
    pub(super) nameless: bool,
    /// It will be synced: the kernel begins to write early.
    synced: bool,
    begun: AtomicU64,
    /// How far a sync was asked for.
    asked: AtomicU64,
    /// Held while it is synced. A sync that failed is in here: the kernel tells of it only once.
    pub(super) failed: Mutex<Option<io::ErrorKind>>,
}

impl NewFile {
    pub(super) fn new(file: File, temporary: Option<String>, synced: bool) -> Self {
        Self {
            file,
            temporary,
            nameless: false,
            synced,
            begun: AtomicU64::new(0),
            asked: AtomicU64::new(0),
            failed: Mutex::new(None),
        }
    }

    pub fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)?;
        let end = offset + bytes.len() as u64;
        let begun = self.begun.load(Ordering::Relaxed);
        // What is written out of order is left to the sync.
        if self.synced && end.saturating_sub(begun) >= WRITE_BEHIND_BYTES {
            self.begun.store(end, Ordering::Relaxed);
            begin_writing(&self.file, begun, end - begun);
        }
        Ok(())
    }

    /// Whether a sync is due, said once: whoever hears it sees to it.
    pub(super) fn is_sync_due(&self) -> bool {
        let (begun, asked) = (self.begun.load(Ordering::Relaxed), self.asked.load(Ordering::Relaxed));
        begun.saturating_sub(asked) >= SYNC_BESIDE_BYTES
            && !self.failed.is_locked()
            && self.asked.compare_exchange(asked, begun, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Fewer only at the end of the file.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, offset + done as u64)? {
                0 => break,
                got => done += got,
            }
        }
        Ok(done)
    }

    pub fn read_all_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    pub fn may_be_published(&self) -> bool {
        !self.nameless
    }

    pub fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }

    pub fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Says on the file itself what it is, where the file system has room for that.
    pub fn describe(&self, replica: &NewReplica) {
        identity::write(&self.file, replica);
    }
}

/// Only a hint: the sync at the end is what counts, so a failure here is left to it.
fn begin_writing(file: &File, offset: u64, len: u64) {
    let (Ok(offset), Ok(len)) = (i64::try_from(offset), i64::try_from(len)) else { return };
    // SAFETY: the descriptor is open for the length of the call, which touches no memory of ours.
    unsafe {
        libc::sync_file_range(file.as_raw_fd(), offset, len, libc::SYNC_FILE_RANGE_WRITE);
    }
}
