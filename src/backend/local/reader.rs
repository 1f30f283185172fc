//! A replica on its way out of a file: one piece is read ahead of whoever takes them.

use super::StoredFile;
use super::tree::Tree;
use crate::{Answer, BackendError, Fault, Reader, Result};
use bytes::{Bytes, BytesMut};
use std::io;
use std::sync::Arc;
use tokio::task::JoinHandle;
use types::ByteRange;

/// Long enough that handing it to another thread costs little.
const PIECE_BYTES: u64 = 512 << 10;

pub struct FileReader {
    tree: Arc<Tree>,
    file: Arc<StoredFile>,
    rest: ByteRange,
    ahead: Option<JoinHandle<io::Result<Bytes>>>,
}

impl FileReader {
    pub fn new(tree: Arc<Tree>, file: StoredFile, range: ByteRange) -> Self {
        let mut reader = Self { tree, file: Arc::new(file), rest: range, ahead: None };
        reader.read_ahead();
        reader
    }

    fn read_ahead(&mut self) {
        if self.rest.is_empty() {
            return;
        }
        let (offset, len) = (self.rest.start, self.rest.len().min(PIECE_BYTES));
        self.rest.start += len;
        let (tree, file) = (Arc::clone(&self.tree), Arc::clone(&self.file));
        self.ahead = Some(tokio::task::spawn_blocking(move || {
            let len = usize::try_from(len).map_err(io::Error::other)?;
            let mut piece = BytesMut::zeroed(len);
            file.read_exact_at(&mut piece, offset)?;
            tree.meter.received(len);
            Ok(piece.freeze())
        }));
    }

    async fn take(&mut self) -> Result<Option<Bytes>> {
        let Some(ahead) = self.ahead.take() else { return Ok(None) };
        let piece =
            ahead.await.map_err(|error| BackendError::new(Fault::Unavailable, error.to_string()))??;
        self.read_ahead();
        Ok(Some(piece))
    }
}

impl Reader for FileReader {
    fn next(&mut self) -> Answer<'_, Option<Bytes>> {
        Box::pin(self.take())
    }
}
