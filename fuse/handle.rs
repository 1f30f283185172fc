//! What processes have open. A file's handle keeps the version that it opened.

use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use store::{Held, OpenObject, Store};
use types::ByteRange;

use crate::directory::{Entry, Position};
use crate::errno::{self, Answer, Errno};
use crate::remote::Windows;
use crate::staged::Staged;

/// What is verified at a time: smaller reads are served from one of these.
const WINDOW_BYTES: u64 = 128 << 10;

pub enum Handle {
    File(FileHandle),
    Staged(StagedHandle),
    Directory(Mutex<DirectoryHandle>),
}

pub struct FileHandle {
    held: Held,
    size: u64,
    opened: OnceLock<OpenObject>,
    /// The last window that a small read needed, and where it begins.
    window: Mutex<Option<(u64, Bytes)>>,
    /// Its bytes lie behind a network.
    remote: OnceLock<Windows>,
}

/// A file in the making, open for writing or reading.
pub struct StagedHandle {
    pub staged: Arc<Staged>,
    pub writes: bool,
    /// Every write goes to the end.
    pub appends: bool,
    /// The process that opened it.
    pub opener: u32,
}

#[derive(Default)]
pub struct DirectoryHandle {
    /// Where each page begins, as far as it is known.
    pub pages: Vec<Position>,
    /// The page that was read last, its number, and the changes that it saw.
    pub page: Option<(usize, u64, Arc<Vec<Entry>>)>,
}

impl Handle {
    /// Of a file that it may be written through.
    pub fn writer(&self) -> Answer<&StagedHandle> {
        match self {
            Self::Staged(file) if file.writes => Ok(file),
            _ => Err(Errno::BADF),
        }
    }
}

impl FileHandle {
    pub fn new(held: Held) -> Self {
        Self {
            size: held.size(),
            held,
            opened: OnceLock::new(),
            window: Mutex::new(None),
            remote: OnceLock::new(),
        }
    }

    /// Another handle of the same version.
    pub fn again(&self) -> Self {
        Self::new(self.held.clone())
    }

    pub fn held(&self) -> &Held {
        &self.held
    }

    /// Opened at the first read: many handles are closed without one, or read by the kernel alone.
    fn opened(&self, store: &Store) -> Answer<&OpenObject> {
        if let Some(opened) = self.opened.get() {
            return Ok(opened);
        }
        let opened = store.open_held(&self.held).map_err(errno::of)?;
        Ok(self.opened.get_or_init(|| opened))
    }

    /// `None` for what is smaller.
    pub fn opened_from(&self, store: &Store, bytes: u64) -> Answer<Option<&OpenObject>> {
        if self.size < bytes {
            return Ok(None);
        }
        self.opened(store).map(Some)
    }

    pub async fn verify(&self, store: &Store) -> Answer<()> {
        store.verify_plain(self.opened(store)?).await.map_err(errno::of)
    }

    /// Up to `size` bytes; fewer only at the end. Blocks, also for a network.
    pub fn read(&self, store: &Store, offset: u64, size: u32) -> Answer<Vec<Bytes>> {
        if let Some(pieces) = self.read_here(store, offset, size)? {
            return Ok(pieces);
        }
        let (opened, range) = self.range(store, offset, size)?;
        opened.read_now(range).map_err(errno::of)
    }

    /// As `read`, but `None` where it takes a network.
    pub fn read_here(&self, store: &Store, offset: u64, size: u32) -> Answer<Option<Vec<Bytes>>> {
        let (opened, range) = self.range(store, offset, size)?;
        let start = range.start / WINDOW_BYTES * WINDOW_BYTES;
        if self.remote.get().is_some() {
            return Ok(None);
        }
        let found = match range.end.saturating_sub(start) > WINDOW_BYTES {
            true => opened.read_here(range).map_err(errno::of)?,
            false => self.window(opened, start)?.map(|window| inside(&window, start, range)).transpose()?,
        };
        if found.is_none() {
            self.remote.get_or_init(|| Windows::new(opened.clone()));
        }
        Ok(found)
    }

    /// As `read`, where `read_here` said `None`.
    pub async fn fetch(&self, offset: u64, size: u32) -> Answer<Vec<Bytes>> {
        let windows = self.remote.get().ok_or(Errno::IO)?;
        windows.read(range_of(windows.opened(), offset, size)).await
    }

    fn range(&self, store: &Store, offset: u64, size: u32) -> Answer<(&OpenObject, ByteRange)> {
        let opened = self.opened(store)?;
        Ok((opened, range_of(opened, offset, size)))
    }

    fn window(&self, opened: &OpenObject, start: u64) -> Answer<Option<Bytes>> {
        let mut window = self.window.lock();
        if let Some((at, bytes)) = &*window
            && *at == start
        {
            return Ok(Some(bytes.clone()));
        }
        let end = (start + WINDOW_BYTES).min(opened.object().size).max(start);
        let Some(pieces) = opened.read_here(ByteRange { start, end }).map_err(errno::of)? else {
            return Ok(None);
        };
        let bytes = joined(pieces);
        *window = Some((start, bytes.clone()));
        Ok(Some(bytes))
    }
}

/// What of a read lies in the object.
fn range_of(opened: &OpenObject, offset: u64, size: u32) -> ByteRange {
    let end = opened.object().size;
    ByteRange { start: offset.min(end), end: offset.saturating_add(u64::from(size)).min(end) }
}

fn inside(window: &Bytes, start: u64, range: ByteRange) -> Answer<Vec<Bytes>> {
    let index = |at: u64| usize::try_from(at.saturating_sub(start)).map_err(|_| Errno::OVERFLOW);
    let inside = index(range.start)?..index(range.end)?;
    if inside.end > window.len() {
        return Err(Errno::IO);
    }
    Ok(vec![window.slice(inside)])
}

/// Without a copy, if it is one piece.
pub fn joined(mut pieces: Vec<Bytes>) -> Bytes {
    match (pieces.pop(), pieces.is_empty()) {
        (Some(only), true) => only,
        (last, _) => pieces.into_iter().chain(last).flatten().collect(),
    }
}

#[derive(Default)]
pub struct Handles {
    last: AtomicU64,
    open: Mutex<HashMap<u64, Arc<Handle>>>,
}

impl Handles {
    pub fn add(&self, handle: Handle) -> u64 {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        self.open.lock().insert(number, Arc::new(handle));
        number
    }

    pub fn get(&self, number: u64) -> Answer<Arc<Handle>> {
        self.open.lock().get(&number).cloned().ok_or(Errno::BADF)
    }

    pub fn remove(&self, number: u64) -> Option<Arc<Handle>> {
        self.open.lock().remove(&number)
    }

    pub fn len(&self) -> usize {
        self.open.lock().len()
    }
}
