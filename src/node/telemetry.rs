//! Logs and audit lines: to standard error, one line an event; the last ones are kept in memory.

use crate::config::{self, LogFormat};
use crate::log_ring::Ring;
use parking_lot::Mutex;
use std::io::{self, Write};
use std::sync::Arc;
use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry, fmt, reload};

/// The log of this process: what is logged can be changed while it runs.
#[derive(Clone)]
pub struct Log {
    /// The last lines.
    pub ring: Arc<Ring>,
    filter: reload::Handle<EnvFilter, Registry>,
    in_force: Arc<Mutex<String>>,
}

/// RUST_LOG wins over the configuration, `--log` over its format.
pub fn init(format: Option<LogFormat>, log: &config::Log) -> anyhow::Result<Log> {
    let text = configured(log);
    let filter = parse(&text).map_err(|why| anyhow::anyhow!("RUST_LOG is not a filter: {why}"))?;
    let (filter, handle) = reload::Layer::new(filter);
    let ring = Arc::new(Ring::default());
    let lines = fmt::layer()
        .with_writer(Lines(Arc::clone(&ring)))
        .with_ansi(false)
        // It would complain about a closed standard error on standard error, and panic.
        .log_internal_errors(false);
    let lines = match format.or(log.format).unwrap_or(LogFormat::Json) {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).boxed(),
    };
    tracing_subscriber::registry().with(filter).with(lines).init();
    Ok(Log { ring, filter: handle, in_force: Arc::new(Mutex::new(text)) })
}

/// What is to be logged, by environment and configuration.
pub fn configured(log: &config::Log) -> String {
    match std::env::var("RUST_LOG") {
        Ok(text) if !text.is_empty() => text,
        _ => log.level.clone().unwrap_or_else(|| "info".to_owned()),
    }
}

fn parse(filter: &str) -> Result<EnvFilter, String> {
    EnvFilter::try_new(filter).map_err(|error| error.to_string())
}

impl Log {
    /// `debug`, or `warn,audit=info`.
    pub fn set_filter(&self, text: &str) -> Result<(), String> {
        let filter = parse(text)?;
        let mut in_force = self.in_force.lock();
        self.filter.reload(filter).map_err(|error| error.to_string())?;
        text.clone_into(&mut in_force);
        Ok(())
    }

    pub fn filter(&self) -> String {
        self.in_force.lock().clone()
    }
}

/// Where lines go.
struct Lines(Arc<Ring>);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { ring: &self.0, audit: false }
    }

    fn make_writer_for(&'a self, event: &Metadata<'_>) -> Line<'a> {
        Line { ring: &self.0, audit: event.target() == "audit" }
    }
}

/// An event is written in one piece.
struct Line<'a> {
    ring: &'a Ring,
    audit: bool,
}

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.ring.push(line, self.audit);
        io::stderr().write_all(line).map(|()| line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
