//! A replica on its way into a file: one piece is written while the next comes in.

use super::NewFile;
use super::tree::{Tree, of_writing};
use crate::{Answer, BackendError, Fault, Location, NewReplica, Pairs, Result, Stored, Writer};
use bytes::Bytes;
use std::io;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

pub struct FileWriter {
    tree: Arc<Tree>,
    location: Location,
    new: NewReplica,
    file: Arc<NewFile>,
    size: u64,
    running: Option<JoinHandle<io::Result<()>>>,
}

impl FileWriter {
    /// Blocks.
    pub fn begin(tree: Arc<Tree>, location: Location, new: NewReplica) -> Result<Self> {
        let file = Arc::new(tree.create(&location).map_err(of_writing)?);
        Ok(Self { tree, location, new, file, size: 0, running: None })
    }

    async fn settle(&mut self) -> Result<()> {
        let Some(running) = self.running.take() else { return Ok(()) };
        let written =
            running.await.map_err(|error| BackendError::new(Fault::Unavailable, error.to_string()))?;
        written.map_err(of_writing)
    }

    async fn push(&mut self, bytes: Bytes) -> Result<()> {
        self.settle().await?;
        let offset = self.size;
        self.size += bytes.len() as u64;
        self.new.must_hold_at_most(self.size)?;
        let (tree, file) = (Arc::clone(&self.tree), Arc::clone(&self.file));
        self.running = Some(tokio::task::spawn_blocking(move || {
            tree.meter.sent(bytes.len());
            file.write_at(&bytes, offset)?;
            Tree::sync_beside(&tree, &file, &Handle::current());
            Ok(())
        }));
        Ok(())
    }

    async fn publish(mut self, last: Pairs) -> Result<Stored> {
        self.settle().await?;
        self.new.must_hold(self.size)?;
        self.new.identity.extend(last);
        let publishing = tokio::task::spawn_blocking(move || {
            self.file.describe(&self.new);
            self.tree.publish(&self.location, &self.file).map_err(of_writing)?;
            Ok(Stored { location: self.location, size: self.size, etag: None })
        });
        publishing.await.map_err(|error| BackendError::new(Fault::Unavailable, error.to_string()))?
    }
}

impl Writer for FileWriter {
    fn location(&self) -> &Location {
        &self.location
    }

    fn write(&mut self, bytes: Bytes) -> Answer<'_, ()> {
        Box::pin(self.push(bytes))
    }

    fn finish(self: Box<Self>, last: Pairs) -> Answer<'static, Stored> {
        Box::pin(self.publish(last))
    }
}
