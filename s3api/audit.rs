//! One line in the audit log for every request, when its answer is sent or its client gone.
//!
//! It never holds a secret, a signature or a query string: nothing here has seen one.

use http::StatusCode;
use std::time::Duration;

use crate::RequestId;
use crate::error::{Code, S3Error};
use crate::proxies::Remote;

/// What the operation layer says of a request; the server adds the rest.
#[derive(Debug, Clone, Default)]
pub struct Audit {
    /// AWS's name: `PutObject`. Empty: it was answered before anybody knew.
    pub operation: &'static str,
    pub access_key_id: Option<String>,
    pub bucket: Option<String>,
    pub key: Option<String>,
    pub code: Option<Code>,
    /// What really happened, where the client is told less.
    pub cause: Option<String>,
}

impl Audit {
    pub fn of(operation: &'static str) -> Self {
        Self { operation, ..Self::default() }
    }

    pub fn failed(&mut self, error: &S3Error) {
        self.code = Some(error.code);
        self.cause.clone_from(&error.cause);
    }
}

/// The facts that only the server knows.
pub struct Outcome<'a> {
    pub id: &'a RequestId,
    pub remote: Remote,
    /// `None`: the client went away before there was an answer.
    pub status: Option<StatusCode>,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub duration: Duration,
    /// The answer was not sent to its end.
    pub aborted: bool,
}

impl Outcome<'_> {
    /// 499, as nginx logs it: no answer was sent because the client had gone.
    pub fn status_code(&self) -> u16 {
        self.status.map_or(499, |status| status.as_u16())
    }
}

pub(crate) fn record(audit: &Audit, outcome: &Outcome<'_>) {
    let code = audit.code.map(Code::name);
    let duration_ms = u64::try_from(outcome.duration.as_millis()).unwrap_or(u64::MAX);
    let status = outcome.status_code();
    tracing::info!(
        target: "audit",
        request_id = outcome.id.as_str(),
        access_key_id = audit.access_key_id.as_deref(),
        operation = if audit.operation.is_empty() { "-" } else { audit.operation },
        bucket = audit.bucket.as_deref(),
        key = audit.key.as_deref(),
        status,
        bytes_in = outcome.bytes_in,
        bytes_out = outcome.bytes_out,
        duration_ms,
        error = code,
        aborted = outcome.aborted,
        remote = %outcome.remote,
    );
    report_cause(audit, outcome, status);
}

/// What is our fault goes to the ordinary log as well, with its cause.
fn report_cause(audit: &Audit, outcome: &Outcome<'_>, status: u16) {
    let ours = audit.code.is_some_and(|code| code.status().is_server_error()) || status >= 500;
    if let Some(cause) = audit.cause.as_deref().filter(|_| ours) {
        tracing::error!(
            request_id = outcome.id.as_str(),
            operation = audit.operation,
            status,
            cause,
            "request failed"
        );
    }
}
