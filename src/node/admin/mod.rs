//! The admin interface: HTTP/1.1 and JSON on a Unix socket in the data directory, guarded by file
//! permissions alone.
//!
//! Start with `routes.rs`, the table of what can be asked; each file beside it is one command: its
//! request, its answer, and the function from one to the other. `command` is the other end.

pub mod cleanup;
pub mod credentials;
pub mod drain;
mod fault;
pub mod jobs;
pub mod locate;
pub mod log_level;
pub mod logs;
pub mod lost;
pub mod mount;
pub mod mounts;
pub mod rebalance;
pub mod reconcile;
pub mod reload;
pub mod remove_backend;
pub mod report;
mod routes;
pub mod scrub;
pub mod snapshot;
pub mod socket;
pub mod status;
pub mod umount;
pub mod usage;
pub mod version;

pub use fault::{Fault, FaultCode};

use crate::node::Node;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::{Deserialize, Serialize};
use socket::Socket;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

/// The socket's name in the data directory.
pub const SOCKET: &str = "admin.sock";
/// Commands are small; the largest carries a secret.
const MAX_REQUEST_BYTES: usize = 64 << 10;
/// From a request's first byte to its last.
const REQUEST_TIME: Duration = Duration::from_secs(10);
/// Work that may take longer is a job, and is looked at with `jobs`.
const ANSWER_TIME: Duration = Duration::from_secs(50);
/// Operators, their scripts and monitoring: more is a loop that went wrong.
const MAX_CONNECTIONS: usize = 32;

/// A question without details.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Nothing {}

/// The running interface.
pub struct Admin(JoinHandle<()>);

impl Admin {
    pub fn start(node: &Arc<Node>) -> io::Result<Self> {
        let socket = Socket::bind(&node.config().data_dir.join(SOCKET))?;
        Ok(Self(tokio::spawn(accept(socket, Arc::clone(node)))))
    }

    /// Takes the socket away. Answers under way are finished or broken off with the runtime.
    pub async fn stop(self) {
        self.0.abort();
        let _ = self.0.await;
    }
}

async fn accept(socket: Socket, node: Arc<Node>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match socket.listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(converse(stream, Arc::clone(&node), place))),
            Err(error) => {
                tracing::warn!(%error, "the admin socket cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn converse(stream: UnixStream, node: Arc<Node>, _place: OwnedSemaphorePermit) {
    let service = service_fn(move |request| answer(Arc::clone(&node), request));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(REQUEST_TIME);
    // A client that breaks off is its own affair.
    let _ = http.serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(node: Arc<Node>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let outcome = tokio::time::timeout(ANSWER_TIME, carry_out(node, request)).await;
    let late = || Err(Fault::new(FaultCode::TooLong, "this takes too long; it may go on all the same"));
    let mut response = match outcome.unwrap_or_else(|_| late()) {
        Ok(body) => Response::new(Full::new(Bytes::from(body))),
        Err(fault) => refusal(&fault),
    };
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

fn refusal(fault: &Fault) -> Response<Full<Bytes>> {
    let body = serde_json::to_vec(fault).unwrap_or_default();
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = fault.status();
    response
}

async fn carry_out(node: Arc<Node>, request: Request<Incoming>) -> Result<Vec<u8>, Fault> {
    let path = request.uri().path();
    let route = routes::find(path).ok_or_else(|| {
        Fault::new(FaultCode::UnknownCommand, format!("this node does not know the command {path}"))
    })?;
    if request.method() != Method::POST {
        return Err(Fault::bad_request("commands are sent with POST"));
    }
    let body = Limited::new(request.into_body(), MAX_REQUEST_BYTES).collect();
    let body = tokio::time::timeout(REQUEST_TIME, body).await;
    let body = body.map_err(|_| Fault::bad_request("the request does not end"))?;
    let body = body.map_err(|error| Fault::bad_request(format!("the request: {error}")))?;
    (route.answer)(node, body.to_bytes()).await
}
