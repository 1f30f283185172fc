//! Files of blobs below one directory, which is held open: what happens to its path (unmounted,
//! replaced) never sends a write to another place.
//!
//! A file is written without a name (`O_TMPFILE`), synced, linked in, and its directory is synced:
//! a crash before the link leaves nothing behind at all. File systems without unnamed files get a
//! temporary name and a rename.

use super::{NewFile, StoredFile, SyncRule};
use crate::meter::Meter;
use crate::{BackendError, Fault, Location};
use rustix::fs::{self, AtFlags, CWD, IFlags, Mode, OFlags, RenameFlags, ResolveFlags};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::runtime::Handle;
use types::BlobId;

const NEW_MODE: Mode = Mode::RUSR.union(Mode::WUSR);
/// Directories of blobs: enough that none grows beyond what ext4 searches quickly.
const SHARDS: u64 = 256;
/// No location leads out of the tree, through whatever somebody has put there.
const BENEATH: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

#[derive(Debug)]
pub struct Tree {
    root: OwnedFd,
    /// For messages.
    path: PathBuf,
    /// Where blobs lie below the root: empty, or ends with `/`.
    below: &'static str,
    sync: SyncRule,
    unnamed: bool,
    /// A sync failed: see `is_fenced`.
    fenced: AtomicBool,
    pub(crate) meter: Arc<Meter>,
}

