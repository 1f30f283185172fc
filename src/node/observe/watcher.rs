//! What the S3 face tells: counted always, traced where there is a collector.

use super::{Metrics, traces};
use s3api::{Audit, Entry, Observer, Outcome, RequestId, TraceParent};
use std::sync::Arc;
use tracing::Span;

pub struct Watcher {
    metrics: Arc<Metrics>,
    traced: bool,
}

impl Watcher {
    pub fn new(metrics: &Arc<Metrics>, traced: bool) -> Self {
        Self { metrics: Arc::clone(metrics), traced }
    }
}

impl Observer for Watcher {
    fn connection(&self, entry: Entry) {
        self.metrics.connection(entry);
    }

    fn connection_ended(&self) {
        self.metrics.connection_ended();
    }

    fn request_began(&self, id: &RequestId, trace: TraceParent<'_>) -> Span {
        self.metrics.request_began();
        if self.traced { traces::begin(id, trace) } else { Span::none() }
    }

    fn request_ended(&self, span: &Span, audit: &Audit, outcome: &Outcome<'_>) {
        self.metrics.request_ended(audit, outcome);
        if self.traced {
            traces::end(span, audit, outcome);
        }
    }
}
