//! Listings: pages of a key space, grouped by a delimiter without reading what lies in a group.

use types::{BucketId, Key, UploadId};

use crate::engine::{Cursor, Engine, Table};
use crate::error::MetaError;
use crate::keyspace;
use crate::object::ObjectRecord;
use crate::upload::UploadRecord;

/// Where a page begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    Beginning,
    After(String),
    /// Behind everything that begins with this text.
    AfterGroup(String),
}

pub enum Item<T> {
    Entry(Key, T),
    Group(String),
}

pub struct Page<T> {
    pub items: Vec<Item<T>>,
    pub more: bool,
}

/// The text up to and with the first delimiter behind the prefix.
fn group_of<'a>(key: &'a str, prefix: &str, delimiter: Option<&str>) -> Option<&'a str> {
    let rest = key.get(prefix.len()..)?;
    let delimiter = delimiter.filter(|d| !d.is_empty())?;
    rest.find(delimiter).and_then(|at| key.get(..prefix.len() + at + delimiter.len()))
}

/// What a walk comes by: an object, or the first key of a group.
pub(crate) enum Step<'a> {
    Entry(&'a str, &'a [u8]),
    Group { text: &'a str, first: &'a str },
}

/// Walks the objects of a prefix; the visitor says whether to go on.
pub(crate) fn grouped(
    engine: &dyn Engine,
    bucket: BucketId,
    prefix: &str,
    delimiter: Option<&str>,
    start: &Start,
    mut visit: impl FnMut(Step<'_>) -> Result<bool, MetaError>,
) -> Result<(), MetaError> {
    let at = |text: &str| keyspace::object(bucket, text.as_bytes());
    let end = keyspace::behind_prefix(at(prefix));
    let mut cursor = engine.cursor(Table::Objects, Some(&end));
    let first = match start {
        Start::Beginning => at(prefix),
        Start::After(text) => [at(text), vec![0]].concat(),
        Start::AfterGroup(text) => keyspace::behind_prefix(at(text)),
    };
    cursor.seek(&first.max(at(prefix)));
    while let Some((bytes, value)) = cursor.entry()? {
        let (_, text) = keyspace::split_bucket(bytes).map_err(MetaError::damaged(Table::Objects))?;
        let text = std::str::from_utf8(text)
            .map_err(|_| MetaError::Damaged("an object key that is not UTF-8".to_owned()))?;
        match group_of(text, prefix, delimiter) {
            Some(group) => {
                if !visit(Step::Group { text: group, first: text })? {
                    break;
                }
                let behind = keyspace::behind_prefix(at(group));
                cursor.seek(&behind);
            }
            None => {
                if !visit(Step::Entry(text, value))? {
                    break;
                }
                cursor.advance();
            }
        }
    }
    Ok(())
}

pub(crate) fn objects(
    engine: &dyn Engine,
    bucket: BucketId,
    prefix: &str,
    delimiter: Option<&str>,
    start: &Start,
    max: usize,
) -> Result<Page<ObjectRecord>, MetaError> {
    let mut page = Page { items: Vec::with_capacity(max.min(1000)), more: false };
    grouped(engine, bucket, prefix, delimiter, start, |step| {
        if page.items.len() == max {
            page.more = true;
            return Ok(false);
        }
        page.items.push(match step {
            Step::Group { text, .. } => Item::Group(text.to_owned()),
            Step::Entry(text, value) => {
                let (key, record) = known_object(text, value)?;
                Item::Entry(key, record)
            }
        });
        Ok(true)
    })?;
    Ok(page)
}

pub(crate) fn known_object(text: &str, value: &[u8]) -> Result<(Key, ObjectRecord), MetaError> {
    let record = ObjectRecord::decode(value).map_err(MetaError::damaged(Table::Objects))?;
    Ok((known_key(text)?, record))
}

pub(crate) fn known_key(text: &str) -> Result<Key, MetaError> {
    Key::new(text).map_err(|why| MetaError::Damaged(format!("an object key: {why}")))
}

/// The first key below `prefix`, at `start`.
pub(crate) fn first_below(
    engine: &dyn Engine,
    bucket: BucketId,
    prefix: &str,
    start: &Start,
) -> Result<Option<Key>, MetaError> {
    let mut first = None;
    grouped(engine, bucket, prefix, None, start, |step| {
        if let Step::Entry(text, _) = step {
            first = Some(known_key(text)?);
        }
        Ok(false)
    })?;
    Ok(first)
}

pub struct UploadsQuery<'a> {
    pub prefix: &'a str,
    pub delimiter: Option<&'a str>,
    pub key_marker: Option<&'a str>,
    pub id_marker: Option<UploadId>,
    pub skip_group: Option<&'a str>,
    pub max: usize,
}

