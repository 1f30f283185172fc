//! The socket as hyper sees it: nothing but whole, checked heads, each followed by its body.
//!
//! The guard reads ahead of hyper. A head is held until it is complete and [`head::check`] found it
//! sound; a body is passed on in place, counted, never copied. The next head waits until the answer
//! before it is under way, so hyper holds one request at a time, and the end of file that hyper gets
//! in place of a refused head cuts off no earlier answer. What the client is told of a refusal is
//! written by the connection, after hyper is done.

use bytes::{Buf, BytesMut};
use parking_lot::Mutex;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::error::S3Error;
use crate::exchange::Line;
use crate::framing::Framing;
use crate::head::{self, Extent};
use crate::wire::Wire;

/// Read at once into the guard's own buffer: a head with room to spare.
const READ_BYTES: usize = 4096;
/// How much of a refused head is kept, to answer with its request id.
const KEPT_BYTES: usize = 4096;

/// What the guard, the exchange and the connection's clock know of each other.
pub(crate) struct Pulse {
    born: Instant,
    /// A request was passed on and its answer is not yet with hyper.
    in_flight: AtomicBool,
    gate: Mutex<Option<Waker>>,
    /// Milliseconds since `born` when the connection last became quiet.
    quiet_since: AtomicU64,
    /// Milliseconds since `born`, plus one, when an unfinished head began; 0: there is none.
    head_since: AtomicU64,
    /// Bytes that the kernel took.
    written: AtomicU64,
    /// The kernel takes no more: the client is not reading.
    blocked: AtomicBool,
    /// An answer broke off in its body.
    cut: AtomicBool,
}

impl Pulse {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            born: Instant::now(),
            in_flight: AtomicBool::new(false),
            gate: Mutex::new(None),
            quiet_since: AtomicU64::new(0),
            head_since: AtomicU64::new(0),
            written: AtomicU64::new(0),
            blocked: AtomicBool::new(false),
            cut: AtomicBool::new(false),
        })
    }

    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn in_flight(&self) -> bool {
        self.in_flight.load(Ordering::Acquire)
    }

    pub(crate) fn quiet_ms(&self) -> u64 {
        self.now_ms().saturating_sub(self.quiet_since.load(Ordering::Relaxed))
    }

    /// For how long a head has been on its way.
    pub(crate) fn head_ms(&self) -> Option<u64> {
        let since = self.head_since.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.now_ms().saturating_sub(since))
    }

    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    pub(crate) fn blocked(&self) -> bool {
        self.blocked.load(Ordering::Relaxed)
    }

    pub(crate) fn was_cut_off(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
    }

    fn head_began(&self) {
        if self.head_since.load(Ordering::Relaxed) == 0 {
            self.head_since.store(self.now_ms() + 1, Ordering::Relaxed);
        }
    }

    fn head_passed(&self) {
        self.head_since.store(0, Ordering::Relaxed);
        self.in_flight.store(true, Ordering::Release);
    }

    /// Whether the gate is closed; if so, this task is woken when it opens.
    fn wait(&self, cx: &Context<'_>) -> bool {
        *self.gate.lock() = Some(cx.waker().clone());
        self.in_flight()
    }
}

impl Line for Pulse {
    /// The answer is with hyper, or will never be: the next head may pass.
    fn answered(&self) {
        self.quiet_since.store(self.now_ms(), Ordering::Relaxed);
        self.in_flight.store(false, Ordering::Release);
        if let Some(waker) = self.gate.lock().take() {
            waker.wake();
        }
    }

    fn cut_off(&self) {
        self.cut.store(true, Ordering::Relaxed);
    }
}

/// A head that hyper never saw.
pub(crate) struct Refused {
    pub(crate) error: S3Error,
    /// Its beginning, as far as it came.
    pub(crate) head: Vec<u8>,
}

enum State {
    /// Between requests. `blank`: the one empty line before a head was skipped.
    Head {
        scanned: usize,
        blank: bool,
    },
    Body(Framing),
    /// Nothing is passed on any more.
    Closed,
}

/// How a look at a buffer that should begin with a head went.
enum Look {
    Incomplete {
        scanned: usize,
    },
    /// One empty line before the request line is to be ignored (RFC 9112, section 2.2).
    Blank,
    Sound {
        head: usize,
        framing: Framing,
    },
    Refused(S3Error),
}

