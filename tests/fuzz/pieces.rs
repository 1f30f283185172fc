//! Bytes that arrive in pieces.

use bytes::Bytes;
use http_body::{Body, Frame};
use s3api::form::Pieces;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A body that was cut.
pub struct Cut(VecDeque<Bytes>);

impl Cut {
    /// Pieces of `size` bytes; 0 is one piece.
    pub fn into_pieces_of(size: usize, bytes: &[u8]) -> Self {
        Self(cut(bytes, size).map(Bytes::copy_from_slice).collect())
    }
}

pub fn cut(bytes: &[u8], size: usize) -> impl Iterator<Item = &[u8]> {
    bytes.chunks(if size == 0 { bytes.len().max(1) } else { size })
}

impl Body for Cut {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.get_mut().0.pop_front().map(|piece| Ok(Frame::data(piece))))
    }
}

impl Pieces for Cut {
    async fn next_piece(&mut self) -> s3api::error::Result<Option<Bytes>> {
        Ok(self.0.pop_front())
    }
}

/// Runs what needs a clock for its timeouts; nothing here ever waits.
pub fn run<T>(work: impl Future<Output = T>) -> T {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime");
    }
    RUNTIME.with(|runtime| runtime.block_on(work))
}