impl Tree {
    /// Creates what is missing below the root; the directories are durable when it returns.
    pub fn open(
        root: OwnedFd,
        path: &Path,
        below: &'static str,
        sync: SyncRule,
        meter: Arc<Meter>,
    ) -> io::Result<Self> {
        let unnamed = has_unnamed_files(&root);
        let tree =
            Self { root, path: path.to_owned(), below, sync, unnamed, fenced: AtomicBool::new(false), meter };
        if let Some(folder) = below.strip_suffix('/') {
            make_dir(&tree.root, folder)?;
        }
        for shard in 0..SHARDS {
            let folder = format!("{below}{shard:02x}");
            make_dir(&tree.root, &folder)?;
            keep_no_access_times(tree.open_dir(&folder)?);
        }
        // Once, whatever the rule says.
        tree.open_dir(below.trim_end_matches('/'))?.sync_all()?;
        tree.open_dir("")?.sync_all()?;
        Ok(tree)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn root(&self) -> &OwnedFd {
        &self.root
    }

    /// Whether a crash may leave a file that `abandon` must look for.
    pub fn leaves_traces(&self) -> bool {
        !self.unnamed
    }

    /// A path by which the kernel finds what lies below the root, wherever that is mounted now.
    pub fn through_root(&self, below: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.root.as_raw_fd())).join(below)
    }

    pub fn location(&self, blob: BlobId) -> Location {
        location(self.below, blob)
    }

    pub fn blob_of(&self, location: &str) -> Option<BlobId> {
        let name = location.rsplit('/').next()?;
        let blob = BlobId::parse(name)?;
        (self.location(blob).as_str() == location).then_some(blob)
    }

    pub fn create(&self, location: &Location) -> io::Result<NewFile> {
        if self.unnamed {
            return self.create_unnamed(location);
        }
        self.check_fence()?;
        let temporary = temporary(location);
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
        let file = self.open_beneath(&temporary, flags, NEW_MODE)?;
        Ok(NewFile::new(file, Some(temporary), self.sync.file))
    }

    /// As `create`, where no intent says that there will be such a blob: a crash must leave nothing of it. On a file
    /// system without unnamed files it loses its name at once, and never becomes a blob.
    pub fn create_unannounced(&self, location: &Location) -> io::Result<NewFile> {
        if self.unnamed {
            return self.create_unnamed(location);
        }
        let mut new = self.create(location)?;
        if let Some(temporary) = new.temporary.take() {
            self.unlink(&temporary)?;
            new.nameless = true;
        }
        Ok(new)
    }

    fn create_unnamed(&self, location: &Location) -> io::Result<NewFile> {
        self.check_fence()?;
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let file = self.open_beneath(folder(location.as_str()), flags, NEW_MODE)?;
        Ok(NewFile::new(file, None, self.sync.file))
    }

    /// Makes the file's bytes and its name durable. Before this is called, an intent must be too.
    pub fn publish(&self, location: &Location, new: &NewFile) -> io::Result<()> {
        self.check_fence()?;
        self.sync_file(new)?;
        match &new.temporary {
            // linkat(2): an unnamed file is linked in through its entry in /proc.
            None => {
                let source = format!("/proc/self/fd/{}", new.file.as_raw_fd());
                fs::linkat(CWD, source, &self.root, location.as_str(), AtFlags::SYMLINK_FOLLOW)?;
            }
            Some(temporary) => self.rename(temporary, location.as_str())?,
        }
        self.sync_dir(folder(location.as_str()))
    }

    /// If the rule says so. Of two at a time the second waits, and fails if the first did.
    fn sync_file(&self, new: &NewFile) -> io::Result<()> {
        let mut failed = new.failed.lock();
        match *failed {
            Some(kind) => Err(kind.into()),
            None if self.sync.file => {
                self.synced(new.file.sync_data()).inspect_err(|e| *failed = Some(e.kind()))
            }
            None => Ok(()),
        }
    }

    /// Begins a sync of a large file in the making, if one is due, while more is written.
    pub fn sync_beside(tree: &Arc<Self>, new: &Arc<NewFile>, runtime: &Handle) {
        if tree.sync.file && new.is_sync_due() {
            let (tree, new) = (Arc::clone(tree), Arc::clone(new));
            // `publish` hears how it ended.
            drop(runtime.spawn_blocking(move || drop(tree.sync_file(&new))));
        }
    }

    /// Makes the folders on the way to a location durably.
    pub fn make_way(&self, location: &Location) -> io::Result<()> {
        for (at, _) in location.as_str().match_indices('/') {
            let path = location.as_str().get(..at).unwrap_or_default();
            let above = self.open_dir(folder(path))?;
            make_dir(&above, name(path))?;
            above.sync_all()?;
        }
        Ok(())
    }

    pub fn get(&self, location: &Location) -> io::Result<StoredFile> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        Ok(StoredFile(self.open_beneath(location.as_str(), flags, Mode::empty())?))
    }

    /// Deletes files durably, one result each. One that is not there is deleted already, but perhaps not
    /// durably: its directory is synced all the same.
    pub fn remove(&self, locations: &[Location]) -> Vec<io::Result<()>> {
        let mut synced = BTreeMap::new();
        let mut results: Vec<_> = locations.iter().map(|location| self.unlink(location.as_str())).collect();
        for (location, result) in locations.iter().zip(&mut results) {
            if result.is_err() {
                continue;
            }
            let folder = folder(location.as_str());
            let outcome = synced.entry(folder).or_insert_with(|| self.sync_dir(folder));
            match outcome {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    *result = Err(io::Error::new(error.kind(), error.to_string()));
                }
                _ => {}
            }
        }
        results
    }

    /// Also what a write may have left under its temporary name.
    pub fn abandon(&self, location: &Location) -> io::Result<()> {
        let mut all = vec![location.clone()];
        if !self.unnamed {
            all.push(Location::new(temporary(location)));
        }
        self.remove(&all).into_iter().collect()
    }

    pub fn free_bytes(&self) -> io::Result<u64> {
        let about = fs::fstatvfs(&self.root)?;
        Ok(about.f_bavail.saturating_mul(about.f_frsize))
    }

    fn unlink(&self, location: &str) -> io::Result<()> {
        self.check_fence()?;
        let unlinked = match self.open_dir(folder(location)) {
            Ok(dir) => fs::unlinkat(dir, name(location), AtFlags::empty()).map_err(io::Error::from),
            Err(error) => Err(error),
        };
        match unlinked {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            unlinked => unlinked,
        }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        match fs::renameat_with(&self.root, from, &self.root, to, RenameFlags::NOREPLACE) {
            // Locations are unique, so there is nothing to replace where the kernel cannot promise it.
            Err(Errno::INVAL | Errno::NOSYS) => Ok(fs::renameat(&self.root, from, &self.root, to)?),
            renamed => Ok(renamed?),
        }
    }

    fn open_beneath(&self, location: &str, flags: OFlags, mode: Mode) -> io::Result<File> {
        let opened = match fs::openat2(&self.root, location, flags, mode, BENEATH) {
            // An old kernel, or a sandbox that cannot look into the arguments of this call: systemd's
            // RestrictSUIDSGID= refuses it (systemd.exec(5)).
            Err(Errno::NOSYS) => open_stepwise(&self.root, location, flags, mode),
            opened => opened,
        };
        match opened {
            Ok(file) => Ok(File::from(file)),
            // Something stands in the way that is none of ours: the replica is not there.
            Err(Errno::XDEV | Errno::LOOP | Errno::NOTDIR) => Err(io::ErrorKind::NotFound.into()),
            Err(error) => Err(error.into()),
        }
    }

    fn open_dir(&self, folder: &str) -> io::Result<File> {
        let folder = if folder.is_empty() { "." } else { folder };
        self.open_beneath(folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
    }

    /// If the rule says so.
    pub(super) fn sync_dir(&self, folder: &str) -> io::Result<()> {
        match self.sync.directory {
            true => self.synced(self.open_dir(folder)?.sync_all()),
            false => Ok(()),
        }
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
            tracing::error!(path = %self.path.display(), %error, "a sync failed: nothing more is written here");
        }
        outcome
    }
}

pub fn location(below: &str, blob: BlobId) -> Location {
    Location::new(format!("{below}{:02x}/{blob}", blob.0 % SHARDS))
}