pub(crate) struct Guard<W> {
    wire: W,
    pulse: Arc<Pulse>,
    max_head_bytes: usize,
    state: State,
    /// Read, but not yet passed on; empty most of the time.
    held: BytesMut,
    /// The front of `held` that belongs to a checked head.
    approved: usize,
    refused: Option<Refused>,
    /// TLS holds bytes that the kernel does not take.
    unflushed: bool,
}

impl<W: Wire> Guard<W> {
    pub(crate) fn new(wire: W, max_head_bytes: usize, pulse: Arc<Pulse>) -> Self {
        let state = State::Head { scanned: 0, blank: false };
        let held = BytesMut::new();
        Self { wire, pulse, max_head_bytes, state, held, approved: 0, refused: None, unflushed: false }
    }

    pub(crate) fn into_parts(self) -> (W, Option<Refused>) {
        (self.wire, self.refused)
    }

    fn look(&self, buffer: &[u8], scanned: usize, blank: bool) -> Look {
        match buffer {
            [b'\r'] if !blank => return Look::Incomplete { scanned: 0 },
            [b'\r', b'\n', ..] if !blank => return Look::Blank,
            _ => {}
        }
        match head::extent(buffer, scanned) {
            Extent::Malformed => Look::Refused(head::malformed()),
            Extent::Whole(length) if length > self.max_head_bytes => Look::Refused(head::too_large()),
            Extent::Part(_) if buffer.len() >= self.max_head_bytes => Look::Refused(head::too_large()),
            Extent::Part(scanned) => Look::Incomplete { scanned },
            Extent::Whole(length) => match head::check(buffer.get(..length).unwrap_or_default()) {
                Ok(framing) => Look::Sound { head: length, framing },
                Err(error) => Look::Refused(error),
            },
        }
    }

    fn refuse(&mut self, error: S3Error, head: &[u8]) {
        let head = head.get(..head.len().min(KEPT_BYTES)).unwrap_or_default().to_vec();
        self.refused = Some(Refused { error, head });
        self.state = State::Closed;
    }

    fn begin_body(&mut self, framing: Framing) {
        self.pulse.head_passed();
        self.state =
            if framing.ended() { State::Head { scanned: 0, blank: false } } else { State::Body(framing) };
    }

    /// Takes from `bytes` what belongs to the body, and notices its end.
    fn count_body(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let State::Body(framing) = &mut self.state else { return Ok(0) };
        match framing.consume(bytes) {
            Ok(taken) => {
                if framing.ended() {
                    self.state = State::Head { scanned: 0, blank: false };
                }
                Ok(taken)
            }
            Err(_) => {
                self.state = State::Closed;
                Err(io::Error::new(io::ErrorKind::InvalidData, "malformed chunks"))
            }
        }
    }

    fn hand_over(&mut self, length: usize, out: &mut ReadBuf<'_>) -> usize {
        let length = length.min(out.remaining()).min(self.held.len());
        out.put_slice(self.held.get(..length).unwrap_or_default());
        self.held.advance(length);
        self.release();
        length
    }

    /// An idle connection keeps no buffer.
    fn release(&mut self) {
        if self.held.is_empty() {
            self.held = BytesMut::new();
        }
    }

