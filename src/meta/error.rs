//! What can go wrong in the metadata engine.

use std::fmt;
use types::condition::WriteRefusal;

use crate::codec::DecodeError;
use crate::engine::{EngineError, Table};
use crate::ledger::QuotaExceeded;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetaError {
    /// A precondition does not hold.
    Refused(WriteRefusal),
    Quota(QuotaExceeded),
    Engine(EngineError),
    /// A record that cannot be read, or that contradicts another.
    Damaged(String),
    /// The engine is closed.
    Closed,
}

impl MetaError {
    pub fn damaged(table: Table) -> impl Fn(DecodeError) -> Self {
        move |error| Self::Damaged(format!("a record of table {}: {}", table.name(), error.0))
    }
}

impl From<EngineError> for MetaError {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

impl fmt::Display for MetaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(why) => write!(f, "precondition failed: {why:?}"),
            Self::Quota(QuotaExceeded(account)) => write!(f, "quota exceeded: {account:?}"),
            Self::Engine(error) => write!(f, "{error}"),
            Self::Damaged(what) => write!(f, "{what}"),
            Self::Closed => write!(f, "the metadata engine is closed"),
        }
    }
}

impl std::error::Error for MetaError {}
