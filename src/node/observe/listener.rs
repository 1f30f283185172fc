//! The listener for monitoring: there before the store is open and until after it is closed, so that
//! it can say so.

use super::{Health, Metrics, Outside};
use crate::options;
use s3api::{Edge, LiveOptions};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub struct Monitoring {
    /// `None`: nobody listens.
    pub address: Option<SocketAddr>,
    stop: oneshot::Sender<()>,
    served: JoinHandle<std::io::Result<()>>,
}

impl Monitoring {
    pub fn start(
        listener: Option<TcpListener>,
        health: &Arc<Health>,
        metrics: &Arc<Metrics>,
    ) -> anyhow::Result<Self> {
        let address = listener.as_ref().map(TcpListener::local_addr).transpose()?;
        let outside = Arc::new(Outside::new(Arc::clone(health), Arc::clone(metrics), options::now()));
        let live = LiveOptions::new(options::of_monitoring());
        let edge = Edge { audited: false, ..Edge::default() };
        let (stop, stopped) = oneshot::channel();
        let stopped = async move { drop(stopped.await) };
        let served = tokio::spawn(async move {
            match listener {
                Some(listener) => s3api::server::serve(outside, listener, live, edge, stopped).await,
                None => Ok(()),
            }
        });
        Ok(Self { address, stop, served })
    }

    pub async fn stop(self) {
        // Nobody hears it where there is no listener.
        let _ = self.stop.send(());
        if let Ok(Err(error)) = self.served.await {
            tracing::error!(%error, "the listener for monitoring failed");
        }
    }
}
