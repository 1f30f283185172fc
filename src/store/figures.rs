//! What the store and the rooms below tell of themselves, for whoever watches.

use meta::{EngineFigures, TaskKind};

use crate::{DiskRoom, ScrubFigures, Store, StoreError};

/// A queue is counted to its end up to here: a figure must not cost more than the work it counts.
const MAX_COUNTED: usize = 10_000;

#[derive(Debug, Clone, Default)]
pub struct Figures {
    pub disk: DiskRoom,
    pub metadata: EngineFigures,
    /// Blobs that wait to be deleted; 10,000 stands for that many or more.
    pub cleanup_queue: usize,
    /// Uploads in parts that are not finished, or finished lately; counted likewise.
    pub open_uploads: usize,
    /// Since the start.
    pub scrub: ScrubFigures,
}

impl Store {
    pub async fn figures(&self) -> Result<Figures, StoreError> {
        self.blocking(|inner| {
            Ok(Figures {
                disk: inner.disk.report(),
                metadata: inner.meta.figures(),
                cleanup_queue: inner.meta.count_tasks(TaskKind::Cleanup, MAX_COUNTED)?,
                open_uploads: inner.meta.count_tasks(TaskKind::UploadExpiry, MAX_COUNTED)?,
                scrub: inner.scrubbed.figures(),
            })
        })
        .await
    }
}
