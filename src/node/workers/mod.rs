//! Background work: when it runs. What it does is one call of the store each.

mod backend_watch;
mod certificates;
pub mod cleanup;
pub mod copies;
mod disk_watch;
pub mod lifecycle;
pub mod multipart_expiry;
pub mod ordered;
mod queues;
pub mod scrub;
pub mod snapshots;
mod troubles;
mod watchdog;

use crate::node::Node;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// All workers of a node; they end between two steps, never inside one.
pub struct Workers {
    stop: watch::Sender<bool>,
    running: JoinSet<()>,
}

impl Workers {
    pub async fn start(node: &Arc<Node>) -> Self {
        // Before anybody can order more.
        if let Err(error) = ordered::remember(node).await {
            tracing::error!(%error, "ordered work is not gone on with: its records cannot be read");
        }
        let (stop, stopped) = watch::channel(false);
        let stop_signal = || Stop(stopped.clone());
        let mut running = JoinSet::new();
        // Jobs are there before anybody can ask for them.
        running.spawn(cleanup::run(Arc::clone(node), cleanup::job(node), stop_signal()));
        let expiry = multipart_expiry::job(node);
        running.spawn(multipart_expiry::run(Arc::clone(node), expiry, stop_signal()));
        let lifecycle = lifecycle::job(node);
        running.spawn(lifecycle::run(Arc::clone(node), lifecycle, stop_signal()));
        running.spawn(scrub::run(Arc::clone(node), scrub::job(node), stop_signal()));
        running.spawn(snapshots::run(Arc::clone(node), snapshots::job(node), stop_signal()));
        running.spawn(backend_watch::run(node.store.clone(), stop_signal()));
        running.spawn(copies::run(Arc::clone(node), copies::job(node), stop_signal()));
        running.spawn(copies::audit(node.store.clone(), stop_signal()));
        running.spawn(ordered::run(Arc::clone(node), stop_signal()));
        running.spawn(disk_watch::run(node.store.clone(), stop_signal()));
        running.spawn(certificates::run(Arc::clone(node), stop_signal()));
        running.spawn(troubles::run(Arc::clone(node), stop_signal()));
        running.spawn(watchdog::run(node.store.clone(), stop_signal()));
        Self { stop, running }
    }

    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        while let Some(ended) = self.running.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a worker panicked");
            }
        }
    }
}

/// The order to stop, as a worker sees it.
#[derive(Clone)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Waits for `work`; false when the order to stop came first.
    async fn or(&mut self, work: impl Future<Output = ()>) -> bool {
        self.unless_ordered(work).await.is_some()
    }

    /// What comes of `work`; `None` when the order to stop came first, and the work was dropped.
    async fn unless_ordered<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            // An error is a sender that is gone: nobody wants this worker any more.
            _ = self.0.wait_for(|stop| *stop) => None,
            done = work => Some(done),
        }
    }

    async fn or_sleep(&mut self, time: Duration) -> bool {
        self.or(tokio::time::sleep(time)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_order_to_stop_ends_a_wait() {
        let (sender, receiver) = watch::channel(false);
        let mut stop = Stop(receiver);
        assert!(stop.or(async {}).await);
        assert_eq!(stop.unless_ordered(async { 7 }).await, Some(7));
        sender.send_replace(true);
        assert!(!stop.or(std::future::pending()).await);
        assert!(!stop.or(async {}).await);
        assert_eq!(stop.unless_ordered(async { 7 }).await, None);
    }
}
