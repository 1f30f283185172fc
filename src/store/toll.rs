//! What a copy that nobody waits for has to wait for, at both of its ends.

use std::sync::Arc;

use crate::member::Member;

/// Beside the parts of a large body, at a provider: the beginning and the end.
const AROUND_PARTS: u64 = 2;

pub(crate) struct Toll<'a> {
    source: Option<Arc<Member>>,
    destination: &'a Arc<Member>,
    size: u64,
    /// What one call takes along.
    part: u64,
    sent: u64,
}

impl<'a> Toll<'a> {
    pub fn new(source: Option<Arc<Member>>, destination: &'a Arc<Member>, size: u64) -> Self {
        let part = if destination.backend.is_remote() { backend::PART_BYTES } else { u64::MAX };
        Self { source, destination, size, part, sent: 0 }
    }

    /// The calls that there are before the first byte.
    pub async fn begin(&self) {
        if let Some(source) = &self.source {
            source.may_call(1).await;
        }
        let around = if self.size > self.part { AROUND_PARTS } else { 0 };
        self.destination.may_call(1 + around).await;
    }

    /// So many bytes more are about to flow.
    pub async fn take(&mut self, bytes: u64) {
        for end in self.source.iter().chain([self.destination]) {
            end.pace.take(bytes).await;
        }
        let parts = self.sent / self.part;
        self.sent += bytes;
        if self.sent < self.size && self.sent / self.part > parts {
            self.destination.may_call(1).await;
        }
    }
}
