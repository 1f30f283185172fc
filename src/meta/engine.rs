//! The one trait between the records and the key-value store below them: ordered reads over a
//! snapshot, and an atomic, durable write. Preconditions are decided above it, by the committer,
//! which is the only writer.

use std::fmt;
use std::path::Path;

use crate::figures::EngineFigures;

/// The tables, each a key space of its own in byte order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// What the engine says of itself: format, sequence ceiling, bucket ids.
    System,
    Objects,
    Blobs,
    Inline,
    Uploads,
    Parts,
    Intents,
    Tasks,
    Ledger,
    Events,
}

impl Table {
    pub const ALL: [Table; 10] = [
        Self::System,
        Self::Objects,
        Self::Blobs,
        Self::Inline,
        Self::Uploads,
        Self::Parts,
        Self::Intents,
        Self::Tasks,
        Self::Ledger,
        Self::Events,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Objects => "objects",
            Self::Blobs => "blobs",
            Self::Inline => "inline",
            Self::Uploads => "uploads",
            Self::Parts => "parts",
            Self::Intents => "intents",
            Self::Tasks => "tasks",
            Self::Ledger => "ledger",
            Self::Events => "events",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineError {
    /// No room on the disk.
    Full(String),
    /// The answer is not in memory (only from [`Engine::get_cached`]).
    NotCached,
    Io(String),
    /// A write has failed before: no more are taken until the engine is opened anew.
    Fenced,
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(what) => write!(f, "no room for metadata: {what}"),
            Self::NotCached => write!(f, "not in memory"),
            Self::Io(what) => write!(f, "metadata: {what}"),
            Self::Fenced => write!(f, "metadata: a write has failed; none are taken until a restart"),
        }
    }
}

/// One atomic write: ranges go first, then the single keys.
#[derive(Debug, Default)]
pub struct Batch {
    pub delete_ranges: Vec<(Table, Vec<u8>, Vec<u8>)>,
    pub writes: Vec<(Table, Vec<u8>, Option<Vec<u8>>)>,
}

pub trait Engine: Send + Sync + 'static {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError>;

    /// As `get`, but never waits for a disk: `NotCached` where it would.
    fn get_cached(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError>;

    /// A cursor over `from..to` of a snapshot taken now, not yet placed.
    fn cursor<'a>(&'a self, table: Table, to: Option<&[u8]>) -> Box<dyn Cursor + 'a>;

    /// Durable, as far as the durability setting promises, when it returns.
    fn write(&self, batch: Batch) -> Result<(), EngineError>;

    /// Writes what is in memory to tables, so that the next start has nothing to replay.
    fn flush(&self) -> Result<(), EngineError>;

    /// Leaves a consistent copy of everything in a directory that does not exist yet, on the same file system: all
    /// that was written before, as files that never change.
    fn checkpoint(&self, into: &Path) -> Result<(), EngineError> {
        Err(EngineError::Io(format!("this engine cannot be copied to {}", into.display())))
    }

    /// May read a directory: not for threads that serve sockets.
    fn figures(&self) -> EngineFigures {
        EngineFigures::default()
    }
}

pub trait Cursor {
    /// Moves to the first entry at or behind `key`.
    fn seek(&mut self, key: &[u8]);
    fn advance(&mut self);
    /// `None` at the end of the range.
    fn entry(&self) -> Result<Option<(&[u8], &[u8])>, EngineError>;
}
