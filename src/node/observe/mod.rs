//! The node seen from outside: health, metrics, and the listener that shows them.
//!
//! The rooms below tell facts through their own traits ([`s3api::Observer`], [`store::Listener`]);
//! only here are they named for Prometheus.

mod backends;
mod encode;
mod handler;
mod health;
mod listener;
mod metrics;
mod mounts;
mod snapshot;
mod system;
#[cfg(feature = "otlp")]
mod traces;
#[cfg(not(feature = "otlp"))]
#[path = "no_traces.rs"]
mod traces;
mod watcher;

use handler::Outside;
pub use health::Health;
pub use listener::Monitoring;
pub use metrics::Metrics;
pub use traces::Traces;
pub use watcher::Watcher;
