//! A proxy between a client and an HTTP server that fails as it is told: refused and reset connections, answers
//! that never come, come late, come cut or come wrong, work that is done and denied.
//!
//! It passes requests on as they are, `Host` included, so signatures hold. Faults are rules: the first that fits a
//! request and is not used up is what happens to it.

use anyhow::{Context as _, Result};
use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::fmt;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, RawFd};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Sleep;

/// Requests that are remembered.
const SEEN_MAX: usize = 100_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    // The server never hears of the request.
    /// The connection is reset when the head has been read.
    Reset,
    /// No answer, ever.
    Stall,
    /// An answer of this status, with S3's XML for it.
    Status(u16),

    // The server gets a part of the request.
    /// After so many bytes of the request's body both connections are reset.
    ResetUpload(u64),
    /// After so many bytes of the request's body nothing goes on.
    StallUpload(u64),
    /// One bit of the request's body is wrong, at this offset.
    WrongUpload(u64),

    // The server does its work, and the client does not hear of it as it should.
    /// The answer takes so long.
    Late(Duration),
    DoneThenReset,
    DoneThenStall,
    DoneThenStatus(u16),

    // The answer begins well. Offsets count the answer's body.
    ResetAfter(u64),
    /// The connection ends in good order before the promised length.
    TruncateAfter(u64),
    StallAfter(u64),
    WrongByte(u64),
    /// The answer's body comes at so many bytes a second.
    Slow(u64),
}

#[derive(Debug, Clone)]
pub struct Rule {
    pub fault: Fault,
    /// Of any method where `None`.
    pub method: Option<String>,
    /// What the path and query must have in them.
    pub target: String,
    /// Requests that fit and are let through before.
    pub after: u32,
    /// Then so many are troubled.
    pub times: u32,
}

impl Rule {
    /// Every request, until the rules are cleared.
    pub fn new(fault: Fault) -> Self {
        Self { fault, method: None, target: String::new(), after: 0, times: u32::MAX }
    }

    pub fn method(mut self, method: &str) -> Self {
        self.method = Some(method.to_owned());
        self
    }

    pub fn target(mut self, part: &str) -> Self {
        self.target = part.to_owned();
        self
    }

    pub fn after(mut self, requests: u32) -> Self {
        self.after = requests;
        self
    }

    pub fn times(mut self, requests: u32) -> Self {
        self.times = requests;
        self
    }

    fn fits(&self, method: &str, target: &str) -> bool {
        self.method.as_deref().is_none_or(|wanted| wanted == method) && target.contains(&self.target)
    }
}

/// One request that came, and what became of it.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    pub target: String,
    pub fault: Option<Fault>,
}

#[derive(Debug, Default)]
struct Shared {
    rules: Mutex<Vec<Rule>>,
    seen: Mutex<Vec<Seen>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn judge<B>(&self, request: &Request<B>) -> Option<Fault> {
        let method = request.method().as_str();
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        let fault = self.next_fault(method, target);
        let mut seen = locked(&self.seen);
        if seen.len() < SEEN_MAX {
            seen.push(Seen { method: method.to_owned(), target: target.to_owned(), fault });
        }
        fault
    }

    fn next_fault(&self, method: &str, target: &str) -> Option<Fault> {
        let mut rules = locked(&self.rules);
        let rule = rules.iter_mut().find(|rule| rule.times > 0 && rule.fits(method, target))?;
        if rule.after > 0 {
            rule.after -= 1;
            return None;
        }
        rule.times -= 1;
        Some(rule.fault)
    }
}

#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    upstream: SocketAddr,
    shared: Arc<Shared>,
    /// Gone while connections are refused.
    accepting: Mutex<Option<AbortHandle>>,
}

