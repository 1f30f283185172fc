//! Logs and audit lines: to standard error, one line an event.

use crate::config::{Log, LogFormat};
use std::io;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::SubscriberBuilder;

/// RUST_LOG wins over the configuration, `--log` over its format.
pub fn init(format: Option<LogFormat>, log: &Log) -> anyhow::Result<()> {
    let level = log.level.as_deref().unwrap_or("info");
    let filter = match std::env::var("RUST_LOG") {
        Ok(text) if !text.is_empty() => {
            EnvFilter::try_new(&text).map_err(|error| anyhow::anyhow!("RUST_LOG is not a filter: {error}"))?
        }
        _ => EnvFilter::new(level),
    };
    let builder = SubscriberBuilder::default()
        .with_writer(io::stderr)
        .with_ansi(false)
        // It would complain about a closed standard error on standard error, and panic.
        .log_internal_errors(false)
        .with_env_filter(filter);
    match format.or(log.format).unwrap_or(LogFormat::Json) {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).init(),
    }
    Ok(())
}
