//! One connection of HTTP/2: hyper's frames, our limits.
//!
//! What the guard does for HTTP/1 is done here by other means: frames end where they say, so only
//! the heads are checked (in `multiplexed.rs`), and the clock counts streams. A client whose answers do not move, all of them
//! together, loses the connection; one slow stream beside fast ones is its own affair.

use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::MissedTickBehavior;

use crate::connection::{Progress, unacknowledged};
use crate::exchange::{Exchanges, Line};
use crate::limits::Limits;
use crate::server::{Handler, Shared};
use crate::wire::Wire;

/// Requests of one connection at a time: as many as browsers open, more than SDKs do.
const MAX_STREAMS: u32 = 100;
/// What a client may send ahead of us, a stream and in all: memory that it can make us hold.
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
/// What waits in memory for a stream's client to read.
const MAX_SEND_BYTES: usize = 256 << 10;
/// Streams that a client opened and reset at once (CVE-2023-44487).
const MAX_RESET_STREAMS: usize = 20;
/// How long an idle client has to read our farewell.
const FAREWELL: Duration = Duration::from_secs(1);

pub(crate) async fn run<W: Wire, H: Handler>(
    wire: W,
    peer: SocketAddr,
    limits: Limits,
    shared: Arc<Shared<H>>,
) {
    let streams = Arc::new(Streams::new());
    let clock = Clock::new(&wire, limits, Arc::clone(&streams));
    let exchanges = Arc::new(Exchanges::new(&shared, peer, Arc::clone(&streams) as Arc<dyn Line>));
    let service = service_fn(move |request| exchanges.clone().answer(request));
    let metered = Metered { wire, streams };
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(MAX_SEND_BYTES)
        .max_header_list_size(u32::try_from(limits.max_head_bytes).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(MAX_RESET_STREAMS)
        .serve_connection(TokioIo::new(metered), service);
    drive(pin!(connection), clock, &shared).await;
}

/// Runs hyper until it ends or the clock runs out; dropping it closes the connection.
async fn drive<W, S, B, H>(
    mut connection: Pin<&mut http2::Connection<TokioIo<Metered<W>>, S, TokioExecutor>>,
    mut clock: Clock,
    shared: &Shared<H>,
) where
    W: Wire,
    S: hyper::service::HttpService<hyper::body::Incoming, ResBody = B>,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut tick = tokio::time::interval(clock.limits.tick());
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stop = pin!(shared.stop.notified());
    stop.as_mut().enable();
    let mut leaving = None;
    std::future::poll_fn(|cx| {
        if leaving.is_none() && (shared.stopping() || stop.as_mut().poll(cx).is_ready()) {
            // The grace period of the whole server bounds it.
            leaving = Some(Instant::now() + Duration::from_secs(86_400));
            connection.as_mut().graceful_shutdown();
        }
        if connection.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        while tick.poll_tick(cx).is_ready() {
            match clock.verdict() {
                Verdict::GoOn => {}
                Verdict::Idle if leaving.is_none() => {
                    leaving = Some(Instant::now() + FAREWELL);
                    connection.as_mut().graceful_shutdown();
                    cx.waker().wake_by_ref();
                }
                Verdict::Idle => {}
                Verdict::SlowReader => return Poll::Ready(()),
            }
            if leaving.is_some_and(|until| Instant::now() > until) {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    })
    .await;
}

/// What the exchanges of a connection and its clock know of each other.
struct Streams {
    born: Instant,
    open: AtomicUsize,
    /// Answers of which a piece is on its way and the next was not asked for.
    owed: AtomicUsize,
    /// Milliseconds since `born` when the last stream ended.
    quiet_since: AtomicU64,
    /// Bytes that the kernel, or TLS, took.
    written: AtomicU64,
}

impl Streams {
    fn new() -> Self {
        Self {
            born: Instant::now(),
            open: AtomicUsize::new(0),
            owed: AtomicUsize::new(0),
            quiet_since: AtomicU64::new(0),
            written: AtomicU64::new(0),
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Line for Streams {
    fn multiplexed(&self) -> bool {
        true
    }

    fn began(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    fn answered(&self) {
        self.quiet_since.store(self.now_ms(), Ordering::Relaxed);
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    fn handed_out(&self) {
        self.owed.fetch_add(1, Ordering::Relaxed);
    }

    fn asked_again(&self) {
        self.owed.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    GoOn,
    Idle,
    SlowReader,
}

struct Clock {
    limits: Limits,
    streams: Arc<Streams>,
    socket: std::os::fd::RawFd,
    progress: Progress,
}

impl Clock {
    fn new(wire: &impl Wire, limits: Limits, streams: Arc<Streams>) -> Self {
        let socket = std::os::fd::AsRawFd::as_raw_fd(wire.tcp());
        Self { limits, streams, socket, progress: Progress::default() }
    }

    fn verdict(&mut self) -> Verdict {
        let owed = self.streams.owed.load(Ordering::Relaxed) as u64;
        if owed > 0 {
            let taken = self.streams.written.load(Ordering::Relaxed);
            let taken = taken.saturating_sub(unacknowledged(self.socket));
            // Each stream has a right to be slow, not to stand still on another's account.
            let least = self.limits.min_body_bytes_per_second.saturating_mul(owed);
            let slow = self.progress.is_slow(taken, least, self.limits.body_timeout);
            return if slow { Verdict::SlowReader } else { Verdict::GoOn };
        }
        self.progress = Progress::default();
        let quiet = self.streams.now_ms().saturating_sub(self.streams.quiet_since.load(Ordering::Relaxed));
        let idle = self.streams.open.load(Ordering::Relaxed) == 0
            && u128::from(quiet) >= self.limits.idle_timeout.as_millis();
        if idle { Verdict::Idle } else { Verdict::GoOn }
    }
}

/// Counts what is written.
struct Metered<W> {
    wire: W,
    streams: Arc<Streams>,
}

impl<W> Metered<W> {
    fn count(&self, result: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = result {
            self.streams.written.fetch_add(*bytes as u64, Ordering::Relaxed);
        }
    }
}

impl<W: Wire> AsyncRead for Metered<W> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().wire).poll_read(cx, out)
    }
}

impl<W: Wire> AsyncWrite for Metered<W> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let metered = self.get_mut();
        let result = Pin::new(&mut metered.wire).poll_write(cx, bytes);
        metered.count(&result);
        result
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let metered = self.get_mut();
        let result = Pin::new(&mut metered.wire).poll_write_vectored(cx, slices);
        metered.count(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.wire.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().wire).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().wire).poll_shutdown(cx)
    }
}
