//! What runs, as the admin interface and the workers see it: the store, the configuration in force,
//! and the handles by which both can be changed.

use crate::config::Config;
use crate::finding::Finding;
use crate::jobs::Jobs;
use crate::mounts::Mounts;
use crate::observe::Metrics;
use crate::reload::Control;
use crate::reports::Reports;
use crate::telemetry::Log;
use crate::webhooks::Webhooks;
use arc_swap::ArcSwap;
use s3api::{LiveOptions, Tls};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;
use store::Store;

pub struct Node {
    pub store: Store,
    pub mounts: Mounts,
    /// As it was last read and found good, with the changes by command.
    pub config: ArcSwap<Config>,
    /// What that was made of.
    pub control: tokio::sync::Mutex<Control>,
    /// Settings of the file that wait for the next start.
    pub needs_restart: ArcSwap<Vec<String>>,
    /// Queues and work that get nowhere, as `workers::queues` last saw them.
    pub stuck: ArcSwap<Vec<Finding>>,
    /// What the S3 face goes by.
    pub face: LiveOptions,
    pub jobs: Jobs,
    /// What ordered work has found.
    pub reports: Reports,
    pub metrics: Arc<Metrics>,
    /// `None`: S3 is served in the clear.
    pub tls: Option<Tls>,
    pub webhooks: Arc<Webhooks>,
    pub log: Log,
    /// Where S3 is served.
    pub address: SocketAddr,
    pub started: Instant,
}

impl Node {
    pub fn config(&self) -> Arc<Config> {
        self.config.load_full()
    }
}
