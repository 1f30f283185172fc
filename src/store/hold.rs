//! Objects as a mount knows them: found without waiting for anybody, and readable until let go.
//!
//! These calls run on the caller's thread and may wait for the local disk, for nothing else.

use meta::{Child, ObjectRecord, Start};
use types::{BucketId, Key};

use crate::pins::Pin;
use crate::{ListStart, Object, OpenObject, Store, StoreError};

/// One version of an object. Its bytes stay while this exists, whatever happens to its key.
#[derive(Clone)]
pub struct Held {
    /// Encoded: a mount holds as many of these as the kernel caches inodes.
    record: Box<[u8]>,
    size: u64,
    pin: Pin,
}

impl Held {
    pub(crate) fn of(object: &Object, pin: Pin) -> Self {
        Self { record: object.encode().into_boxed_slice(), size: object.size, pin }
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    pub fn object(&self) -> Result<Object, StoreError> {
        ObjectRecord::decode(&self.record).map_err(|error| StoreError::Corrupt(error.0.to_owned()))
    }
}

/// An entry of a directory.
pub enum HeldChild {
    Object(Key, Object, Held),
    /// Keys lie below `prefix`, which ends with a slash; the first of them.
    Below {
        prefix: String,
        first: Key,
    },
}

impl HeldChild {
    /// The text that entries are sorted by.
    pub fn text(&self) -> &str {
        match self {
            Self::Object(key, ..) => key.as_str(),
            Self::Below { prefix, .. } => prefix,
        }
    }

    /// Where a listing goes on behind this entry.
    pub fn next(&self) -> ListStart {
        match self {
            Self::Object(key, ..) => ListStart::After(key.as_str().to_owned()),
            Self::Below { prefix, .. } => ListStart::AfterGroup(prefix.clone()),
        }
    }
}

impl From<ListStart> for Start {
    fn from(start: ListStart) -> Self {
        match start {
            ListStart::Beginning => Self::Beginning,
            ListStart::After(text) => Self::After(text),
            ListStart::AfterGroup(text) => Self::AfterGroup(text),
        }
    }
}

impl Store {
    /// The object as it is now.
    pub fn hold(&self, bucket: BucketId, key: &Key) -> Result<Option<(Object, Held)>, StoreError> {
        let _no_cleanup = self.0.pins.enter();
        let found = self.0.meta.object(bucket, key)?;
        Ok(found.map(|object| self.held(object)))
    }

    fn held(&self, object: Object) -> (Object, Held) {
        let pin = self.0.pins.pin(object.blob);
        let held = Held::of(&object, pin);
        (object, held)
    }

    /// The first key below `prefix`, at `start`.
    pub fn first_below(
        &self,
        bucket: BucketId,
        prefix: &str,
        start: ListStart,
    ) -> Result<Option<Key>, StoreError> {
        Ok(self.0.meta.first_below(bucket, prefix, &start.into())?)
    }

    /// At most `max` entries of the directory at `prefix`; fewer only at its end.
    pub fn hold_children(
        &self,
        bucket: BucketId,
        prefix: &str,
        start: ListStart,
        max: usize,
    ) -> Result<Vec<HeldChild>, StoreError> {
        let _no_cleanup = self.0.pins.enter();
        let found = self.0.meta.children(bucket, prefix, &start.into(), max)?;
        Ok(found.into_iter().map(|child| self.held_child(child)).collect())
    }

    fn held_child(&self, child: Child) -> HeldChild {
        match child {
            Child::Object(key, object) => {
                let (object, held) = self.held(object);
                HeldChild::Object(key, object, held)
            }
            Child::Below { prefix, first } => HeldChild::Below { prefix, first },
        }
    }

    /// Ready to be read, also when the key has another object or none by now.
    pub fn open_held(&self, held: &Held) -> Result<OpenObject, StoreError> {
        OpenObject::load(self, held.object()?, held.pin.clone())
    }
}
