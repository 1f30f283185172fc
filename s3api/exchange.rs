//! One request and its answer: what is counted, limited and cleaned up around a handler.

use bytes::Bytes;
use http::header::{CONNECTION, EXPECT, HeaderName, HeaderValue, SERVER};
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::any::Any;
use std::convert::Infallible;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tracing::{Instrument as _, Span};

use crate::audit::{Audit, Outcome};
use crate::error::{Code, S3Error};
use crate::limits::{MAX_DRAIN_BYTES, MAX_DRAIN_TIME, MAX_LINGER_BYTES, MAX_LINGER_TIME};
use crate::multiplexed;
use crate::places::{Place, Places};
use crate::proxies::{Remote, household};
use crate::rates::{Purses, Rate, Toll};
use crate::request_body::BodyAccount;
use crate::response::BodyError;
use crate::server::{Answered, Handler, Shared};
use crate::{Edge, LiveOptions, Options, RequestBody, RequestId, ResponseBody, TraceParent, audit, refusal};

static X_AMZ_REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");
static SERVER_NAME: HeaderValue = HeaderValue::from_static(refusal::SERVER);

/// Everything that is owed when an exchange ends, however it ends: dropping it pays.
struct Exchange {
    id: RequestId,
    remote: Remote,
    addresses: Arc<Purses<IpAddr>>,
    /// Who pays for the bytes, beside the address.
    toll: Option<Toll>,
    rate: Rate,
    line: Arc<dyn Line>,
    started: Instant,
    edge: Arc<Edge>,
    span: Span,
    audit: Audit,
    status: Option<StatusCode>,
    incoming: Option<Arc<BodyAccount>>,
    bytes_out: u64,
    /// The answer to HEAD: hyper drops the body unread.
    bodyless: bool,
    complete: bool,
    _place: Option<Place>,
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.line.answered();
        let outcome = Outcome {
            id: &self.id,
            remote: self.remote,
            status: self.status,
            bytes_in: self.incoming.as_ref().map_or(0, |account| account.bytes()),
            bytes_out: self.bytes_out,
            duration: self.started.elapsed(),
            aborted: !self.complete,
        };
        self.pay(outcome.bytes_in + outcome.bytes_out);
        settle(&self.edge, &self.span, &self.audit, &outcome);
    }
}

impl Exchange {
    fn pay(&self, bytes: u64) {
        self.addresses.pay(&household(self.remote.ip()), &self.rate, bytes, Instant::now());
        if let Some(toll) = &self.toll {
            toll.pay(bytes);
        }
    }
}

/// Tells whoever is to know that a request is over.
pub(crate) fn settle(edge: &Edge, span: &Span, audit: &Audit, outcome: &Outcome<'_>) {
    edge.observer.request_ended(span, audit, outcome);
    if edge.audited {
        audit::record(audit, outcome);
    }
}

fn trace_parent(headers: &HeaderMap) -> TraceParent<'_> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    TraceParent { traceparent: text("traceparent"), tracestate: text("tracestate") }
}

/// What a connection's clock hears of the exchanges on it.
pub(crate) trait Line: Send + Sync {
    /// Several exchanges at a time, each in a stream of its own.
    fn multiplexed(&self) -> bool {
        false
    }

    fn began(&self) {}

    fn answered(&self);

    /// An answer broke off in its body; a stream of its own is reset by hyper.
    fn cut_off(&self) {}

    /// A piece of an answer is on its way to the client.
    fn handed_out(&self) {}

    /// The next piece is asked for, or none any more.
    fn asked_again(&self) {}
}

/// What every request of a connection shares.
pub(crate) struct Exchanges<H> {
    handler: Arc<H>,
    peer: SocketAddr,
    line: Arc<dyn Line>,
    options: LiveOptions,
    edge: Arc<Edge>,
    in_flight: Places,
    addresses: Arc<Purses<IpAddr>>,
}

impl<H: Handler> Exchanges<H> {
    pub(crate) fn new(shared: &Shared<H>, peer: SocketAddr, line: Arc<dyn Line>) -> Self {
        Self {
            handler: Arc::clone(&shared.handler),
            peer,
            line,
            options: shared.options.clone(),
            edge: Arc::clone(&shared.edge),
            in_flight: shared.in_flight.clone(),
            addresses: Arc::clone(&shared.addresses),
        }
    }

    pub(crate) async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Sent>, Infallible> {
        let id = RequestId::choose(request.headers());
        let (mut head, incoming) = request.into_parts();
        let (body, account) = RequestBody::new(incoming);
        let span = self.edge.observer.request_began(&id, trace_parent(&head.headers));
        let options = self.options.current();
        let remote = options.proxies.remote(self.peer, &head.headers);
        let mut exchange = self.begin(id, span.clone(), remote, options.rates.address, account);
        exchange.bodyless = head.method == Method::HEAD;
        let response = match self.admit(&mut head, remote, &options) {
            Ok(place) => {
                exchange._place = Some(place);
                self.handle(&mut exchange, Request::from_parts(head, body)).instrument(span).await
            }
            // Cheap on purpose: nothing of the body is read.
            Err(error) => refuse(&mut exchange, &head, error),
        };
        Ok(exchange.seal(response))
    }

    fn admit(&self, head: &mut Parts, remote: Remote, options: &Options) -> Result<Place, S3Error> {
        if self.line.multiplexed() {
            multiplexed::check(head)?;
        }
        self.addresses.take(&household(remote.ip()), &options.rates.address, Instant::now())?;
        self.in_flight.take(options.max_requests_in_flight).ok_or_else(S3Error::slow_down)
    }

