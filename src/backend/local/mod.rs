//! Blobs as files of exactly their bytes, under sharded names made from their ids.
//!
//! `tree.rs` has the rules of writing; [`Local`] is the backend in the node's own data directory,
//! with the calls that need no async beside those of the trait; `disk.rs` one floor up is the same
//! on any directory.

mod identity;
mod new_file;
mod reader;
mod rooted;
mod stored;
pub(crate) mod tree;
mod walk;
mod writer;

pub use new_file::NewFile;
pub(crate) use rooted::{Rooted, Source};
pub use stored::StoredFile;
pub(crate) use walk::MARKER;

use crate::meter::Meter;
use crate::{Location, Result};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::runtime::Handle;
use tree::Tree;
use types::BlobId;

/// Which syncs are done; a rig that tests for lost writes leaves one out to prove that it sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyncRule {
    pub file: bool,
    pub directory: bool,
}

#[derive(Debug)]
pub struct Local {
    tree: Arc<Tree>,
    source: Source,
}

impl Local {
    /// Creates what is missing; the directories are durable when it returns.
    pub fn open(root: &Path, sync: SyncRule) -> io::Result<Self> {
        std::fs::create_dir_all(root)?;
        let tree = Arc::new(Tree::open(File::open(root)?.into(), root, "", sync, Arc::default())?);
        if let Some(parent) = root.parent() {
            File::open(parent)?.sync_all()?;
        }
        Ok(Self { source: Source::Always(Arc::clone(&tree)), tree })
    }

    /// For messages: where a blob's file is, or would be.
    pub fn path(&self, id: BlobId) -> PathBuf {
        self.tree.path().join(self.tree.location(id).as_str())
    }

    /// A file without a name for a blob's bytes.
    pub fn create(&self, id: BlobId) -> io::Result<NewFile> {
        self.tree.create(&self.tree.location(id))
    }

    /// As `create`, where nobody has noted yet that there will be such a blob: a crash must leave nothing. Not every
    /// one may be published.
    pub fn stage(&self, id: BlobId) -> io::Result<NewFile> {
        self.tree.create_unannounced(&self.tree.location(id))
    }

    /// Makes the file's bytes and its name durable. Before this returns, an intent must be too.
    pub fn publish(&self, id: BlobId, new: &NewFile) -> io::Result<()> {
        self.tree.publish(&self.tree.location(id), new)
    }

    /// To be called behind writes: begins a sync, if one is due, while more is written.
    pub fn sync_beside(&self, new: &Arc<NewFile>, runtime: &Handle) {
        Tree::sync_beside(&self.tree, new, runtime);
    }

    pub fn get(&self, id: BlobId) -> io::Result<StoredFile> {
        self.tree.get(&self.tree.location(id))
    }

    /// Whether a sync has failed since the start: then nothing is written or deleted any more.
    pub fn is_fenced(&self) -> bool {
        self.tree.is_fenced()
    }

    /// Moves a file that nobody knows to `set-aside` beside the blobs, for a person to look at.
    pub fn set_aside(&self, file: Result<BlobId, &Path>) -> io::Result<PathBuf> {
        let file = file.map_or_else(Path::to_owned, |id| self.path(id));
        let attic = self.tree.path().with_file_name("set-aside");
        std::fs::create_dir_all(&attic)?;
        let name = file.file_name().ok_or_else(|| io::Error::other("a file without a name"))?;
        let target = attic.join(name);
        if target.exists() {
            return Err(io::Error::from(io::ErrorKind::AlreadyExists));
        }
        std::fs::rename(&file, &target)?;
        for directory in [Some(attic.as_path()), file.parent()].into_iter().flatten() {
            File::open(directory)?.sync_all()?;
        }
        Ok(target)
    }

    /// Deletes files durably; one that is not there is deleted already.
    pub fn remove(&self, ids: &[BlobId]) -> io::Result<()> {
        let locations: Vec<_> = ids.iter().map(|id| self.tree.location(*id)).collect();
        self.tree.remove(&locations).into_iter().collect()
    }

    /// Every file and its size; names that are no blob's come as `Err`.
    pub fn files(&self, visit: &mut dyn FnMut(Result<BlobId, PathBuf>, u64)) -> io::Result<()> {
        walk::all(&self.tree, &mut |file| {
            let foreign = || self.tree.path().join(file.location.as_str());
            visit(self.tree.blob_of(file.location.as_str()).ok_or_else(foreign), file.size);
        })
    }
}

impl Rooted for Local {
    fn source(&self) -> &Source {
        &self.source
    }

    fn location(&self, blob: BlobId) -> Location {
        self.tree.location(blob)
    }

    fn meter(&self) -> &Meter {
        &self.tree.meter
    }

    fn is_reserved(&self, _: &Location) -> bool {
        true
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
