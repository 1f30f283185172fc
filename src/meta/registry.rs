//! The backends that this node ever had, in table `system`: a name gets its number once.

use types::Timestamp;

use crate::codec::{DecodeError, Decoded, Reader, Writer};
use crate::commit::{Order, Txn};
use crate::engine::Table;
use crate::error::MetaError;
use crate::replica::{BackendId, EMBEDDED};
use crate::{Meta, list};

const FORMAT: u8 = 1;
const PREFIX: &[u8] = b"backend/";
const BEHIND: &[u8] = b"backend0";

/// What a backend may be used for; survives restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackendState {
    Active,
    /// Takes nothing new, and what it has counts as a copy no more: it is to become empty.
    Draining,
    /// Empty, and not used any more.
    Removed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackendRecord {
    pub id: BackendId,
    pub state: BackendState,
    pub since: Timestamp,
}

impl BackendRecord {
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new(FORMAT);
        w.varint(u64::from(self.id.0));
        w.u8(match self.state {
            BackendState::Active => 0,
            BackendState::Draining => 1,
            BackendState::Removed => 2,
        });
        w.varint(self.since.0);
        w.finish()
    }

    pub fn decode(value: &[u8]) -> Decoded<Self> {
        let mut r = Reader::new(value, FORMAT)?;
        let id = BackendId(r.number()?);
        let state = match r.u8()? {
            0 => BackendState::Active,
            1 => BackendState::Draining,
            2 => BackendState::Removed,
            _ => return Err(DecodeError("unknown backend state")),
        };
        let record = Self { id, state, since: r.timestamp()? };
        r.end()?;
        Ok(record)
    }
}

fn key(name: &str) -> Vec<u8> {
    [PREFIX, name.as_bytes()].concat()
}

impl Meta {
    /// Finds a backend's record, or makes one. The embedded backend has its number under any name.
    pub fn backend(&self, name: &str, embedded: bool, now: Timestamp) -> Result<BackendRecord, MetaError> {
        let name = name.to_owned();
        self.commit_and_wait(Order::Alone, move |txn| {
            let known = scan(txn)?;
            if let Some((_, record)) = known.iter().find(|(known, _)| *known == name) {
                return if (record.id == EMBEDDED) == embedded {
                    Ok(*record)
                } else {
                    Err(MetaError::Damaged(format!(
                        "backend {name:?} was of another kind before: give it another name"
                    )))
                };
            }
            let before = known.iter().find(|(_, record)| record.id == EMBEDDED && embedded);
            let record = match before {
                Some((old, record)) => {
                    txn.delete(Table::System, key(old));
                    *record
                }
                None => {
                    let highest = known.iter().map(|(_, record)| record.id.0).max().unwrap_or(EMBEDDED.0);
                    let id = if embedded { EMBEDDED } else { BackendId(highest + 1) };
                    BackendRecord { id, state: BackendState::Active, since: now }
                }
            };
            txn.put(Table::System, key(&name), record.encode());
            Ok(record)
        })
    }

    /// All that were ever there, in order of their names.
    pub fn backends(&self) -> Result<Vec<(String, BackendRecord)>, MetaError> {
        self.commit_and_wait(Order::Alone, |txn| scan(txn))
    }
}

impl Txn<'_> {
    /// Needs a commit submitted with [`Order::Alone`].
    pub fn set_backend_state(
        &mut self,
        id: BackendId,
        state: BackendState,
        now: Timestamp,
    ) -> Result<bool, MetaError> {
        let Some((name, mut record)) = scan(self)?.into_iter().find(|(_, record)| record.id == id) else {
            return Ok(false);
        };
        if record.state != state {
            (record.state, record.since) = (state, now);
            self.put(Table::System, key(&name), record.encode());
        }
        Ok(true)
    }
}

fn scan(txn: &Txn<'_>) -> Result<Vec<(String, BackendRecord)>, MetaError> {
    let mut found = Vec::new();
    list::walk(txn.engine(), Table::System, PREFIX, Some(BEHIND), |key, value| {
        let name = key.get(PREFIX.len()..).and_then(|name| std::str::from_utf8(name).ok());
        let name = name.ok_or_else(|| MetaError::Damaged("a backend's name".to_owned()))?;
        let record = BackendRecord::decode(value).map_err(MetaError::damaged(Table::System))?;
        found.push((name.to_owned(), record));
        Ok(true)
    })?;
    Ok(found)
}
