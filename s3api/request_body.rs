//! The body of a request on its way in: counted, and handed back when nobody read it to its end.

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use parking_lot::Mutex;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

/// What the server keeps of a body while the handler owns it.
#[derive(Default)]
pub(crate) struct BodyAccount {
    bytes: AtomicU64,
    polled: AtomicBool,
    unread: Mutex<Option<Incoming>>,
}

impl BodyAccount {
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether anybody asked for a piece: from then on hyper has sent `100 Continue`.
    pub(crate) fn polled(&self) -> bool {
        self.polled.load(Ordering::Relaxed)
    }

    /// What the handler dropped before the end.
    pub(crate) fn take_unread(&self) -> Option<Incoming> {
        self.unread.lock().take()
    }

    pub(crate) fn count(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

enum Content {
    Incoming(Incoming, Arc<BodyAccount>),
    /// Made by hand, for tests.
    Bytes(Bytes),
    Done,
}

/// The first poll makes hyper send `100 Continue` to a client that waits for it: look at
/// everything else first.
pub struct RequestBody(Content);

impl RequestBody {
    /// The account is `None` where there is no body: nothing to count, nothing to drain.
    pub(crate) fn new(incoming: Incoming) -> (Self, Option<Arc<BodyAccount>>) {
        if incoming.is_end_stream() {
            return (Self(Content::Done), None);
        }
        let account = Arc::new(BodyAccount::default());
        (Self(Content::Incoming(incoming, account.clone())), Some(account))
    }

    pub fn empty() -> Self {
        Self(Content::Done)
    }

    pub fn from_bytes(bytes: impl Into<Bytes>) -> Self {
        Self(Content::Bytes(bytes.into()))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let (incoming, account) = match &mut self.0 {
            Content::Incoming(incoming, account) => (incoming, account),
            Content::Bytes(bytes) if !bytes.is_empty() => {
                let bytes = std::mem::take(bytes);
                self.0 = Content::Done;
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            Content::Bytes(_) | Content::Done => return Poll::Ready(None),
        };
        account.polled.store(true, Ordering::Relaxed);
        let frame = ready!(Pin::new(incoming).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => account.count(frame.data_ref().map_or(0, Bytes::len)),
            // Neither the end nor an error leaves anything to drain.
            None | Some(Err(_)) => self.0 = Content::Done,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Content::Incoming(incoming, _) => incoming.is_end_stream(),
            Content::Bytes(bytes) => bytes.is_empty(),
            Content::Done => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Content::Incoming(incoming, _) => incoming.size_hint(),
            Content::Bytes(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Done => SizeHint::with_exact(0),
        }
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if let Content::Incoming(incoming, account) = std::mem::replace(&mut self.0, Content::Done)
            && !incoming.is_end_stream()
        {
            *account.unread.lock() = Some(incoming);
        }
    }
}
