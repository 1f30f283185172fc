//! The one sequence of numbers: blob ids, object versions, upload ids. None comes twice, because
//! the ceiling that is on disk is always above what was handed out.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::engine::Table;

const KEY: &[u8] = b"sequence";

pub struct Sequence {
    pub(crate) next: AtomicU64,
    pub(crate) ceiling: AtomicU64,
}

impl Sequence {
    /// Numbers skipped at most by a crash.
    pub(crate) const STEP: u64 = 1 << 20;

    /// Continues behind everything that an earlier run may have handed out.
    pub fn from_record(record: Option<&[u8]>) -> Option<Self> {
        let ceiling = match record {
            Some(bytes) => u64::from_be_bytes(bytes.try_into().ok()?),
            // 0 and 1 mean "none" and the root in file systems.
            None => 2,
        };
        Some(Self { next: AtomicU64::new(ceiling), ceiling: AtomicU64::new(ceiling) })
    }

    pub fn key() -> &'static [u8] {
        KEY
    }

    pub(crate) fn record(ceiling: u64) -> (Table, Vec<u8>, Option<Vec<u8>>) {
        (Table::System, KEY.to_vec(), Some(ceiling.to_be_bytes().to_vec()))
    }

    pub(crate) fn set_ceiling(&self, ceiling: u64) {
        self.ceiling.store(ceiling, Ordering::Release);
    }

    /// `None` when the disk refuses to raise the ceiling and half a million numbers were used.
    pub fn next(&self) -> Option<u64> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        (id < self.ceiling.load(Ordering::Acquire)).then_some(id)
    }
}
