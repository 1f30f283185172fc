//! What the store and the rooms below tell of themselves, for whoever watches.

use meta::{EngineFigures, TaskKind};

use crate::{DiskRoom, ScrubFigures, Store, StoreError};

/// A queue is counted to its end up to here: a figure must not cost more than the work it counts.
pub const MAX_COUNTED: usize = 10_000;

#[derive(Debug, Clone, Default)]
pub struct Figures {
    pub disk: DiskRoom,
    pub metadata: EngineFigures,
    /// Blobs that wait to be deleted; 10,000 stands for that many or more.
    pub cleanup_queue: usize,
    /// Blobs with a copy too few, with one too many, and those that are tried again later; counted likewise.
    pub copies: CopyQueues,
    /// Acknowledgements that did not wait for a mount any longer.
    pub late_gates: u64,
    /// Uploads in parts that are not finished, or finished lately; counted likewise.
    pub open_uploads: usize,
    /// Since the start.
    pub scrub: ScrubFigures,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct CopyQueues {
    pub missing: usize,
    pub excess: usize,
    pub deferred: usize,
}

impl CopyQueues {
    pub fn all(&self) -> usize {
        self.missing + self.excess + self.deferred
    }
}

impl Store {
    /// What copying and verifying has moved, at all backends, since the start.
    pub fn background_bytes(&self) -> u64 {
        self.0.fleet.members().iter().map(|member| member.pace.taken()).sum()
    }

    /// Blobs whose copies can be worked on now; 10,000 stands for that many or more.
    pub async fn copies_to_do(&self) -> Result<usize, StoreError> {
        self.blocking(|inner| {
            let missing = inner.meta.count_tasks(TaskKind::Replicate, MAX_COUNTED)?;
            Ok(missing + inner.meta.count_tasks(TaskKind::Excess, MAX_COUNTED)?)
        })
        .await
    }

    pub async fn figures(&self) -> Result<Figures, StoreError> {
        self.blocking(|inner| {
            Ok(Figures {
                disk: inner.disk.report(),
                metadata: inner.meta.figures(),
                cleanup_queue: inner.meta.count_tasks(TaskKind::Cleanup, MAX_COUNTED)?,
                open_uploads: inner.meta.count_tasks(TaskKind::UploadExpiry, MAX_COUNTED)?,
                copies: CopyQueues {
                    missing: inner.meta.count_tasks(TaskKind::Replicate, MAX_COUNTED)?,
                    excess: inner.meta.count_tasks(TaskKind::Excess, MAX_COUNTED)?,
                    deferred: inner.meta.count_tasks(TaskKind::Deferred, MAX_COUNTED)?,
                },
                late_gates: inner.barrier.late(),
                scrub: inner.scrubbed.figures(),
            })
        })
        .await
    }
}
