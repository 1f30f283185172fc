//! Blobs as files of exactly their bytes, under sharded names made from their ids.
//!
//! A blob is written into an unnamed file (`O_TMPFILE`), synced, linked in, and its directory is
//! synced: a crash before the link leaves nothing behind at all.

use rustix::fs::{self, AtFlags, CWD, Mode, OFlags};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use types::BlobId;

/// Directories of blobs: enough that none grows beyond what ext4 searches quickly.
const SHARDS: u64 = 256;
/// Bytes after which the kernel is asked to begin writing, so that the final sync is short.
const WRITE_BEHIND_BYTES: u64 = 8 << 20;

/// Which syncs are done; a rig that tests for lost writes leaves one out to prove that it sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyncRule {
    pub file: bool,
    pub directory: bool,
}

#[derive(Debug)]
pub struct Local {
    root: PathBuf,
    sync: SyncRule,
    fenced: AtomicBool,
}

impl Local {
    /// Creates what is missing; the directories are durable when it returns.
    pub fn open(root: &Path, sync: SyncRule) -> io::Result<Self> {
        std::fs::create_dir_all(root)?;
        for shard in 0..SHARDS {
            match std::fs::create_dir(root.join(format!("{shard:02x}"))) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        File::open(root)?.sync_all()?;
        if let Some(parent) = root.parent() {
            File::open(parent)?.sync_all()?;
        }
        Ok(Self { root: root.to_owned(), sync, fenced: AtomicBool::new(false) })
    }

    /// Whether a sync has failed since the start. The kernel forgets what it could not write and calls
    /// the next sync a success, so nothing that is written from then on can be believed: new blobs and
    /// deletions are refused until a restart. Reads go on.
    pub fn is_fenced(&self) -> bool {
        self.fenced.load(Ordering::Acquire)
    }

    fn check_fence(&self) -> io::Result<()> {
        match self.is_fenced() {
            false => Ok(()),
            true => Err(io::Error::other("a sync has failed; nothing is written here until a restart")),
        }
    }

    /// A disk that is full says so honestly; every other failure of a sync is for good.
    fn synced(&self, outcome: io::Result<()>) -> io::Result<()> {
        if let Err(error) = &outcome
            && !matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        {
            self.fenced.store(true, Ordering::Release);
        }
        outcome
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        match self.sync.directory {
            true => self.synced(File::open(directory)?.sync_all()),
            false => Ok(()),
        }
    }

    fn directory(&self, id: BlobId) -> PathBuf {
        self.root.join(format!("{:02x}", id.0 % SHARDS))
    }

    pub fn path(&self, id: BlobId) -> PathBuf {
        self.directory(id).join(id.to_string())
    }

    /// A file without a name for a blob's bytes.
    pub fn create(&self, id: BlobId) -> io::Result<NewFile> {
        self.check_fence()?;
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let file = fs::openat(CWD, self.directory(id), flags, Mode::RUSR | Mode::WUSR)?;
        Ok(NewFile { file: File::from(file), begun: AtomicU64::new(0) })
    }

    /// Makes the file's bytes and its name durable. Before this returns, an intent must be too.
    pub fn publish(&self, id: BlobId, new: &NewFile) -> io::Result<()> {
        self.check_fence()?;
        if self.sync.file {
            self.synced(new.file.sync_data())?;
        }
        // linkat(2): an unnamed file is linked in through its entry in /proc.
        let source = format!("/proc/self/fd/{}", new.file.as_raw_fd());
        fs::linkat(CWD, source, CWD, self.path(id), AtFlags::SYMLINK_FOLLOW)?;
        self.sync_directory(&self.directory(id))
    }

    pub fn get(&self, id: BlobId) -> io::Result<StoredFile> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        Ok(StoredFile(File::from(fs::openat(CWD, self.path(id), flags, Mode::empty())?)))
    }

    /// Deletes files durably. One that is not there is deleted already, but perhaps not durably: its
    /// directory is synced all the same.
    pub fn remove(&self, ids: &[BlobId]) -> io::Result<()> {
        self.check_fence()?;
        let mut touched = std::collections::BTreeSet::new();
        for id in ids {
            match std::fs::remove_file(self.path(*id)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => touched.insert(self.directory(*id)),
            };
        }
        touched.iter().try_for_each(|directory| self.sync_directory(directory))
    }

    /// Moves a file that nobody knows to `set-aside` beside the blobs, for a person to look at.
    pub fn set_aside(&self, file: Result<BlobId, &Path>) -> io::Result<PathBuf> {
        let file = file.map_or_else(Path::to_owned, |id| self.path(id));
        let attic = self.root.with_file_name("set-aside");
        std::fs::create_dir_all(&attic)?;
        let name = file.file_name().ok_or_else(|| io::Error::other("a file without a name"))?;
        let target = attic.join(name);
        if target.exists() {
            return Err(io::Error::from(io::ErrorKind::AlreadyExists));
        }
        std::fs::rename(&file, &target)?;
        self.sync_directory(&attic)?;
        self.sync_directory(file.parent().unwrap_or(&self.root))?;
        Ok(target)
    }

    /// Every file and its size; names that are no blob's come as `Err`.
    pub fn files(&self, visit: &mut dyn FnMut(Result<BlobId, PathBuf>, u64)) -> io::Result<()> {
        for shard in std::fs::read_dir(&self.root)? {
            let shard = shard?.path();
            if !shard.is_dir() {
                continue;
            }
            for entry in std::fs::read_dir(&shard)? {
                let entry = entry?;
                let size = entry.metadata()?.len();
                let id = entry
                    .file_name()
                    .to_str()
                    .and_then(|name| u64::from_str_radix(name, 16).ok())
                    .map(BlobId);
                let known = id.filter(|id| self.path(*id) == entry.path());
                visit(known.ok_or_else(|| entry.path()), size);
            }
        }
        Ok(())
    }
}

/// A blob in the making.
#[derive(Debug)]
pub struct NewFile {
    file: File,
    begun: AtomicU64,
}

impl NewFile {
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)?;
        let end = offset + bytes.len() as u64;
        let begun = self.begun.load(Ordering::Relaxed);
        if end - begun >= WRITE_BEHIND_BYTES {
            self.begun.store(end, Ordering::Relaxed);
            begin_writing(&self.file, begun, end - begun);
        }
        Ok(())
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

/// A blob's file, open for reading: it stays readable when its name is gone.
#[derive(Debug)]
pub struct StoredFile(File);

impl StoredFile {
    pub fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    pub fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

impl AsFd for StoredFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SYNC: SyncRule = SyncRule { file: true, directory: true };

    #[test]
    fn a_blob_has_a_name_only_when_it_is_whole() {
        let dir = std::env::temp_dir().join(format!("backend-{}", std::process::id()));
        let local = Local::open(&dir.join("blobs"), SYNC).unwrap();
        let id = BlobId(0x1234);
        let new = local.create(id).unwrap();
        new.write_at(b"world", 5).unwrap();
        new.write_at(b"hello", 0).unwrap();
        let mut seen = Vec::new();
        local.files(&mut |file, size| seen.push((file, size))).unwrap();
        assert!(seen.is_empty());
        local.publish(id, &new).unwrap();
        local.files(&mut |file, size| seen.push((file, size))).unwrap();
        assert_eq!(seen, [(Ok(id), 10)]);
        let stored = local.get(id).unwrap();
        local.remove(&[id, BlobId(99)]).unwrap();
        let mut bytes = [0; 10];
        stored.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(&bytes, b"helloworld");
        assert!(local.get(id).is_err());
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