impl Proxy {
    /// Must be called within a runtime of tokio, which drives it.
    pub async fn start(upstream: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let proxy = Self { address, upstream, shared: Arc::default(), accepting: Mutex::new(None) };
        proxy.accept(listener);
        Ok(proxy)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn rule(&self, rule: Rule) {
        locked(&self.shared.rules).push(rule);
    }

    /// Every request, until the rules are cleared.
    pub fn always(&self, fault: Fault) {
        self.rule(Rule::new(fault));
    }

    /// The next request.
    pub fn once(&self, fault: Fault) {
        self.rule(Rule::new(fault).times(1));
    }

    /// All is well again for new requests; those under way keep their fault.
    pub fn clear(&self) {
        locked(&self.shared.rules).clear();
    }

    /// What has come since the last call.
    pub fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut *locked(&self.shared.seen))
    }

    /// New connections are refused and open ones are cut, as when the server's process is gone.
    pub fn down(&self) {
        if let Some(accepting) = locked(&self.accepting).take() {
            accepting.abort();
        }
    }

    /// At the same address again.
    pub async fn up(&self) -> Result<()> {
        if locked(&self.accepting).is_some() {
            return Ok(());
        }
        for _ in 0..100 {
            let socket = TcpSocket::new_v4()?;
            socket.set_reuseaddr(true)?;
            if socket.bind(self.address).is_ok() {
                self.accept(socket.listen(1024)?);
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        anyhow::bail!("{} is taken", self.address)
    }

    fn accept(&self, listener: TcpListener) {
        let (upstream, shared) = (self.upstream, Arc::clone(&self.shared));
        let accepting = tokio::spawn(async move {
            // Aborting the task drops these, and with them the connections.
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => match accepted {
                        Ok((stream, _)) => {
                            connections.spawn(serve(stream, upstream, Arc::clone(&shared)));
                        }
                        Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                    },
                    Some(_) = connections.join_next() => {}
                }
            }
        });
        *locked(&self.accepting) = Some(accepting.abort_handle());
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.down();
    }
}

type Boxed = BoxBody<Bytes, Broken>;
type Sender = SendRequest<Boxed>;

/// What a body that is broken off on purpose ends with.
#[derive(Debug)]
pub struct Broken(String);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Broken {}

async fn serve(stream: TcpStream, upstream: SocketAddr, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let socket = stream.as_raw_fd();
    let idle: Arc<Mutex<Option<Sender>>> = Arc::default();
    let service = service_fn(move |request| {
        let (shared, idle) = (Arc::clone(&shared), Arc::clone(&idle));
        async move { answer(request, upstream, &shared, &idle, socket).await }
    });
    // However a connection ends: the client sees it.
    let _ = hyper::server::conn::http1::Builder::new()
        .half_close(false)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// An error ends the connection.
async fn answer(
    request: Request<Incoming>,
    upstream: SocketAddr,
    shared: &Shared,
    idle: &Mutex<Option<Sender>>,
    socket: RawFd,
) -> Result<Response<Boxed>, Broken> {
    let fault = shared.judge(&request);
    match fault {
        Some(Fault::Reset) => return Err(reset(socket)),
        Some(Fault::Stall) => return std::future::pending().await,
        Some(Fault::Status(status)) => return drained(request, status).await,
        _ => {}
    }
    let upload = match fault {
        Some(Fault::ResetUpload(at)) => Plan::Break(at, Some(socket)),
        Some(Fault::StallUpload(at)) => Plan::Stall(at),
        Some(Fault::WrongUpload(at)) => Plan::Flip(at),
        _ => Plan::Whole,
    };
    let (head, body) = request.into_parts();
    let request = Request::from_parts(head, Passing::new(body, upload).boxed());
    let response = forward(request, upstream, idle).await.map_err(|error| {
        if matches!(fault, Some(Fault::ResetUpload(_))) {
            return reset(socket);
        }
        Broken(error.to_string())
    })?;
    let download = match fault {
        Some(Fault::Late(wait)) => {
            tokio::time::sleep(wait).await;
            Plan::Whole
        }
        Some(Fault::DoneThenReset) => return Err(reset(socket)),
        Some(Fault::DoneThenStall) => return std::future::pending().await,
        Some(Fault::DoneThenStatus(status)) => return Ok(error_answer(status)),
        Some(Fault::ResetAfter(at)) => Plan::Break(at, Some(socket)),
        Some(Fault::TruncateAfter(at)) => Plan::Break(at, None),
        Some(Fault::StallAfter(at)) => Plan::Stall(at),
        Some(Fault::WrongByte(at)) => Plan::Flip(at),
        Some(Fault::Slow(rate)) => Plan::Slow(rate.max(1)),
        _ => Plan::Whole,
    };
    let (head, body) = response.into_parts();
    Ok(Response::from_parts(head, Passing::new(body, download).boxed()))
}

async fn forward(
    request: Request<Boxed>,
    upstream: SocketAddr,
    idle: &Mutex<Option<Sender>>,
) -> Result<Response<Incoming>> {
    let kept = locked(idle).take().filter(Sender::is_ready);
    let mut sender = match kept {
        Some(sender) => sender,
        None => connect(upstream).await?,
    };
    let response = sender.send_request(request).await.context("the server's answer")?;
    *locked(idle) = Some(sender);
    Ok(response)
}

async fn connect(upstream: SocketAddr) -> Result<Sender> {
    let stream = TcpStream::connect(upstream).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        // The request that it carried says what went wrong.
        let _ = connection.await;
    });
    Ok(sender)
}

