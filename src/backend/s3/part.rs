//! The stretch of a body that one call sends: kept for retries where memory allows it, passed
//! on piece by piece where it does not.

use super::{Inner, KEPT_UNIT_BYTES};
use crate::{BackendError, Fault, Result};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// Pieces between a writer and a socket.
const WINDOW_PIECES: usize = 1;
/// Of a body that is passed on, at a time: what waits is a part of what is being sent, mostly.
const PASSED_BYTES: usize = 64 << 10;

/// Pieces that are in memory, and the room that they take.
pub struct Kept {
    pub pieces: VecDeque<Bytes>,
    /// Held for as long as the pieces are.
    pub _room: Option<OwnedSemaphorePermit>,
}

pub enum Part {
    Kept { kept: Kept, filled: u64, len: u64 },
    Passing { sender: mpsc::Sender<Bytes>, filled: u64, len: u64 },
}

impl Part {
    pub fn kept(room: Option<OwnedSemaphorePermit>, len: u64) -> Self {
        Self::Kept { kept: Kept { pieces: VecDeque::new(), _room: room }, filled: 0, len }
    }

    pub fn passing(len: u64) -> (Self, mpsc::Receiver<Bytes>) {
        let (sender, receiver) = mpsc::channel(WINDOW_PIECES);
        (Self::Passing { sender, filled: 0, len }, receiver)
    }

    pub fn left(&self) -> u64 {
        let (Self::Kept { filled, len, .. } | Self::Passing { filled, len, .. }) = self;
        len - filled
    }

    /// Takes what fits, or some of it, and leaves the rest in `bytes`.
    pub async fn take(&mut self, bytes: &mut Bytes) -> Result<()> {
        let most = match self {
            Self::Kept { .. } => usize::MAX,
            Self::Passing { .. } => PASSED_BYTES,
        };
        let fits = usize::try_from(self.left()).unwrap_or(usize::MAX).min(bytes.len()).min(most);
        let piece = bytes.split_to(fits);
        match self {
            Self::Kept { kept, filled, .. } => {
                *filled += fits as u64;
                kept.pieces.push_back(piece);
                Ok(())
            }
            Self::Passing { sender, filled, .. } => {
                *filled += fits as u64;
                sender.send(piece).await.map_err(|_| stopped())
            }
        }
    }
}

/// The call behind it has failed; its own error says why.
pub fn stopped() -> BackendError {
    BackendError::new(Fault::Unavailable, "the upload has stopped")
}

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(KEPT_UNIT_BYTES)).unwrap_or(u32::MAX)
}

/// Room to keep `bytes`, if there is some now.
pub fn try_room(inner: &Inner, bytes: u64) -> Option<OwnedSemaphorePermit> {
    Arc::clone(&inner.kept).try_acquire_many_owned(units(bytes)).ok()
}

/// Waits for room.
pub async fn room(inner: &Inner, bytes: u64) -> Result<OwnedSemaphorePermit> {
    let acquired = Arc::clone(&inner.kept).acquire_many_owned(units(bytes)).await;
    acquired.map_err(|_| stopped())
}