    fn poll_hold(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut space = [MaybeUninit::uninit(); READ_BYTES];
        let mut buffer = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut self.wire).poll_read(cx, &mut buffer))?;
        self.held.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// Keeps what lies behind `end` in `out` for later.
    fn keep_rest(&mut self, out: &mut ReadBuf<'_>, end: usize) {
        self.held.extend_from_slice(out.filled().get(end..).unwrap_or_default());
        out.set_filled(end);
    }

    /// While a request is in flight, hyper reads only to see whether the client is still there.
    /// `Ready` is the end of file.
    fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.held.is_empty() {
            if ready!(self.poll_hold(cx))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
        if !self.pulse.wait(cx) {
            // Opened just now: come again at once.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// A head straight into hyper's buffer, where it comes in one piece. `Ready(true)`: passed on,
    /// or the end.
    fn poll_fresh_head(
        &mut self,
        cx: &mut Context<'_>,
        blank: bool,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<bool>> {
        let start = out.filled().len();
        ready!(Pin::new(&mut self.wire).poll_read(cx, out))?;
        let fresh = out.filled().get(start..).unwrap_or_default();
        if fresh.is_empty() {
            return Poll::Ready(Ok(true));
        }
        match self.look(fresh, 0, blank) {
            Look::Sound { head, framing } => {
                self.begin_body(framing);
                let rest = fresh.get(head..).unwrap_or_default();
                let end = start + head + self.count_body(rest).unwrap_or(0);
                self.keep_rest(out, end);
                Poll::Ready(Ok(true))
            }
            // Everything else is rare: continue with the bytes in our own buffer.
            _ => {
                self.keep_rest(out, start);
                Poll::Ready(Ok(false))
            }
        }
    }

    /// A head that came in pieces, or behind another request. `Ready(true)`: go on.
    fn poll_held_head(
        &mut self,
        cx: &mut Context<'_>,
        scanned: usize,
        blank: bool,
    ) -> Poll<io::Result<bool>> {
        self.pulse.head_began();
        let held = std::mem::take(&mut self.held);
        let look = self.look(&held, scanned, blank);
        self.held = held;
        match look {
            Look::Sound { head, framing } => {
                self.approved = head;
                self.begin_body(framing);
            }
            Look::Refused(error) => {
                let held = std::mem::take(&mut self.held);
                self.refuse(error, &held);
            }
            Look::Blank => {
                self.held.advance(2);
                self.state = State::Head { scanned: 0, blank: true };
                self.release();
                // An empty line is no head: a connection may be idle behind it.
                self.pulse.head_since.store(0, Ordering::Relaxed);
            }
            Look::Incomplete { scanned } => {
                self.state = State::Head { scanned, blank };
                if ready!(self.poll_hold(cx))? == 0 {
                    // The client went away in the middle of a head.
                    self.state = State::Closed;
                }
            }
        }
        Poll::Ready(Ok(true))
    }

    fn poll_body(&mut self, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.held.is_empty() {
            let held = std::mem::take(&mut self.held);
            let window = held.get(..held.len().min(out.remaining())).unwrap_or_default();
            let counted = self.count_body(window);
            self.held = held;
            self.hand_over(counted?, out);
            return Poll::Ready(Ok(()));
        }
        let start = out.filled().len();
        ready!(Pin::new(&mut self.wire).poll_read(cx, out))?;
        let fresh = out.filled().get(start..).unwrap_or_default();
        match self.count_body(fresh) {
            Ok(taken) => self.keep_rest(out, start + taken),
            Err(error) => {
                out.set_filled(start);
                return Poll::Ready(Err(error));
            }
        }
        Poll::Ready(Ok(()))
    }

    fn wrote(&self, result: &Poll<io::Result<usize>>) {
        match result {
            Poll::Ready(Ok(bytes)) => {
                self.pulse.written.fetch_add(*bytes as u64, Ordering::Relaxed);
                self.pulse.blocked.store(false, Ordering::Relaxed);
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.pulse.blocked.store(true, Ordering::Relaxed),
        }
    }
}

impl<W: Wire> Guard<W> {
    /// A socket in the clear has nothing to flush, and must not look as if it had been read from.
    fn flushed(&mut self, pending: bool) {
        if pending || self.unflushed {
            self.pulse.blocked.store(pending, Ordering::Relaxed);
        }
        self.unflushed = pending;
    }
}

impl<W: Wire> AsyncRead for Guard<W> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let guard = self.get_mut();
        if out.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            if guard.approved > 0 {
                guard.approved -= guard.hand_over(guard.approved, out);
                return Poll::Ready(Ok(()));
            }
            match guard.state {
                State::Closed => return Poll::Ready(Ok(())),
                State::Body(_) => return guard.poll_body(cx, out),
                State::Head { .. } if guard.pulse.in_flight() => return guard.poll_ahead(cx),
                State::Head { blank, .. } if guard.held.is_empty() => {
                    if ready!(guard.poll_fresh_head(cx, blank, out))? {
                        return Poll::Ready(Ok(()));
                    }
                }
                State::Head { scanned, blank } => {
                    ready!(guard.poll_held_head(cx, scanned, blank))?;
                }
            }
        }
    }
}

impl<W: Wire> AsyncWrite for Guard<W> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let guard = self.get_mut();
        let result = Pin::new(&mut guard.wire).poll_write(cx, bytes);
        guard.wrote(&result);
        result
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let guard = self.get_mut();
        let result = Pin::new(&mut guard.wire).poll_write_vectored(cx, slices);
        guard.wrote(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.wire.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let guard = self.get_mut();
        let result = Pin::new(&mut guard.wire).poll_flush(cx);
        guard.flushed(result.is_pending());
        result
    }

    /// The connection ends the stream itself, since it may have something to add.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