/// Clients that are still sending must not take the answer for a reset.
async fn drained(request: Request<Incoming>, status: u16) -> Result<Response<Boxed>, Broken> {
    let mut body = request.into_body();
    while let Some(frame) = body.frame().await {
        frame.map_err(|error| Broken(error.to_string()))?;
    }
    Ok(error_answer(status))
}

fn error_answer(status: u16) -> Response<Boxed> {
    let code = match status {
        403 => "AccessDenied",
        404 => "NoSuchKey",
        503 => "SlowDown",
        507 => "InsufficientStorage",
        _ => "InternalError",
    };
    let xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>on order</Message></Error>"
    );
    let body = Full::new(Bytes::from(xml)).map_err(|never| match never {}).boxed();
    let mut response = Response::new(body);
    *response.status_mut() =
        http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/xml"));
    response
}

/// The socket will say RST instead of FIN when it is closed (socket(7), `SO_LINGER`).
fn reset(socket: RawFd) -> Broken {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    // SAFETY: the connection that owns the descriptor is alive for as long as its service runs; the
    // option's value is read from a structure of the size that is given.
    unsafe {
        libc::setsockopt(
            socket,
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size_of::<libc::linger>() as libc::socklen_t,
        );
    }
    Broken("reset on order".to_owned())
}

enum Plan {
    Whole,
    /// Ends after so many bytes; by a reset of the socket, if there is one.
    Break(u64, Option<RawFd>),
    Stall(u64),
    Flip(u64),
    Slow(u64),
}

/// A body on its way through.
struct Passing {
    inner: Incoming,
    plan: Plan,
    passed: u64,
    /// Of a piece that goes on in smaller ones.
    rest: Bytes,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Passing {
    fn new(inner: Incoming, plan: Plan) -> Self {
        Self { inner, plan, passed: 0, rest: Bytes::new(), pause: None }
    }

    /// What goes on of a piece; `None` for nothing more.
    fn change(&mut self, mut piece: Bytes) -> Bytes {
        if let Plan::Slow(rate) = self.plan {
            // Twenty pieces a second: slow, but steady.
            let most = usize::try_from(rate / 20).unwrap_or(usize::MAX).max(1);
            self.rest = piece.split_off(most.min(piece.len()));
        }
        let (start, len) = (self.passed, piece.len() as u64);
        self.passed += len;
        match self.plan {
            Plan::Break(at, _) | Plan::Stall(at) if self.passed > at => {
                piece.slice(..usize::try_from(at - start).unwrap_or(0).min(piece.len()))
            }
            Plan::Flip(at) if (start..start + len).contains(&at) => {
                let mut wrong = BytesMut::from(&piece[..]);
                wrong[usize::try_from(at - start).unwrap_or(0)] ^= 1;
                wrong.freeze()
            }
            Plan::Slow(rate) => {
                let wait = Duration::from_secs_f64(len as f64 / rate as f64);
                self.pause = Some(Box::pin(tokio::time::sleep(wait)));
                piece
            }
            _ => piece,
        }
    }
}

impl Body for Passing {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(context));
            self.pause = None;
        }
        match self.plan {
            Plan::Break(at, socket) if self.passed >= at => {
                let broken = socket.map_or_else(|| Broken("cut on order".to_owned()), reset);
                return Poll::Ready(Some(Err(broken)));
            }
            Plan::Stall(at) if self.passed >= at => return Poll::Pending,
            _ => {}
        }
        if !self.rest.is_empty() {
            let rest = std::mem::take(&mut self.rest);
            return Poll::Ready(Some(Ok(Frame::data(self.change(rest)))));
        }
        let Some(frame) = ready!(Pin::new(&mut self.inner).poll_frame(context)) else {
            return Poll::Ready(None);
        };
        let frame = frame.map_err(|error| Broken(error.to_string()))?;
        Poll::Ready(Some(Ok(match frame.into_data() {
            Ok(piece) => Frame::data(self.change(piece)),
            Err(trailers) => trailers,
        })))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.plan, Plan::Whole) && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
