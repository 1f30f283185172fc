//! The listener: takes connections, bounds their number, and stops in good order.

use http::{Request, Response};
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::{JoinError, JoinSet};

use crate::audit::Audit;
use crate::limits::{Limits, MAX_TURNED_AWAY};
use crate::observer::Entry;
use crate::places::{Place, Places};
use crate::rates::{Crowd, Purses, Toll};
use crate::{Edge, LiveOptions, RequestBody, RequestId, ResponseBody, connection};

/// What answers requests. A future that is dropped belongs to a client that went away.
pub trait Handler: Send + Sync + 'static {
    fn handle(
        &self,
        request: Request<RequestBody>,
        id: RequestId,
        peer: SocketAddr,
    ) -> impl Future<Output = Answered> + Send;
}

/// The server adds `x-amz-request-id`, `Server` and `Date`.
pub struct Answered {
    pub response: Response<ResponseBody>,
    pub audit: Audit,
    /// Whose purse the bytes are paid from, beside the address's.
    pub toll: Option<Toll>,
}

/// What the connections share.
pub(crate) struct Shared<H> {
    pub(crate) handler: Arc<H>,
    pub(crate) options: LiveOptions,
    pub(crate) edge: Arc<Edge>,
    pub(crate) in_flight: Places,
    pub(crate) addresses: Arc<Purses<IpAddr>>,
    pub(crate) stop: Notify,
    stopping: AtomicBool,
}

impl<H> Shared<H> {
    pub(crate) fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    fn order_stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.stop.notify_waiters();
    }
}

/// Serves until `shutdown` is ready; then takes no more connections, closes the idle ones, lets
/// requests in flight finish for `shutdown_grace`, and aborts the rest.
pub async fn serve<H: Handler>(
    handler: Arc<H>,
    listener: TcpListener,
    options: LiveOptions,
    edge: Edge,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let shared = Arc::new(Shared {
        handler,
        options,
        edge: Arc::new(edge),
        in_flight: Places::default(),
        addresses: Arc::default(),
        stop: Notify::new(),
        stopping: AtomicBool::new(false),
    });
    let mut connections = JoinSet::new();
    let mut doors = Doors::default();
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(ended) = connections.join_next() => report(ended),
            accepted = listener.accept() => match accepted {
                Ok((socket, peer)) => doors.admit(socket, peer, &shared, &mut connections),
                Err(error) => rest(&error).await,
            },
        }
    }
    drop(listener);
    shared.order_stop();
    finish(connections, shared.options.current().shutdown_grace).await;
    Ok(())
}

/// Who gets in.
#[derive(Default)]
struct Doors {
    places: Places,
    turned_away: Places,
    crowd: Crowd,
}

impl Doors {
    fn admit<H: Handler>(
        &mut self,
        socket: TcpStream,
        peer: SocketAddr,
        shared: &Arc<Shared<H>>,
        connections: &mut JoinSet<()>,
    ) {
        // Small answers must not wait for the acknowledgement of earlier ones.
        let _ = socket.set_nodelay(true);
        let options = shared.options.current();
        let limits = Limits::from(&*options);
        // Behind a proxy there are many: it limits them itself.
        let limit = options.rates.connections_per_address.filter(|_| !options.proxies.trusts(peer.ip()));
        if let Some(member) = self.crowd.join(peer.ip(), limit)
            && let Some(place) = self.places.take(options.max_connections)
        {
            let shared = shared.clone();
            shared.edge.observer.connection(Entry::Admitted);
            let run = async move {
                let _end = (Departure(shared.edge.clone()), member);
                connection::run(socket, peer, limits, shared).await;
            };
            connections.spawn(holding(place, run));
            return;
        }
        shared.edge.observer.connection(Entry::TurnedAway);
        // Behind TLS an answer would cost a handshake: the end of the connection says it.
        if shared.edge.tls.is_none()
            && let Some(place) = self.turned_away.take(MAX_TURNED_AWAY)
        {
            let edge = shared.edge.clone();
            connections.spawn(holding(place, connection::turn_away(socket, peer, limits, edge)));
        }
    }
}

/// Tells of a connection's end, also where it was aborted.
struct Departure(Arc<Edge>);

impl Drop for Departure {
    fn drop(&mut self) {
        self.0.observer.connection_ended();
    }
}

async fn holding(place: Place, work: impl Future<Output = ()>) {
    work.await;
    drop(place);
}

/// Out of descriptors or memory: the listener stays ready, so without a pause this loop would spin.
async fn rest(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    if !matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
        tracing::warn!(%error, "cannot accept connections");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!("a connection panicked");
    }
}

async fn finish(mut connections: JoinSet<()>, grace: Duration) {
    let all = async {
        while let Some(ended) = connections.join_next().await {
            report(ended);
        }
    };
    if tokio::time::timeout(grace, all).await.is_err() {
        tracing::warn!(connections = connections.len(), "cut off at the end of the shutdown grace period");
        connections.shutdown().await;
    }
}
