//! Logs and audit lines: to standard error, one line an event; the last ones are kept in memory. Audit
//! lines may have a file of their own. Traces go to a collector.

use crate::audit_file::AuditFile;
use crate::config::{self, LogFormat};
use crate::log_ring::Ring;
use crate::observe::Traces;
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
    pub audit: Option<AuditFile>,
    pub traces: Option<Traces>,
    filter: reload::Handle<EnvFilter, Registry>,
    in_force: Arc<Mutex<String>>,
}

/// RUST_LOG wins over the configuration, `--log` over its format.
pub fn init(
    format: Option<LogFormat>,
    log: &config::Log,
    audit: Option<AuditFile>,
    traces: Option<Traces>,
) -> anyhow::Result<Log> {
    let text = configured(log);
    let filter =
        parse(&text, audit.is_some()).map_err(|why| anyhow::anyhow!("RUST_LOG is not a filter: {why}"))?;
    let (filter, handle) = reload::Layer::new(filter);
    let ring = Arc::new(Ring::default());
    let lines = fmt::layer()
        .with_writer(Lines { ring: Arc::clone(&ring), audit: audit.clone() })
        .with_ansi(false)
        // It would complain about a closed standard error on standard error, and panic.
        .log_internal_errors(false);
    let lines = match format.or(log.format).unwrap_or(LogFormat::Json) {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => {
            lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
        }
    };
    // Of this layer alone: what the log does not show may be traced all the same.
    let lines = lines.with_filter(filter);
    tracing_subscriber::registry().with(lines).with(traces.as_ref().map(Traces::layer)).init();
    Ok(Log { ring, audit, traces, filter: handle, in_force: Arc::new(Mutex::new(text)) })
}

/// What is to be logged, by environment and configuration.
pub fn configured(log: &config::Log) -> String {
    match std::env::var("RUST_LOG") {
        Ok(text) if !text.is_empty() => text,
        _ => log.level.clone().unwrap_or_else(|| "info".to_owned()),
    }
}

/// A file of their own is for all audit lines, however quiet the log is.
fn parse(filter: &str, own_file: bool) -> Result<EnvFilter, String> {
    let filter = match own_file && !filter.contains("audit") {
        true => format!("{filter},audit=info"),
        false => filter.to_owned(),
    };
    EnvFilter::try_new(filter).map_err(|error| error.to_string())
}

impl Log {
    /// `debug`, or `warn,audit=info`.
    pub fn set_filter(&self, text: &str) -> Result<(), String> {
        let filter = parse(text, self.audit.is_some())?;
        let mut in_force = self.in_force.lock();
        self.filter.reload(filter).map_err(|error| error.to_string())?;
        text.clone_into(&mut in_force);
        Ok(())
    }

    /// After the audit file was moved away.
    pub fn reopen(&self) {
        if let Some(Err(error)) = self.audit.as_ref().map(AuditFile::reopen) {
            tracing::error!(%error, "the audit file cannot be opened; the old one is written on");
        }
    }

    pub fn filter(&self) -> String {
        self.in_force.lock().clone()
    }
}

/// Where lines go.
struct Lines {
    ring: Arc<Ring>,
    audit: Option<AuditFile>,
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { lines: self, audit: false }
    }

    fn make_writer_for(&'a self, event: &Metadata<'_>) -> Line<'a> {
        Line { lines: self, audit: event.target() == "audit" }
    }
}

/// An event is written in one piece.
struct Line<'a> {
    lines: &'a Lines,
    audit: bool,
}

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.lines.ring.push(line, self.audit);
        match &self.lines.audit {
            Some(file) if self.audit => file.write(line)?,
            _ => io::stderr().write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
