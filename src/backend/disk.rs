//! A directory anywhere: another disk, a network file system.
//!
//! A marker file ties it to one backend of one node. A directory that has been used before and has
//! no marker now is a disk that is not mounted: absent, never empty. While it is in use it is held
//! open, so that nothing is written to what appears at its path instead.

use crate::local::tree::{self, Tree};
use crate::local::{MARKER, Rooted, Source, SyncRule};
use crate::meter::Meter;
use crate::{BackendError, Fault, Location, Result};
use parking_lot::Mutex;
use rustix::fs::{self, AtFlags, CWD, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use types::BlobId;

/// Where blobs lie below the directory: what else is there is left alone.
const BELOW: &str = "blobs/";
const MARKER_MAX_BYTES: u64 = 4096;

#[derive(Debug, Clone)]
pub struct DiskOptions {
    pub path: PathBuf,
    /// The node that the directory belongs to, and the backend's name there: one line each.
    /// No node: it was used before, by whichever one.
    pub node: String,
    pub backend: String,
    /// The node's records say that it has used this backend before.
    pub initialised: bool,
    pub sync: SyncRule,
}

#[derive(Debug)]
pub struct Disk {
    marked: Arc<Marked>,
    source: Source,
}

impl Disk {
    /// Does not look at the disk yet: a node starts also while one is missing.
    pub fn new(options: DiskOptions) -> Self {
        let initialised = AtomicBool::new(options.initialised);
        let marked = Marked { options, tree: Mutex::new(None), initialised, meter: Arc::default() };
        let marked = Arc::new(marked);
        Self { source: Source::Marked(Arc::clone(&marked)), marked }
    }

    /// Looks for the disk, marks one that is used for the first time. Blocks.
    pub fn attach(&self) -> Result<()> {
        self.marked.tree().map(drop)
    }
}

impl Rooted for Disk {
    fn source(&self) -> &Source {
        &self.source
    }

    fn location(&self, blob: BlobId) -> Location {
        tree::location(BELOW, blob)
    }

    fn meter(&self) -> &Meter {
        &self.marked.meter
    }

    fn is_reserved(&self, location: &Location) -> bool {
        location.as_str().starts_with(BELOW) || location.as_str().starts_with(MARKER)
    }
}

/// A directory that may come and go.
#[derive(Debug)]
pub struct Marked {
    options: DiskOptions,
    tree: Mutex<Option<Attached>>,
    /// Used before: by the node's records, or in this run.
    initialised: AtomicBool,
    meter: Arc<Meter>,
}

#[derive(Debug)]
struct Attached {
    tree: Arc<Tree>,
    /// The next use asks whether it is still the one at the path.
    doubted: bool,
}

impl Marked {
    pub(crate) fn tree(&self) -> Result<Arc<Tree>> {
        let mut attached = self.tree.lock();
        if let Some(known) = attached.as_mut()
            && (!known.doubted || self.is_still(&known.tree))
        {
            known.doubted = false;
            return Ok(Arc::clone(&known.tree));
        }
        *attached = None;
        let tree = Arc::new(self.open()?);
        self.initialised.store(true, Ordering::Relaxed);
        *attached = Some(Attached { tree: Arc::clone(&tree), doubted: false });
        Ok(tree)
    }

    pub(crate) fn attached(&self) -> Option<Arc<Tree>> {
        self.tree.lock().as_ref().map(|known| Arc::clone(&known.tree))
    }

    pub(crate) fn look_again(&self) {
        if let Some(known) = self.tree.lock().as_mut() {
            known.doubted = true;
        }
    }

    /// Whether the path leads to the directory that is held open.
    fn is_still(&self, tree: &Tree) -> bool {
        let held = fs::fstat(tree.root());
        let there = fs::statat(CWD, &self.options.path, AtFlags::empty());
        let same = matches!((held, there), (Ok(a), Ok(b)) if (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino));
        same && self.marker(tree.root()).is_ok_and(|marker| marker.is_some())
    }

    fn open(&self) -> Result<Tree> {
        let path = &self.options.path;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = fs::openat(CWD, path, flags, Mode::empty()).map_err(|error| self.absent(error.into()))?;
        self.check_marker(&root)?;
        let meter = Arc::clone(&self.meter);
        Tree::open(root, path, BELOW, self.options.sync, meter).map_err(|error| self.absent(error))
    }

    fn check_marker(&self, root: &OwnedFd) -> Result<()> {
        let path = self.options.path.display();
        let backend = format!("\nbackend = {}\n", self.options.backend);
        let expected = format!("node = {}{backend}", self.options.node);
        match self.marker(root).map_err(|error| self.absent(error))? {
            Some(found) if found == expected => Ok(()),
            // Whose it is is to be found out.
            Some(found) if self.options.node.is_empty() && found.ends_with(&backend) => Ok(()),
            Some(_) => Err(BackendError::new(
                Fault::Refused,
                format!("{path}/{MARKER} says that this directory belongs to another node or backend"),
            )),
            None if self.initialised.load(Ordering::Relaxed) => {
                let detail = format!("{path} has no {MARKER}: is the disk mounted?");
                Err(BackendError::new(Fault::Unavailable, detail))
            }
            None => mark(root, &expected).map_err(|error| self.absent(error)),
        }
    }

    fn marker(&self, root: impl AsFd) -> io::Result<Option<String>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match fs::openat(root, MARKER, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(None),
            opened => File::from(opened?),
        };
        let mut text = String::new();
        file.take(MARKER_MAX_BYTES).read_to_string(&mut text)?;
        let is_remark = |line: &&str| !line.starts_with('#');
        Ok(Some(text.lines().filter(is_remark).map(|line| format!("{line}\n")).collect()))
    }

    fn absent(&self, error: io::Error) -> BackendError {
        let fault = match error.kind() {
            io::ErrorKind::PermissionDenied => Fault::Refused,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Fault::Full,
            _ => Fault::Unavailable,
        };
        BackendError::new(fault, format!("{}: {error}", self.options.path.display()))
    }
}

/// Appears whole, or not at all, and never in the place of another.
fn mark(root: impl AsFd, text: &str) -> io::Result<()> {
    let temporary = format!("{MARKER}.new");
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(fs::openat(&root, &temporary, flags, Mode::RUSR | Mode::WUSR)?);
    writeln!(
        file,
        "# This directory is a backend of an s3-orchestrator node. Without this file it is not used."
    )?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    match fs::renameat_with(&root, &temporary, &root, MARKER, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS) => fs::renameat(&root, &temporary, &root, MARKER)?,
        renamed => renamed?,
    }
    File::from(fs::openat(&root, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
        .sync_all()
}
