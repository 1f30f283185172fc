//! Whether the node lives, and whether it can take work.

use crate::node::Node;
use std::sync::{Arc, OnceLock};
use tokio::sync::watch;

pub struct Health {
    node: OnceLock<Arc<Node>>,
    stop: watch::Receiver<bool>,
}

impl Health {
    pub fn new(stop: watch::Receiver<bool>) -> Self {
        Self { node: OnceLock::new(), stop }
    }

    /// The store is open.
    pub fn started(&self, node: &Arc<Node>) {
        // A process runs one node.
        let _ = self.node.set(Arc::clone(node));
    }

    pub fn node(&self) -> Option<&Arc<Node>> {
        self.node.get()
    }

    /// Why the node should get no work now.
    pub fn obstacle(&self) -> Option<&'static str> {
        match self.node.get() {
            _ if *self.stop.borrow() => Some("stopping"),
            None => Some("starting"),
            Some(node) if node.store.disk_room().full => Some("the disk is full"),
            Some(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_starts_or_stops_is_not_ready() {
        let (stop, stopped) = watch::channel(false);
        let health = Health::new(stopped);
        assert_eq!(health.obstacle(), Some("starting"));
        stop.send_replace(true);
        assert_eq!(health.obstacle(), Some("stopping"));
    }
}
