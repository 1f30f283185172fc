//! The trait over a tree of files, for the kinds that have one. All work on the disk is done on
//! threads that may block.

use super::StoredFile;
use super::reader::FileReader;
use super::tree::Tree;
use super::walk;
use super::writer::FileWriter;
use crate::disk::Marked;
use crate::meter::Meter;
use crate::{
    About, Answer, Backend, BackendError, Fault, Location, NewReplica, Page, Reader, Result, Usage, Writer,
};
use std::fmt;
use std::io;
use std::sync::Arc;
use types::{BlobId, ByteRange};

/// Where a kind's files are.
#[derive(Debug, Clone)]
pub enum Source {
    /// In the node's own data directory: without it there is no node.
    Always(Arc<Tree>),
    /// On a disk that may come and go.
    Marked(Arc<Marked>),
}

impl Source {
    /// Blocks while it looks for a disk that was not there.
    fn tree(&self) -> Result<Arc<Tree>> {
        match self {
            Self::Always(tree) => Ok(Arc::clone(tree)),
            Self::Marked(marked) => marked.tree(),
        }
    }

    /// Without looking.
    fn attached(&self) -> Option<Arc<Tree>> {
        match self {
            Self::Always(tree) => Some(Arc::clone(tree)),
            Self::Marked(marked) => marked.attached(),
        }
    }

    /// Runs `work` on this thread; a failure that says that the disk is gone is remembered.
    fn with<T>(&self, work: impl FnOnce(Arc<Tree>) -> Result<T>) -> Result<T> {
        let tree = self.tree()?;
        tree.meter.call();
        let done = work(tree);
        if let (Self::Marked(marked), Err(error)) = (self, &done)
            && error.fault == Fault::Unavailable
        {
            marked.look_again();
        }
        done
    }
}

/// A kind whose replicas are files.
pub trait Rooted: Send + Sync + fmt::Debug {
    fn source(&self) -> &Source;
    /// Needs no disk.
    fn location(&self, blob: BlobId) -> Location;
    fn meter(&self) -> &Meter;
    fn is_reserved(&self, location: &Location) -> bool;
}

/// Runs `work` on a thread that may block.
async fn on_disk<T, R>(backend: &R, work: impl FnOnce(Arc<Tree>) -> Result<T> + Send + 'static) -> Result<T>
where
    T: Send + 'static,
    R: Rooted + ?Sized,
{
    let source = backend.source().clone();
    let done = tokio::task::spawn_blocking(move || source.with(work)).await;
    done.map_err(|error| BackendError::new(Fault::Unavailable, error.to_string()))?
}

impl<R: Rooted> Backend for R {
    fn locate(&self, blob: BlobId, _readable: Option<&str>) -> Location {
        self.location(blob)
    }

    fn leaves_traces(&self) -> bool {
        self.source().attached().is_none_or(|tree| tree.leaves_traces())
    }

    fn is_remote(&self) -> bool {
        false
    }

    fn begin(&self, new: NewReplica) -> Answer<'_, Box<dyn Writer>> {
        let location = self.location(new.blob);
        Box::pin(on_disk(self, move |tree| {
            Ok(Box::new(FileWriter::begin(tree, location, new)?) as Box<dyn Writer>)
        }))
    }

    fn begin_aside(&self, location: Location, new: NewReplica) -> Answer<'_, Box<dyn Writer>> {
        Box::pin(on_disk(self, move |tree| {
            tree.make_way(&location)?;
            Ok(Box::new(FileWriter::begin(tree, location, new)?) as Box<dyn Writer>)
        }))
    }

    fn read<'a>(&'a self, location: &'a Location, range: ByteRange) -> Answer<'a, Box<dyn Reader>> {
        let location = location.clone();
        Box::pin(async move {
            let (tree, file) = on_disk(self, move |tree| {
                let file = tree.get(&location)?;
                file.must_hold(range)?;
                Ok((tree, file))
            })
            .await?;
            Ok(Box::new(FileReader::new(tree, file, range)) as Box<dyn Reader>)
        })
    }

    fn open_file(&self, location: &Location) -> Option<Result<StoredFile>> {
        let opened = self.source().with(|tree| Ok(tree.get(location)?));
        Some(opened)
    }

    fn remove<'a>(&'a self, locations: &'a [Location]) -> Answer<'a, Vec<Result<()>>> {
        let locations = locations.to_vec();
        Box::pin(on_disk(self, move |tree| {
            let removed = tree.remove(&locations).into_iter();
            Ok(removed.map(|result| result.map_err(BackendError::from)).collect())
        }))
    }

    fn abandon<'a>(&'a self, location: &'a Location) -> Answer<'a, ()> {
        let location = location.clone();
        Box::pin(on_disk(self, move |tree| Ok(tree.abandon(&location)?)))
    }

    fn head<'a>(&'a self, location: &'a Location) -> Answer<'a, About> {
        let location = location.clone();
        Box::pin(on_disk(self, move |tree| walk::about(&tree, &location)))
    }

    fn list<'a>(&'a self, prefix: &'a str, after: Option<&'a Location>, limit: usize) -> Answer<'a, Page> {
        let (prefix, after) = (prefix.to_owned(), after.cloned());
        Box::pin(on_disk(self, move |tree| {
            walk::page(&tree, &prefix, after.as_ref(), limit.max(1)).map_err(gone)
        }))
    }

    fn is_reserved(&self, location: &Location) -> bool {
        Rooted::is_reserved(self, location)
    }

    fn probe(&self) -> Answer<'_, ()> {
        Box::pin(async {
            if let Source::Marked(marked) = self.source() {
                marked.look_again();
            }
            on_disk(self, |tree| tree.free_bytes().map(drop).map_err(gone)).await
        })
    }

    fn free_bytes(&self) -> Option<u64> {
        self.source().attached()?.free_bytes().ok()
    }

    fn usage(&self) -> Usage {
        self.meter().usage()
    }
}

/// The whole tree is asked for: what is absent is the backend.
fn gone(error: io::Error) -> BackendError {
    BackendError::new(Fault::Unavailable, error.to_string())
}