/// Errors of new files: a folder that is missing is a backend that is not as we left it.
pub fn of_writing(error: io::Error) -> BackendError {
    match error.kind() {
        io::ErrorKind::NotFound => {
            BackendError::new(Fault::Unavailable, format!("the folder is gone: {error}"))
        }
        _ => error.into(),
    }
}

fn make_dir(root: impl AsFd, folder: &str) -> io::Result<()> {
    match fs::mkdirat(root, folder, Mode::RWXU) {
        Err(Errno::EXIST) | Ok(()) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A blob says nothing by the time of its last read: none is written, and the kernel looks for none on each read.
/// New files have this from their directory. Some file systems do not have it.
fn keep_no_access_times(dir: impl AsFd) {
    if let Ok(flags) = fs::ioctl_getflags(&dir)
        && !flags.contains(IFlags::NOATIME)
        && let Err(error) = fs::ioctl_setflags(&dir, flags | IFlags::NOATIME)
    {
        tracing::debug!(%error, "times of access are kept");
    }
}

/// As `openat2` with `BENEATH`, one component after the other. Stricter with `..`, which no location has.
fn open_stepwise(root: &OwnedFd, location: &str, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    if location.split('/').any(|component| matches!(component, "" | "..")) {
        return Err(Errno::XDEV);
    }
    let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut reached: Option<OwnedFd> = None;
    for component in folder(location).split('/').filter(|component| !component.is_empty()) {
        reached = Some(fs::openat(reached.as_ref().unwrap_or(root), component, step, Mode::empty())?);
    }
    fs::openat(reached.as_ref().unwrap_or(root), name(location), flags | OFlags::NOFOLLOW, mode)
}

fn folder(location: &str) -> &str {
    location.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn name(location: &str) -> &str {
    location.rsplit_once('/').map_or(location, |(_, name)| name)
}

/// Beside the file, so that the rename stays within its directory.
fn temporary(location: &Location) -> String {
    format!("{location}.new")
}

fn has_unnamed_files(root: impl AsFd) -> bool {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    fs::openat(root, ".", flags, Mode::RUSR | Mode::WUSR).is_ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::local::walk;
    use std::os::unix::fs::symlink;

    #[test]
    fn without_openat2_no_location_leads_out_either() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), "x").unwrap();
        let inside = outside.path().join("tree");
        std::fs::create_dir_all(inside.join("a/b")).unwrap();
        std::fs::write(inside.join("a/b/file"), "x").unwrap();
        symlink("../secret", inside.join("link")).unwrap();
        symlink("b", inside.join("a/near")).unwrap();
        symlink(outside.path(), inside.join("a/away")).unwrap();
        let root: OwnedFd = File::open(&inside).unwrap().into();
        let (read, dir) = (OFlags::RDONLY | OFlags::CLOEXEC, OFlags::RDONLY | OFlags::DIRECTORY);
        let mut opened = 0;
        for location in [
            ".",
            "a",
            "a/b",
            "a/b/file",
            "a/b/none",
            "a/b/file/x",
            "link",
            "a/near",
            "a/near/file",
            "a/away/secret",
            "../secret",
            "a/../../secret",
            "/etc/hostname",
            "",
        ] {
            for (flags, mode) in
                [(read, Mode::empty()), (dir, Mode::empty()), (OFlags::TMPFILE | OFlags::RDWR, NEW_MODE)]
            {
                let one = fs::openat2(&root, location, flags, mode, BENEATH);
                let other = open_stepwise(&root, location, flags, mode);
                assert_eq!(one.is_ok(), other.is_ok(), "{location} {flags:?}: {one:?}, {other:?}");
                opened += usize::from(other.is_ok());
            }
        }
        assert!(opened > 6, "{opened}");
        let new = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY;
        assert!(open_stepwise(&root, "a/b/new", new, NEW_MODE).is_ok());
        assert_eq!(open_stepwise(&root, "a/away/new", new, NEW_MODE).err(), Some(Errno::NOTDIR));
    }

    #[test]
    fn what_is_not_announced_has_no_name_also_where_there_are_no_unnamed_files() {
        for unnamed in [true, false] {
            let dir = tempfile::tempdir().unwrap();
            let root = File::open(dir.path()).unwrap().into();
            let sync = SyncRule { file: true, directory: true };
            let mut tree = Tree::open(root, dir.path(), "", sync, Arc::default()).unwrap();
            tree.unnamed = unnamed;
            let location = tree.location(BlobId(7));
            let new = tree.create_unannounced(&location).unwrap();
            new.write_at(b"hello", 0).unwrap();
            let mut bytes = [0; 5];
            assert_eq!((new.read_at(&mut bytes, 0).unwrap(), &bytes), (5, b"hello"));
            walk::all(&tree, &mut |found| panic!("{}", found.location)).unwrap();
            assert_eq!(new.may_be_published(), unnamed);
            assert_eq!(tree.publish(&location, &new).is_ok(), unnamed);
        }
    }
}
