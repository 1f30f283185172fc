//! What a file system asks of the objects: what lies in a directory, and whether anything lies below.

use types::{BucketId, Key};

use crate::Meta;
use crate::error::MetaError;
use crate::list::{self, Start, Step};
use crate::object::ObjectRecord;

const DELIMITER: Option<&str> = Some("/");

/// An entry of a directory.
#[derive(Debug, Clone)]
pub enum Child {
    Object(Key, ObjectRecord),
    /// Keys lie below `prefix`, which ends with the delimiter; the first of them.
    Below {
        prefix: String,
        first: Key,
    },
}

impl Child {
    /// The text that the entry is sorted by, and where a listing goes on.
    pub fn text(&self) -> &str {
        match self {
            Self::Object(key, _) => key.as_str(),
            Self::Below { prefix, .. } => prefix,
        }
    }

    pub fn next(&self) -> Start {
        match self {
            Self::Object(key, _) => Start::After(key.as_str().to_owned()),
            Self::Below { prefix, .. } => Start::AfterGroup(prefix.clone()),
        }
    }
}

impl Meta {
    /// The first key below `prefix` at `start`.
    pub fn first_below(
        &self,
        bucket: BucketId,
        prefix: &str,
        start: &Start,
    ) -> Result<Option<Key>, MetaError> {
        list::first_below(self.engine(), bucket, prefix, start)
    }

    /// At most `max` entries of the directory at `prefix`; fewer only at its end.
    pub fn children(
        &self,
        bucket: BucketId,
        prefix: &str,
        start: &Start,
        max: usize,
    ) -> Result<Vec<Child>, MetaError> {
        let mut found = Vec::with_capacity(max.min(1024));
        list::grouped(self.engine(), bucket, prefix, DELIMITER, start, |step| {
            found.push(match step {
                Step::Group { text, first } => {
                    Child::Below { prefix: text.to_owned(), first: list::known_key(first)? }
                }
                Step::Entry(text, value) => {
                    let (key, record) = list::known_object(text, value)?;
                    Child::Object(key, record)
                }
            });
            Ok(found.len() < max)
        })?;
        Ok(found)
    }
}
