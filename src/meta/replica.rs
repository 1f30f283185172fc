//! Where a blob's bytes lie: one replica on one backend, and what is known of it.

use std::sync::Arc;
use types::Timestamp;

use crate::codec::{DecodeError, Decoded, Reader, Writer};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackendId(pub u16);

/// The backend in the data directory.
pub const EMBEDDED: BackendId = BackendId(0);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// A value in table `inline`, under the blob's id.
    Inline,
    /// A file of exactly the blob's bytes, named by the blob's id.
    File,
    /// Under this name on the backend; no name is ever used twice.
    Object(Arc<str>),
}

/// A place on a backend.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    pub backend: BackendId,
    pub place: Place,
}

/// What is known of a replica's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    Good,
    /// Something was wrong that may have been the way and not the bytes; since when.
    Suspect(Timestamp),
    /// The bytes are missing or fail their checksums.
    Bad(Timestamp),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    pub backend: BackendId,
    pub place: Place,
    pub health: Health,
    /// When its bytes were last held against the checksums; 0 is never.
    pub verified: Timestamp,
}

impl Target {
    pub const fn new(backend: BackendId, place: Place) -> Self {
        Self { backend, place }
    }

    pub(crate) fn write(&self, w: &mut Writer) {
        w.varint(u64::from(self.backend.0));
        match &self.place {
            Place::Inline => w.u8(0),
            Place::File => w.u8(1),
            Place::Object(name) => {
                w.u8(2);
                w.bytes(name.as_bytes());
            }
        }
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Decoded<Self> {
        let backend = BackendId(r.number()?);
        let place = match r.u8()? {
            0 => Place::Inline,
            1 => Place::File,
            2 => Place::Object(r.text()?.into()),
            _ => return Err(DecodeError("unknown place")),
        };
        Ok(Self { backend, place })
    }
}

impl Replica {
    /// As it was just written.
    pub fn new(target: Target, verified: Timestamp) -> Self {
        let Target { backend, place } = target;
        Self { backend, place, health: Health::Good, verified }
    }

    pub fn target(&self) -> Target {
        Target { backend: self.backend, place: self.place.clone() }
    }

    pub fn is_at(&self, target: &Target) -> bool {
        self.backend == target.backend && self.place == target.place
    }

    pub fn is_good(&self) -> bool {
        self.health == Health::Good
    }

    pub(crate) fn write(&self, w: &mut Writer) {
        self.target().write(w);
        match self.health {
            Health::Good => w.u8(0),
            Health::Suspect(since) => {
                w.u8(1);
                w.varint(since.0);
            }
            Health::Bad(since) => {
                w.u8(2);
                w.varint(since.0);
            }
        }
        w.varint(self.verified.0);
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Decoded<Self> {
        let Target { backend, place } = Target::read(r)?;
        let health = match r.u8()? {
            0 => Health::Good,
            1 => Health::Suspect(r.timestamp()?),
            2 => Health::Bad(r.timestamp()?),
            _ => return Err(DecodeError("unknown health")),
        };
        Ok(Self { backend, place, health, verified: r.timestamp()? })
    }
}