pub(crate) fn uploads(
    engine: &dyn Engine,
    bucket: BucketId,
    query: &UploadsQuery<'_>,
) -> Result<Page<(UploadId, UploadRecord)>, MetaError> {
    let at = |text: &str| keyspace::upload_prefix(bucket, text.as_bytes());
    let end = keyspace::behind_prefix(at(query.prefix));
    let mut cursor = engine.cursor(Table::Uploads, Some(&end));
    cursor.seek(&uploads_start(bucket, query).max(at(query.prefix)));
    let mut page = Page { items: Vec::new(), more: false };
    while let Some((bytes, value)) = cursor.entry()? {
        if page.items.len() == query.max {
            page.more = true;
            break;
        }
        let (_, key, id) = keyspace::split_upload(bytes).map_err(MetaError::damaged(Table::Uploads))?;
        match group_of(key.as_str(), query.prefix, query.delimiter) {
            Some(group) => {
                let group = group.to_owned();
                cursor.seek(&keyspace::behind_prefix(at(&group)));
                page.items.push(Item::Group(group));
            }
            None => {
                let record = UploadRecord::decode(value).map_err(MetaError::damaged(Table::Uploads))?;
                page.items.push(Item::Entry(key, (id, record)));
                cursor.advance();
            }
        }
    }
    Ok(page)
}

fn uploads_start(bucket: BucketId, query: &UploadsQuery<'_>) -> Vec<u8> {
    let at = |text: &str| keyspace::upload_prefix(bucket, text.as_bytes());
    if let Some(group) = query.skip_group {
        return keyspace::behind_prefix(at(group));
    }
    let Some(marker) = query.key_marker.filter(|marker| !marker.is_empty()) else { return at(query.prefix) };
    match (query.id_marker, Key::new(marker)) {
        (Some(id), Ok(key)) => [keyspace::upload(bucket, &key, id), vec![0]].concat(),
        // Behind the key's last upload, before its first extension.
        _ => [at(marker), vec![0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]].concat(),
    }
}

/// Walks a whole table; the visitor says whether to go on.
pub(crate) fn walk(
    engine: &dyn Engine,
    table: Table,
    from: &[u8],
    to: Option<&[u8]>,
    mut visit: impl FnMut(&[u8], &[u8]) -> Result<bool, MetaError>,
) -> Result<(), MetaError> {
    let mut cursor: Box<dyn Cursor> = engine.cursor(table, to);
    cursor.seek(from);
    while let Some((key, value)) = cursor.entry()? {
        if !visit(key, value)? {
            break;
        }
        cursor.advance();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_end_with_the_first_delimiter_behind_the_prefix() {
        assert_eq!(group_of("a/b/c", "", Some("/")), Some("a/"));
        assert_eq!(group_of("a/b/c", "a/", Some("/")), Some("a/b/"));
        assert_eq!(group_of("a/", "a/", Some("/")), None);
        assert_eq!(group_of("axxbxx", "", Some("xx")), Some("axx"));
        assert_eq!(group_of("abc", "", Some("")), None);
        assert_eq!(group_of("abc", "", None), None);
    }
}
