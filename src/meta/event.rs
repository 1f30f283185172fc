//! The table `events`: what must be told to somebody outside, until it has been.
//!
//! An event is written in the batch of the change that it tells of, so that none is lost and none
//! tells of what did not happen. Each receiver has a queue of its own, in the order of the commits.

use types::{BucketId, ETag, Key, Timestamp};

use crate::codec::{DecodeError, Decoded, Reader, Writer};
use crate::commit::Txn;
use crate::engine::Table;
use crate::error::MetaError;
use crate::keyspace;
use crate::object::ObjectRecord;

const FORMAT: u8 = 1;

/// A receiver, by a number that its owner gives it and that outlives a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HookId(pub u64);

/// How an object came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cause {
    #[default]
    Put,
    Copy,
    Complete,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Created {
        bucket: BucketId,
        key: Key,
        cause: Cause,
        size: u64,
        etag: ETag,
        at: Timestamp,
    },
    Removed {
        bucket: BucketId,
        key: Key,
        at: Timestamp,
    },
    /// Of the node itself; what it says is its author's affair.
    Notice {
        text: String,
        at: Timestamp,
    },
}

impl Event {
    pub fn at(&self) -> Timestamp {
        let (Self::Created { at, .. } | Self::Removed { at, .. } | Self::Notice { at, .. }) = self;
        *at
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new(FORMAT);
        w.varint(self.at().0);
        match self {
            Self::Created { bucket, key, cause, size, etag, .. } => {
                w.u8(0);
                w.u8(cause_code(*cause));
                w.varint(u64::from(bucket.0));
                w.bytes(key.as_bytes());
                w.varint(*size);
                w.etag(etag);
            }
            Self::Removed { bucket, key, .. } => {
                w.u8(1);
                w.varint(u64::from(bucket.0));
                w.bytes(key.as_bytes());
            }
            Self::Notice { text, .. } => {
                w.u8(2);
                w.bytes(text.as_bytes());
            }
        }
        w.finish()
    }

    pub fn decode(value: &[u8]) -> Decoded<Self> {
        let mut r = Reader::new(value, FORMAT)?;
        let at = r.timestamp()?;
        let event = match r.u8()? {
            0 => {
                let cause = cause(r.u8()?)?;
                let (bucket, key) = (BucketId(r.number()?), read_key(&mut r)?);
                Self::Created { bucket, key, cause, size: r.varint()?, etag: r.etag()?, at }
            }
            1 => Self::Removed { bucket: BucketId(r.number()?), key: read_key(&mut r)?, at },
            2 => {
                let text = String::from_utf8(r.bytes()?.to_vec()).map_err(|_| DecodeError("bad notice"))?;
                Self::Notice { text, at }
            }
            _ => return Err(DecodeError("unknown event")),
        };
        r.end()?;
        Ok(event)
    }
}

fn read_key(r: &mut Reader<'_>) -> Decoded<Key> {
    Key::from_utf8(r.bytes()?.to_vec()).map_err(|_| DecodeError("bad key of an event"))
}

fn cause_code(cause: Cause) -> u8 {
    match cause {
        Cause::Put => 0,
        Cause::Copy => 1,
        Cause::Complete => 2,
    }
}

fn cause(code: u8) -> Decoded<Cause> {
    match code {
        0 => Ok(Cause::Put),
        1 => Ok(Cause::Copy),
        2 => Ok(Cause::Complete),
        _ => Err(DecodeError("unknown cause")),
    }
}

/// Who wants to be told. Asked on the committer's thread: it must not wait.
pub trait Outbox: Send + Sync {
    fn wants_created(&self, bucket: BucketId, key: &Key) -> Vec<HookId>;
    fn wants_removed(&self, bucket: BucketId, key: &Key) -> Vec<HookId>;
    fn now(&self) -> Timestamp;
    /// The queues hold as much as they may: this one will never be told.
    fn dropped(&self, hook: HookId);
    /// There is something to tell.
    fn queued(&self);
}

impl Txn<'_> {
    /// How the objects come to be that this commit writes.
    pub fn written_by(&mut self, cause: Cause) {
        self.cause = cause;
    }

    pub(crate) fn tell_created(
        &mut self,
        bucket: BucketId,
        key: &Key,
        size: u64,
        etag: &ETag,
    ) -> Result<(), MetaError> {
        let Some(outbox) = self.outbox() else { return Ok(()) };
        let hooks = outbox.wants_created(bucket, key);
        if hooks.is_empty() {
            return Ok(());
        }
        let (key, cause, etag) = (key.clone(), self.cause, *etag);
        self.tell(&hooks, &Event::Created { bucket, key, cause, size, etag, at: outbox.now() })
    }

    pub(crate) fn tell_removed(&mut self, bucket: BucketId, key: &Key) -> Result<(), MetaError> {
        let Some(outbox) = self.outbox() else { return Ok(()) };
        let hooks = outbox.wants_removed(bucket, key);
        if hooks.is_empty() {
            return Ok(());
        }
        self.tell(&hooks, &Event::Removed { bucket, key: key.clone(), at: outbox.now() })
    }

    /// S3 has no word for it: what is gone, and what came.
    pub(crate) fn tell_moved(
        &mut self,
        bucket: BucketId,
        from: &Key,
        to: &Key,
        record: &ObjectRecord,
    ) -> Result<(), MetaError> {
        self.tell_removed(bucket, from)?;
        self.written_by(Cause::Copy);
        self.tell_created(bucket, to, record.size, &record.etag)
    }

    /// Puts an event on the queues of these receivers.
    pub fn tell(&mut self, hooks: &[HookId], event: &Event) -> Result<(), MetaError> {
        let value = event.encode();
        for hook in hooks {
            if !self.event_fits() {
                if let Some(outbox) = self.outbox() {
                    outbox.dropped(*hook);
                }
                continue;
            }
            let sequence = self.next_id()?;
            self.put(Table::Events, keyspace::event(*hook, sequence).to_vec(), value.clone());
            self.count_event(1);
        }
        Ok(())
    }

    /// These have been told.
    pub fn told(&mut self, hook: HookId, sequences: &[u64]) -> Result<(), MetaError> {
        for sequence in sequences {
            let key = keyspace::event(hook, *sequence);
            if self.get(Table::Events, &key)?.is_some() {
                self.delete(Table::Events, key.to_vec());
                self.count_event(-1);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn events_read_back() {
        let (bucket, key, at) = (BucketId(3), Key::new("a/ü").unwrap(), Timestamp(1_700_000_000_000));
        let etag = ETag { md5: [7; 16], parts: Some(3) };
        for event in [
            Event::Created { bucket, key: key.clone(), cause: Cause::Complete, size: 1 << 40, etag, at },
            Event::Removed { bucket, key, at },
            Event::Notice { text: "{\"ü\":1}".to_owned(), at },
        ] {
            assert_eq!(Event::decode(&event.encode()), Ok(event));
        }
        assert!(Event::decode(&[FORMAT, 0, 9]).is_err());
    }
}
