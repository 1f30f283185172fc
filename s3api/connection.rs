//! One connection: hyper behind the guard, and a clock beside both.
//!
//! hyper knows no idle time, no slow reader and no half-sent head; the clock looks at the guard's
//! pulse a few times per timeout. Whatever ends the connection, its end is orderly: our answer
//! first, then our end of the stream, then a moment for the client to read it.

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::MissedTickBehavior;
use tokio_rustls::server::TlsStream;

use crate::audit::{Audit, Outcome};
use crate::error::{Code, S3Error};
use crate::exchange::{Exchanges, settle};
use crate::guard::{Guard, Pulse, Refused};
use crate::limits::{Limits, MAX_LINGER_BYTES, MAX_LINGER_TIME};
use crate::observer::Entry;
use crate::proxies::Remote;
use crate::server::{Handler, Shared};
use crate::tls::{Tls, is_http2};
use crate::wire::Wire;
use crate::{Edge, RequestId, TraceParent, http2};

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// hyper is done: end of file, `Connection: close`, or the order to stop.
    Orderly,
    /// The client went away in the middle of its request.
    Broken,
    /// The body of an answer broke off.
    Cut,
    Idle,
    SlowHead,
    SlowReader,
}

pub(crate) async fn run<H: Handler>(
    socket: TcpStream,
    peer: SocketAddr,
    limits: Limits,
    shared: Arc<Shared<H>>,
) {
    let Some(tls) = &shared.edge.tls else { return speak(socket, peer, limits, shared).await };
    match shake_hands(tls, socket, &shared).await {
        Some(stream) if is_http2(&stream) => http2::run(stream, peer, limits, shared).await,
        Some(stream) => speak(stream, peer, limits, shared).await,
        None => shared.edge.observer.connection(Entry::BadHandshake),
    }
}

/// A handshake is no request: the order to stop ends it.
async fn shake_hands<H>(tls: &Tls, socket: TcpStream, shared: &Shared<H>) -> Option<TlsStream<TcpStream>> {
    let stop = shared.stop.notified();
    if shared.stopping() {
        return None;
    }
    tokio::select! {
        stream = tls.accept(socket) => stream,
        () = stop => None,
    }
}

/// HTTP/1.
async fn speak<W: Wire, H: Handler>(wire: W, peer: SocketAddr, limits: Limits, shared: Arc<Shared<H>>) {
    let pulse = Pulse::new();
    let clock = Clock::new(wire.tcp(), limits, pulse.clone());
    let mut guard = Guard::new(wire, limits.max_head_bytes, pulse.clone());
    let exchanges = Arc::new(Exchanges::new(&shared, peer, pulse.clone()));
    let service = service_fn(move |request| exchanges.clone().answer(request));
    let end = {
        let connection = http1::Builder::new()
            // Our own clock does it, and tells the client.
            .header_read_timeout(None)
            .serve_connection(TokioIo::new(&mut guard), service);
        drive(pin!(connection), clock, &shared).await
    };
    let end = if pulse.was_cut_off() { End::Cut } else { end };
    let (wire, refused) = guard.into_parts();
    finish(end, wire, refused, &Teller { peer, limits, edge: &shared.edge }).await;
}

/// Runs hyper until it ends or the clock runs out.
async fn drive<W, S, B, H>(
    mut connection: Pin<&mut http1::Connection<TokioIo<&mut Guard<W>>, S>>,
    mut clock: Clock,
    shared: &Shared<H>,
) -> End
where
    W: Wire,
    S: hyper::service::HttpService<hyper::body::Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: http_body::Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut tick = tokio::time::interval(clock.limits.tick());
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stop = pin!(shared.stop.notified());
    // Registers for the notice even if this task is polled for the first time after it.
    stop.as_mut().enable();
    let mut stopping = false;
    std::future::poll_fn(|cx| {
        if !stopping && (shared.stopping() || stop.as_mut().poll(cx).is_ready()) {
            stopping = true;
            connection.as_mut().graceful_shutdown();
        }
        if let Poll::Ready(result) = connection.as_mut().poll(cx) {
            return Poll::Ready(if result.is_ok() { End::Orderly } else { End::Broken });
        }
        while tick.poll_tick(cx).is_ready() {
            if let Some(end) = clock.verdict() {
                return Poll::Ready(end);
            }
        }
        Poll::Pending
    })
    .await
}

/// Judges what the pulse shows.
struct Clock {
    limits: Limits,
    pulse: Arc<Pulse>,
    socket: std::os::fd::RawFd,
    progress: Progress,
}

impl Clock {
    fn new(socket: &TcpStream, limits: Limits, pulse: Arc<Pulse>) -> Self {
        Self { limits, pulse, socket: std::os::fd::AsRawFd::as_raw_fd(socket), progress: Progress::default() }
    }

    fn verdict(&mut self) -> Option<End> {
        if self.pulse.blocked() {
            return self.reader_is_slow().then_some(End::SlowReader);
        }
        self.progress = Progress::default();
        if self.pulse.in_flight() {
            return None;
        }
        match self.pulse.head_ms() {
            Some(ms) => over(ms, self.limits.head_timeout).then_some(End::SlowHead),
            None => over(self.pulse.quiet_ms(), self.limits.idle_timeout).then_some(End::Idle),
        }
    }

