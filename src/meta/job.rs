//! Work that an operator ordered and that outlives the node, in table `system`: one record a name.

use types::Timestamp;

use crate::codec::{DecodeError, Decoded, Reader, Writer};
use crate::commit::Txn;
use crate::engine::Table;
use crate::error::MetaError;
use crate::{Meta, list};

const FORMAT: u8 = 1;
const PREFIX: &[u8] = b"job/";
const BEHIND: &[u8] = b"job0";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    Running,
    /// Held by its operator, also over a restart.
    Paused,
    Done,
    Cancelled,
    /// It cannot be done; its message says why.
    Failed,
}

impl JobState {
    /// Whether there is still something to do.
    pub fn is_live(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }
}

/// How far a job is. Totals are what is known of them by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JobProgress {
    pub items: u64,
    pub total_items: Option<u64>,
    pub bytes: u64,
    pub total_bytes: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRecord {
    /// `drain`.
    pub kind: String,
    /// The backend or bucket that it is about; empty if it is about all.
    pub subject: String,
    /// What was asked for, in the words of whoever carries it out.
    pub order: String,
    pub state: JobState,
    pub started: Timestamp,
    pub ended: Option<Timestamp>,
    pub progress: JobProgress,
    /// Where to go on, in the words of whoever carries it out.
    pub cursor: Vec<u8>,
    /// For people: what it waits for, what came of it.
    pub message: String,
}

impl JobRecord {
    pub fn new(kind: &str, subject: &str, order: &str, started: Timestamp) -> Self {
        Self {
            kind: kind.to_owned(),
            subject: subject.to_owned(),
            order: order.to_owned(),
            state: JobState::Running,
            started,
            ended: None,
            progress: JobProgress::default(),
            cursor: Vec::new(),
            message: String::new(),
        }
    }

    /// What it is called: there is one live job of a name.
    pub fn name(&self) -> String {
        match self.subject.is_empty() {
            true => self.kind.clone(),
            false => format!("{}/{}", self.kind, self.subject),
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new(FORMAT);
        for text in [&self.kind, &self.subject, &self.order, &self.message] {
            w.bytes(text.as_bytes());
        }
        w.u8(match self.state {
            JobState::Running => 0,
            JobState::Paused => 1,
            JobState::Done => 2,
            JobState::Cancelled => 3,
            JobState::Failed => 4,
        });
        w.varint(self.started.0);
        w.varint(self.ended.map_or(0, |at| at.0));
        w.varint(self.progress.items);
        w.varint(self.progress.total_items.map_or(0, |n| n.saturating_add(1)));
        w.varint(self.progress.bytes);
        w.varint(self.progress.total_bytes.map_or(0, |n| n.saturating_add(1)));
        w.bytes(&self.cursor);
        w.finish()
    }

    pub fn decode(value: &[u8]) -> Decoded<Self> {
        let mut r = Reader::new(value, FORMAT)?;
        let (kind, subject, order, message) = (r.text()?, r.text()?, r.text()?, r.text()?);
        let state = match r.u8()? {
            0 => JobState::Running,
            1 => JobState::Paused,
            2 => JobState::Done,
            3 => JobState::Cancelled,
            4 => JobState::Failed,
            _ => return Err(DecodeError("unknown state of a job")),
        };
        let (started, ended) = (r.timestamp()?, r.timestamp()?);
        let progress = JobProgress {
            items: r.varint()?,
            total_items: r.varint()?.checked_sub(1),
            bytes: r.varint()?,
            total_bytes: r.varint()?.checked_sub(1),
        };
        let cursor = r.bytes()?.to_vec();
        r.end()?;
        let ended = (ended.0 > 0).then_some(ended);
        Ok(Self { kind, subject, order, state, started, ended, progress, cursor, message })
    }
}

fn key(name: &str) -> Vec<u8> {
    [PREFIX, name.as_bytes()].concat()
}

impl Meta {
    /// All jobs that are remembered, in order of their names.
    pub fn jobs(&self) -> Result<Vec<JobRecord>, MetaError> {
        let mut found = Vec::new();
        list::walk(self.engine(), Table::System, PREFIX, Some(BEHIND), |_, value| {
            found.push(JobRecord::decode(value).map_err(MetaError::damaged(Table::System))?);
            Ok(true)
        })?;
        Ok(found)
    }
}

impl Txn<'_> {
    pub fn job(&self, name: &str) -> Result<Option<JobRecord>, MetaError> {
        let value = self.get(Table::System, &key(name))?;
        value.map(|bytes| JobRecord::decode(&bytes)).transpose().map_err(MetaError::damaged(Table::System))
    }

    /// Notes a new job. It takes the place of one of its name that has ended; `false`: there is one
    /// that has not.
    pub fn begin_job(&mut self, record: &JobRecord) -> Result<bool, MetaError> {
        if self.job(&record.name())?.is_some_and(|before| before.state.is_live()) {
            return Ok(false);
        }
        self.put_job(record);
        Ok(true)
    }

    pub fn put_job(&mut self, record: &JobRecord) {
        self.put(Table::System, key(&record.name()), record.encode());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_record_reads_back() {
        let mut record = JobRecord::new("import", "b2", r#"{"prefix":"a/"}"#, Timestamp(5));
        assert_eq!(
            (record.name(), JobRecord::decode(&record.encode())),
            ("import/b2".to_owned(), Ok(record.clone()))
        );
        record.state = JobState::Failed;
        record.ended = Some(Timestamp(9));
        record.progress = JobProgress { items: 1, total_items: Some(0), bytes: 7, total_bytes: Some(70) };
        record.cursor = vec![0, 255];
        record.message = "no room".to_owned();
        assert_eq!(JobRecord::decode(&record.encode()), Ok(record.clone()));
        let bytes = record.encode();
        assert!((0..bytes.len()).all(|end| JobRecord::decode(&bytes[..end]).is_err()));
    }
}
