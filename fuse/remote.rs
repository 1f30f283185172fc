//! Bytes that lie behind a network: fetched in windows that grow while somebody reads on, the next one while this
//! one is read.

use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use store::OpenObject;
use tokio::sync::OnceCell;
use types::ByteRange;

use crate::errno::{self, Answer};
use crate::handle::joined;

/// Of a first read, and of one somewhere else: whole chunks, since these are what is verified.
const FIRST_BYTES: u64 = 128 << 10;
const MAX_BYTES: u64 = 4 << 20;
/// What one handle keeps: the kernel asks a little out of order.
const MAX_WINDOWS: usize = 4;
/// What all windows together hold; with more, none grows.
const MAX_HELD_BYTES: u64 = 256 << 20;

static HELD_BYTES: AtomicU64 = AtomicU64::new(0);

/// What one handle has fetched of its object.
pub struct Windows {
    opened: OpenObject,
    /// The ones that were used last are behind.
    kept: Mutex<VecDeque<Arc<Window>>>,
}

struct Window {
    range: ByteRange,
    opened: OpenObject,
    bytes: OnceCell<Bytes>,
}

impl Windows {
    pub fn new(opened: OpenObject) -> Self {
        Self { opened, kept: Mutex::new(VecDeque::new()) }
    }

    pub fn opened(&self) -> &OpenObject {
        &self.opened
    }

    pub async fn read(&self, range: ByteRange) -> Answer<Vec<Bytes>> {
        let (mut at, mut pieces) = (range.start, Vec::new());
        while at < range.end {
            let (window, next) = self.at(at);
            if let Some(next) = next {
                // Whoever reads it says what went wrong.
                tokio::spawn(async move { next.bytes().await.map(drop) });
            }
            let bytes = match window.bytes().await {
                Ok(bytes) => bytes,
                Err(error) => {
                    self.drop_window(&window);
                    return Err(error);
                }
            };
            let end = window.range.end.min(range.end);
            let index = |at: u64| usize::try_from(at - window.range.start).unwrap_or(usize::MAX);
            pieces.push(bytes.slice(index(at)..index(end)));
            at = end;
        }
        Ok(pieces)
    }

    /// The window that has the byte at `at`; and the next one, if somebody reads on and it was not begun.
    fn at(&self, at: u64) -> (Arc<Window>, Option<Arc<Window>>) {
        let mut kept = self.kept.lock();
        let found = kept.iter().position(|window| window.range.start <= at && at < window.range.end);
        let reads_on = found.is_some() || kept.iter().any(|window| window.range.end == at);
        let window = match found.and_then(|found| kept.remove(found)) {
            Some(window) => window,
            None => {
                let before = kept.iter().find(|window| window.range.end == at).map(|w| w.range.len());
                let start = before.map_or(at / FIRST_BYTES * FIRST_BYTES, |_| at);
                Arc::new(Window::new(&self.opened, start, before.map_or(FIRST_BYTES, grown)))
            }
        };
        let next_at = window.range.end;
        let is_new = !kept.iter().any(|kept| kept.range.start == next_at);
        let wanted = reads_on && is_new && next_at < self.opened.object().size;
        let next = wanted.then(|| Arc::new(Window::new(&self.opened, next_at, grown(window.range.len()))));
        kept.extend(next.clone());
        kept.push_back(Arc::clone(&window));
        while kept.len() > MAX_WINDOWS {
            kept.pop_front();
        }
        (window, next)
    }

    fn drop_window(&self, window: &Arc<Window>) {
        self.kept.lock().retain(|kept| !Arc::ptr_eq(kept, window));
    }
}

fn grown(bytes: u64) -> u64 {
    match HELD_BYTES.load(Ordering::Relaxed) < MAX_HELD_BYTES {
        true => (bytes * 2).clamp(FIRST_BYTES, MAX_BYTES),
        false => FIRST_BYTES,
    }
}

impl Window {
    fn new(opened: &OpenObject, start: u64, bytes: u64) -> Self {
        let range = ByteRange { start, end: (start + bytes).min(opened.object().size) };
        HELD_BYTES.fetch_add(range.len(), Ordering::Relaxed);
        Self { range, opened: opened.clone(), bytes: OnceCell::new() }
    }

    /// Fetched once, whoever asks first. One that failed is tried again by who asks next.
    async fn bytes(&self) -> Answer<Bytes> {
        self.bytes.get_or_try_init(|| self.fetch()).await.cloned()
    }

    async fn fetch(&self) -> Answer<Bytes> {
        let mut reader = self.opened.read(self.range);
        let mut pieces = Vec::new();
        while let Some(piece) = reader.next().await {
            pieces.push(piece.map_err(errno::of)?);
        }
        Ok(joined(pieces))
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        HELD_BYTES.fetch_sub(self.range.len(), Ordering::Relaxed);
    }
}
