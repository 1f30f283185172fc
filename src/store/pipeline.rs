//! Windows of a body on their way through its digests and into its file.
//!
//! MD5 has a lane of its own, the rest another: each works through its windows in order, and neither waits for the
//! other. What bounds the memory is the number of windows that are not through both.

use backend::{Local, NewFile};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

use crate::ingest::Sums;
use crate::md5::Md5;
use crate::{Promised, StoreError};

/// Windows under way, beside the one that fills.
const DEPTH: usize = 4;

struct Window {
    bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

trait Work: Send + 'static {
    fn take(&mut self, bytes: &Bytes) -> io::Result<()>;
}

impl Work for Md5 {
    fn take(&mut self, bytes: &Bytes) -> io::Result<()> {
        self.update(bytes);
        Ok(())
    }
}

/// All but MD5.
struct Rest {
    /// The data directory's file, if the body goes there.
    file: Option<Arc<NewFile>>,
    local: Arc<Local>,
    offset: u64,
    sums: Sums,
}

impl Work for Rest {
    fn take(&mut self, bytes: &Bytes) -> io::Result<()> {
        if let Some(file) = &self.file {
            file.write_at(bytes, self.offset)?;
            self.local.sync_beside(file, &Handle::current());
        }
        self.offset += bytes.len() as u64;
        self.sums.update(bytes);
        Ok(())
    }
}

#[derive(Default)]
struct Queue {
    windows: VecDeque<Arc<Window>>,
    /// Somebody works, and will look here once more.
    busy: bool,
}

/// Whoever works on a queue. However that ends, nothing is left waiting in it.
struct Turn(Arc<Mutex<Queue>>);

impl Turn {
    fn begin(queue: &Arc<Mutex<Queue>>, first: Arc<Window>) -> Self {
        let mut held = queue.lock();
        held.windows.push_back(first);
        held.busy = true;
        Self(Arc::clone(queue))
    }

    fn next(&self) -> Option<Arc<Window>> {
        let mut queue = self.0.lock();
        let next = queue.windows.pop_front();
        queue.busy = next.is_some();
        next
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut queue = self.0.lock();
        queue.busy = false;
        queue.windows.clear();
    }
}

struct Lane<W> {
    queue: Arc<Mutex<Queue>>,
    idle: Option<W>,
    running: Option<JoinHandle<io::Result<W>>>,
}

impl<W: Work> Lane<W> {
    fn new(work: W) -> Self {
        Self { queue: Arc::default(), idle: Some(work), running: None }
    }

    async fn feed(&mut self, window: Arc<Window>) -> Result<(), StoreError> {
        {
            let mut queue = self.queue.lock();
            if queue.busy {
                queue.windows.push_back(window);
                return Ok(());
            }
        }
        let mut work = self.settle().await?;
        let turn = Turn::begin(&self.queue, window);
        self.running = Some(tokio::task::spawn_blocking(move || {
            while let Some(window) = turn.next() {
                work.take(&window.bytes)?;
            }
            Ok(work)
        }));
        Ok(())
    }

    /// Waits until its windows are through.
    async fn settle(&mut self) -> Result<W, StoreError> {
        if let Some(running) = self.running.take() {
            let work = running.await.map_err(|error| StoreError::Storage(error.to_string()))?;
            self.idle = Some(work?);
        }
        self.idle.take().ok_or_else(|| StoreError::Storage("a body goes on after it failed".to_owned()))
    }
}

impl<W> Drop for Lane<W> {
    fn drop(&mut self) {
        // The client left: what waits is not worth the work.
        self.queue.lock().windows.clear();
    }
}

pub struct Pipeline {
    room: Arc<Semaphore>,
    md5: Lane<Md5>,
    rest: Lane<Rest>,
}

impl Pipeline {
    pub fn new(local: Arc<Local>, file: Option<Arc<NewFile>>, promised: &Promised) -> Self {
        let rest = Rest { file, local, offset: 0, sums: Sums::new(promised) };
        Self { room: Arc::new(Semaphore::new(DEPTH)), md5: Lane::new(Md5::new()), rest: Lane::new(rest) }
    }

    /// Every call but the last brings whole chunks.
    pub async fn feed(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        let room = Arc::clone(&self.room).acquire_owned().await;
        let room = room.map_err(|error| StoreError::Storage(error.to_string()))?;
        let window = Arc::new(Window { bytes, _room: room });
        self.md5.feed(Arc::clone(&window)).await?;
        self.rest.feed(window).await
    }

    pub async fn finish(mut self, last: Bytes) -> Result<(Md5, Sums, Option<Arc<NewFile>>), StoreError> {
        if !last.is_empty() {
            self.feed(last).await?;
        }
        let (md5, rest) = (self.md5.settle().await?, self.rest.settle().await?);
        Ok((md5, rest.sums, rest.file))
    }
}
