//! Who watches the face. What it is told becomes metrics and traces; it decides nothing.
//!
//! It is told on the threads that serve sockets: it must not wait.

use tracing::Span;

use crate::RequestId;
use crate::audit::{Audit, Outcome};

/// What came of a connection that wanted to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Entry {
    Admitted,
    /// There were too many, from everybody or from its address.
    TurnedAway,
    /// No TLS came of it.
    BadHandshake,
}

/// What a request says of the trace that it is part of (<https://www.w3.org/TR/trace-context/>).
#[derive(Debug, Clone, Copy, Default)]
pub struct TraceParent<'a> {
    pub traceparent: Option<&'a str>,
    pub tracestate: Option<&'a str>,
}

pub trait Observer: Send + Sync + 'static {
    fn connection(&self, _entry: Entry) {}

    fn connection_ended(&self) {}

    /// The span within which the request is handled, and which ends with its answer.
    fn request_began(&self, _id: &RequestId, _trace: TraceParent<'_>) -> Span {
        Span::none()
    }

    fn request_ended(&self, _span: &Span, _audit: &Audit, _outcome: &Outcome<'_>) {}
}

/// Nobody watches.
#[derive(Debug, Clone, Copy)]
pub struct Unobserved;

impl Observer for Unobserved {}
