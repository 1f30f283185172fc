//! Bodies on their way to a provider: pieces as they came, never copied together.

use super::call::Progress;
use crate::meter::Meter;
use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::mpsc;

/// What one write to the socket takes at most: so often is progress seen.
const FRAME_BYTES: usize = 64 << 10;

/// A body that is in memory, and can be sent again.
pub fn whole(pieces: &VecDeque<Bytes>, progress: Progress, meter: &Arc<Meter>) -> ByteStream {
    let left = pieces.iter().map(|piece| piece.len() as u64).sum();
    let source = Source::Memory(pieces.clone());
    stream(Outgoing { source, current: Bytes::new(), left, progress, meter: Arc::clone(meter) })
}

/// A body of `size` bytes that is still coming in, and can be sent once.
pub fn passing(
    pieces: mpsc::Receiver<Bytes>,
    size: u64,
    progress: Progress,
    meter: &Arc<Meter>,
) -> ByteStream {
    let source = Source::Channel(pieces);
    stream(Outgoing { source, current: Bytes::new(), left: size, progress, meter: Arc::clone(meter) })
}

fn stream(body: Outgoing) -> ByteStream {
    ByteStream::new(SdkBody::from_body_1_x(body))
}

enum Source {
    Memory(VecDeque<Bytes>),
    Channel(mpsc::Receiver<Bytes>),
}

impl Source {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        match self {
            Self::Memory(pieces) => Poll::Ready(pieces.pop_front()),
            Self::Channel(pieces) => pieces.poll_recv(context),
        }
    }
}

struct Outgoing {
    source: Source,
    current: Bytes,
    left: u64,
    progress: Progress,
    meter: Arc<Meter>,
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        while self.current.is_empty() {
            match self.source.poll_next(context) {
                Poll::Ready(Some(piece)) => self.current = piece,
                // Whoever writes has left: the request must not end as if it were whole.
                Poll::Ready(None) => return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into()))),
                Poll::Pending => {
                    self.progress.waiting();
                    return Poll::Pending;
                }
            }
        }
        let len = self.current.len().min(FRAME_BYTES);
        let frame = self.current.split_to(len);
        self.left = self.left.saturating_sub(len as u64);
        self.progress.moved();
        self.meter.sent(len);
        Poll::Ready(Some(Ok(Frame::data(frame))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
