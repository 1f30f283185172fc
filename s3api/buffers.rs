//! Memory for bodies under way: bounded, whatever many clients send or take at a time.
//!
//! A request asks for what it will hold before it reads its body or sends an object. Where there is
//! no room it waits a moment for others to end, then it is told to slow down. Small bodies need no
//! asking: the limit of requests in flight bounds them.

use crate::error::{Result, S3Error};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

const UNIT_BYTES: u64 = 64 << 10;
/// Longer, and the client would rather hear that it should come back.
const PATIENCE: Duration = if cfg!(test) { Duration::from_millis(50) } else { Duration::from_secs(5) };
/// Windows that are hashed and written while one fills, beside what the socket has read.
const UPLOAD_BYTES: u64 = 6 << 18;
/// Pieces that wait for the client, and those that are being read ahead.
const DOWNLOAD_BYTES: u64 = 1 << 20;
/// A document as text and as a tree of elements.
const TREE_FACTOR: u64 = 8;

#[derive(Clone)]
pub struct Buffers {
    room: Arc<Semaphore>,
    units: u32,
}

/// Room that is held; dropping it gives it back.
pub struct Held {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Buffers {
    pub fn new(max_bytes: usize) -> Self {
        let units = u32::try_from(max_bytes as u64 / UNIT_BYTES).unwrap_or(u32::MAX).max(1);
        let permits = (units as usize).min(Semaphore::MAX_PERMITS);
        Self { room: Arc::new(Semaphore::new(permits)), units }
    }

    /// For a body on its way in; `None`: nobody knows how large it is.
    pub async fn for_upload(&self, size: Option<u64>) -> Result<Held> {
        self.take(size.map_or(UPLOAD_BYTES, |size| UPLOAD_BYTES.min(2 * size))).await
    }

    pub async fn for_download(&self, size: u64) -> Result<Held> {
        self.take(DOWNLOAD_BYTES.min(size)).await
    }

    /// Both at once: who held one and waited for the other could wait for ever.
    pub async fn for_copy(&self, size: u64) -> Result<Held> {
        self.take((UPLOAD_BYTES + DOWNLOAD_BYTES).min(3 * size)).await
    }

    pub async fn for_document(&self, size: u64) -> Result<Held> {
        self.take(size.saturating_mul(TREE_FACTOR)).await
    }

    #[cfg(test)]
    pub fn free_units(&self) -> (usize, u32) {
        (self.room.available_permits(), self.units)
    }

    async fn take(&self, bytes: u64) -> Result<Held> {
        if bytes <= UNIT_BYTES {
            return Ok(Held { _permit: None });
        }
        // What is larger than all there is gets all there is.
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX).min(self.units);
        let room = Arc::clone(&self.room).acquire_many_owned(units);
        match tokio::time::timeout(PATIENCE, room).await {
            Ok(Ok(permit)) => Ok(Held { _permit: Some(permit) }),
            _ => Err(S3Error::slow_down().because("no room for its buffers")),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::Code;

    #[tokio::test]
    async fn who_finds_no_room_is_told_to_slow_down() {
        let buffers = Buffers::new(2 << 20);
        let first = buffers.for_upload(Some(1 << 30)).await.unwrap();
        let refused = buffers.for_upload(None).await.err().unwrap();
        assert_eq!(refused.code, Code::SlowDown);
        assert!(refused.headers.iter().any(|(name, _)| *name == "retry-after"));
        buffers.for_download(1 << 16).await.unwrap();
        drop(first);
        buffers.for_upload(None).await.unwrap();
    }

    #[tokio::test]
    async fn a_document_larger_than_the_room_gets_all_of_it() {
        let buffers = Buffers::new(1 << 20);
        let held = buffers.for_document(4 << 20).await.unwrap();
        assert_eq!(buffers.room.available_permits(), 0);
        drop(held);
        assert_eq!(buffers.room.available_permits(), 16);
    }
}
