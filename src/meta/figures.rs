//! What the engine and the committer tell of themselves, for whoever watches.

use std::time::Duration;

/// A batch of commits that is durable, or failed.
#[derive(Debug, Clone, Copy)]
pub struct BatchReport<'a> {
    /// From the moment each commit was handed in until the batch was settled.
    pub waits: &'a [Duration],
    /// Keys and values that it wrote.
    pub bytes: usize,
    /// The write itself, with its sync. Zero where there was nothing to write.
    pub write: Duration,
    pub failed: bool,
}

/// The key-value store, now.
#[derive(Debug, Clone, Default)]
pub struct EngineFigures {
    pub block_cache_bytes: u64,
    pub block_cache_capacity_bytes: u64,
    /// Files of the log that a start after a crash would read.
    pub log_bytes: u64,
    pub running_compactions: u64,
    pub running_flushes: u64,
    pub background_errors: u64,
    pub write_stopped: bool,
    pub tables: Vec<TableFigures>,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct TableFigures {
    pub name: &'static str,
    /// An estimate: deleted keys count until they are compacted away.
    pub keys: u64,
    pub memtable_bytes: u64,
    pub files_bytes: u64,
    pub pending_compaction_bytes: u64,
}