    fn begin(
        &self,
        id: RequestId,
        span: Span,
        remote: Remote,
        rate: Rate,
        incoming: Option<Arc<BodyAccount>>,
    ) -> Exchange {
        self.line.began();
        Exchange {
            id,
            remote,
            addresses: Arc::clone(&self.addresses),
            toll: None,
            rate,
            line: Arc::clone(&self.line),
            started: Instant::now(),
            edge: self.edge.clone(),
            span,
            audit: Audit::default(),
            status: None,
            incoming,
            bytes_out: 0,
            bodyless: false,
            complete: false,
            _place: None,
        }
    }

    async fn handle(&self, exchange: &mut Exchange, request: Request<RequestBody>) -> Response<ResponseBody> {
        let expects = request.headers().contains_key(EXPECT);
        // Kept for the case that the handler panics; an `http::Uri` is cheap to clone.
        let (method, uri) = (request.method().clone(), request.uri().clone());
        // Boxed: what hyper moves into place for every request is then small.
        let handling = CatchUnwind(Box::pin(self.handler.handle(request, exchange.id.clone(), self.peer)));
        let mut response = match handling.await {
            Ok(Answered { response, audit, toll }) => {
                exchange.audit = audit;
                exchange.toll = toll;
                response
            }
            Err(panic) => {
                let mut head = Request::new(()).into_parts().0;
                (head.method, head.uri) = (method, uri);
                refuse(exchange, &head, panicked(panic.as_ref()))
            }
        };
        // A stream that ends before its request does is reset, and some clients then miss the answer: there
        // is no lingering close to help them, as in HTTP/1, so as much is taken in here.
        let bounds = match self.line.multiplexed() {
            true => (MAX_LINGER_BYTES, MAX_LINGER_TIME),
            false => (MAX_DRAIN_BYTES, MAX_DRAIN_TIME),
        };
        if !drained(exchange.incoming.as_deref(), expects, bounds).await {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

fn refuse(exchange: &mut Exchange, head: &http::request::Parts, error: S3Error) -> Response<ResponseBody> {
    exchange.audit.failed(&error);
    refusal::response(&error, head, &exchange.id, exchange.incoming.is_some())
}

/// The message of a panic is for the log: it can hold anything.
fn panicked(panic: &(dyn Any + Send)) -> S3Error {
    let text =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    S3Error::new(Code::InternalError, "We encountered an internal error. Please try again.")
        .because(format_args!("panic: {}", text.unwrap_or("(no message)")))
}

/// Takes in the rest of a body that was answered early, so that the client finishes sending, reads
/// the answer and may use the connection again. `false`: too much of it, or the client has been
/// waiting for a `100 Continue` that never comes.
async fn drained(
    account: Option<&BodyAccount>,
    expects: bool,
    (max_bytes, max_time): (u64, Duration),
) -> bool {
    let Some(account) = account else { return true };
    let Some(unread) = account.take_unread() else { return true };
    let expected = unread.size_hint().lower();
    if expected > max_bytes || (expects && !account.polled()) {
        return false;
    }
    tokio::time::timeout(max_time, drain(unread, account, max_bytes)).await.unwrap_or(false)
}

async fn drain(mut body: Incoming, account: &BodyAccount, max_bytes: u64) -> bool {
    let mut drained = 0;
    while drained <= max_bytes {
        match std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            Some(Ok(frame)) => {
                let length = frame.data_ref().map_or(0, Bytes::len);
                account.count(length);
                drained += length as u64;
            }
            Some(Err(_)) => return false,
            None => return true,
        }
    }
    false
}

impl Exchange {
    fn seal(mut self, response: Response<ResponseBody>) -> Response<Sent> {
        self.status = Some(response.status());
        let multiplexed = self.line.multiplexed();
        let mut response = response.map(|body| Sent { body, handed_out: false, exchange: self });
        let id = response.body().exchange.id.header().clone();
        let headers = response.headers_mut();
        headers.insert(&X_AMZ_REQUEST_ID, id);
        headers.insert(SERVER, SERVER_NAME.clone());
        if multiplexed {
            // A stream ends without ending the connection (RFC 9113, section 8.2.2).
            headers.remove(CONNECTION);
        }
        response
    }
}

/// A body on its way out; when it is dropped, the exchange is over.
pub(crate) struct Sent {
    body: ResponseBody,
    /// A piece is on its way.
    handed_out: bool,
    exchange: Exchange,
}

impl Body for Sent {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.take_back();
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                self.exchange.bytes_out += frame.data_ref().map_or(0, Bytes::len) as u64;
                self.handed_out = true;
                self.exchange.line.handed_out();
            }
            Some(Err(error)) => self.fail(error),
            None => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Sent {
    fn take_back(&mut self) {
        if std::mem::take(&mut self.handed_out) {
            self.exchange.line.asked_again();
        }
    }

    /// The status is sent already: the log is the only place left to tell.
    fn fail(&mut self, error: &BodyError) {
        let audit = &mut self.exchange.audit;
        audit.code = Some(Code::InternalError);
        audit.cause = Some(error.to_string());
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        self.take_back();
        self.exchange.complete = self.exchange.bodyless || self.body.is_end_stream();
        if !self.exchange.complete {
            self.exchange.line.cut_off();
        }
        if let Some(error) = self.body.take_late_error() {
            self.exchange.audit.failed(&error);
        }
    }
}

/// A panic in a handler costs its request, nothing else.
struct CatchUnwind<F>(Pin<Box<F>>);

impl<F: Future> Future for CatchUnwind<F> {
    type Output = Result<F::Output, Box<dyn Any + Send>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let future = self.0.as_mut();
        // Unwind safety: after a panic the future is never polled again, only dropped.
        match std::panic::catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    }
}