    /// Whether the client took less than the least rate over the whole window. What counts is what
    /// it acknowledged: the kernel wakes us only when a third of its send buffer is free, which at a
    /// slow but decent rate can take longer than the window.
    fn reader_is_slow(&mut self) -> bool {
        let taken = self.pulse.written().saturating_sub(unacknowledged(self.socket));
        self.progress.is_slow(taken, self.limits.min_body_bytes_per_second, self.limits.body_timeout)
    }
}

/// How much a reader took since it began to look slow.
#[derive(Debug, Default)]
pub(crate) struct Progress(Option<(std::time::Instant, u64)>);

impl Progress {
    /// Judged at the end of each window.
    pub(crate) fn is_slow(&mut self, taken: u64, bytes_per_second: u64, window: Duration) -> bool {
        let now = std::time::Instant::now();
        let Some((since, taken_then)) = self.0 else {
            self.0 = Some((now, taken));
            return false;
        };
        let passed = now.duration_since(since);
        if passed < window {
            return false;
        }
        self.0 = Some((now, taken));
        let least = bytes_per_second as f64 * passed.as_secs_f64();
        (taken.saturating_sub(taken_then) as f64) < least.max(1.0)
    }
}

fn over(ms: u64, timeout: Duration) -> bool {
    u128::from(ms) >= timeout.as_millis()
}

/// Bytes in the send queue that the peer's kernel has not confirmed (`SIOCOUTQ`, tcp(7)).
pub(crate) fn unacknowledged(socket: std::os::fd::RawFd) -> u64 {
    let mut bytes: libc::c_int = 0;
    // SAFETY: TIOCOUTQ writes one int. The descriptor is the guard's socket, and the guard outlives
    // `drive`, which owns the clock.
    let failed = unsafe { libc::ioctl(socket, libc::TIOCOUTQ, &raw mut bytes) } != 0;
    if failed { 0 } else { u64::try_from(bytes).unwrap_or(0) }
}

/// Who is told that a request was refused here, and how.
struct Teller<'a> {
    peer: SocketAddr,
    limits: Limits,
    edge: &'a Edge,
}

async fn finish<W: Wire>(end: End, wire: W, refused: Option<Refused>, teller: &Teller<'_>) {
    match (end, refused) {
        (End::Orderly, Some(refused)) => tell(wire, &refused, teller).await,
        (End::Orderly | End::Broken, _) => linger(wire).await,
        (End::SlowHead, _) => {
            let error = S3Error::new(
                Code::RequestTimeout,
                "Your socket connection to the server was not read from or written to within the timeout period.",
            );
            tell(wire, &Refused { error, head: Vec::new() }, teller).await;
        }
        (End::Idle, _) => drop(wire),
        // A reset: never what could pass for the end of a body.
        (End::Cut | End::SlowReader, _) => {
            tracing::debug!(peer = %teller.peer, ?end, "connection cut");
            let _ = wire.tcp().set_zero_linger();
        }
    }
}

/// Writes our own answer to what hyper never saw.
async fn tell<W: Wire>(mut wire: W, refused: &Refused, teller: &Teller<'_>) {
    let id = refused.request_id();
    let answer = refused.bytes(&id, (teller.limits.clock)());
    let written = tokio::time::timeout(MAX_LINGER_TIME, write_out(&mut wire, &answer)).await;
    let complete = matches!(written, Ok(Ok(())));
    record(refused, &id, teller, answer.len(), complete);
    if complete {
        linger(wire).await;
    }
}

fn record(refused: &Refused, id: &RequestId, teller: &Teller<'_>, bytes_out: usize, complete: bool) {
    let mut audit = Audit::default();
    audit.failed(&refused.error);
    let outcome = Outcome {
        id,
        remote: Remote::direct(teller.peer),
        status: Some(refused.error.code.status()),
        bytes_in: 0,
        bytes_out: bytes_out as u64,
        duration: Duration::ZERO,
        aborted: !complete,
    };
    let span = teller.edge.observer.request_began(id, TraceParent::default());
    settle(teller.edge, &span, &audit, &outcome);
}

async fn write_out<W: Wire>(wire: &mut W, answer: &[u8]) -> std::io::Result<()> {
    wire.write_all(answer).await?;
    wire.flush().await
}

/// Ends our side, then takes in what the client is still sending: closing at once would answer it
/// with a reset that can overtake the response.
async fn linger<W: Wire>(mut wire: W) {
    let drain = async {
        wire.shutdown().await?;
        let mut scrap = [0u8; 4096];
        let mut drained = 0;
        while drained < MAX_LINGER_BYTES {
            match wire.read(&mut scrap).await? {
                0 => break,
                read => drained += read as u64,
            }
        }
        std::io::Result::Ok(())
    };
    let _ = tokio::time::timeout(MAX_LINGER_TIME, drain).await;
}

/// A connection above the limit: its request is awaited for a moment, since an answer before the
/// question confuses clients, and refused without a look.
pub(crate) async fn turn_away(socket: TcpStream, peer: SocketAddr, limits: Limits, edge: Arc<Edge>) {
    let _ = tokio::time::timeout(Duration::from_millis(500), socket.readable()).await;
    let mut head = vec![0u8; 2048];
    let length = socket.try_read(&mut head).unwrap_or(0);
    head.truncate(length);
    let teller = Teller { peer, limits, edge: &edge };
    tell(socket, &Refused { error: S3Error::slow_down(), head }, &teller).await;
}
