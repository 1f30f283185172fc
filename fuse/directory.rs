//! A directory's entries, in pages: each can be made again from where it began, so that an offset
//! stays good for as long as the directory is open, and memory does not grow with the directory.

use std::collections::VecDeque;
use store::{Held, HeldChild, ListStart, Object, Store};
use types::{BucketId, Key};

use crate::errno::{self, Answer};
use crate::names;

/// Entries of a page: a few replies to the kernel.
pub const PAGE_ENTRIES: usize = 256;
/// Keys that hide everything are passed over one by one; after so many the directory is taken to be there.
const MAX_HIDDEN_STEPS: usize = 10_000;

#[derive(Clone)]
pub enum Found {
    File(Object, Held),
    /// With the object that makes it, if there is one.
    Directory(Option<Object>),
}

#[derive(Clone)]
pub struct Entry {
    pub name: Box<str>,
    pub found: Found,
}

/// Where the entries come from.
#[derive(Clone)]
pub struct Source {
    pub store: Store,
    pub bucket: BucketId,
}

/// Where a listing stands between two pages.
#[derive(Clone)]
pub struct Position {
    start: ListStart,
    /// Files that a directory of the same name, further on, may still hide.
    doubtful: Vec<Entry>,
    ready: VecDeque<Entry>,
    ended: bool,
}

impl Position {
    pub fn beginning() -> Self {
        Self { start: ListStart::Beginning, doubtful: Vec::new(), ready: VecDeque::new(), ended: false }
    }

    pub fn has_doubtful(&self) -> bool {
        !self.doubtful.is_empty() || !self.ready.is_empty()
    }

    /// What was read with an earlier page and is handed out with this one, as it is now.
    pub fn look_again(&mut self, source: &Source, prefix: &str) -> Answer<()> {
        for entry in self.doubtful.iter_mut().chain(&mut self.ready) {
            // What is gone keeps its place, so that offsets stay: the kernel was or will be told.
            if let Some(found) = find(source, prefix, &entry.name)? {
                entry.found = found;
            }
        }
        Ok(())
    }

    /// The next page; shorter than a whole one only at the end.
    pub fn page(&mut self, source: &Source, prefix: &str) -> Answer<Vec<Entry>> {
        while self.ready.len() < PAGE_ENTRIES && !self.ended {
            let start = std::mem::take(&mut self.start);
            let children =
                source.store.hold_children(source.bucket, prefix, start, PAGE_ENTRIES).map_err(errno::of)?;
            self.ended = children.len() < PAGE_ENTRIES;
            if let Some(last) = children.last() {
                self.start = last.next();
            }
            for child in children {
                self.take(source, prefix, child)?;
            }
            if self.ended {
                self.ready.extend(self.doubtful.drain(..));
            }
        }
        let count = self.ready.len().min(PAGE_ENTRIES);
        Ok(self.ready.drain(..count).collect())
    }

    fn take(&mut self, source: &Source, prefix: &str, child: HeldChild) -> Answer<()> {
        // `a` is hidden by `a/`, which comes behind `a-b` and `a.b`: a file is sure once that place is passed.
        while let Some(file) = self.doubtful.pop() {
            let hiding = format!("{prefix}{}/", file.name);
            if child.text() < hiding.as_str() {
                self.doubtful.push(file);
                break;
            }
            if child.text() != hiding || !shows_anything(source, &child)? {
                self.ready.push_back(file);
            }
        }
        match child {
            HeldChild::Object(key, object, held) => {
                let name = key.as_str().get(prefix.len()..).unwrap_or_default();
                if !name.is_empty() && names::flaw(name).is_none() {
                    self.doubtful.push(Entry { name: name.into(), found: Found::File(object, held) });
                }
            }
            HeldChild::Below { prefix: ref below, .. } => {
                let name = below.get(prefix.len()..below.len() - 1).unwrap_or_default();
                let text = below.get(prefix.len()..).unwrap_or_default();
                if names::flaw(text).is_none() && shows_anything(source, &child)? {
                    let marker = marker(source, &child)?;
                    self.ready.push_back(Entry { name: name.into(), found: Found::Directory(marker) });
                }
            }
        }
        Ok(())
    }
}

/// Whether the keys below it make a directory.
fn shows_anything(source: &Source, child: &HeldChild) -> Answer<bool> {
    let HeldChild::Below { prefix, first } = child else { return Ok(false) };
    let text = first.as_str().get(prefix.len()..).unwrap_or_default();
    if names::flaw(text).is_none() { Ok(true) } else { exists(source, prefix) }
}

fn marker(source: &Source, child: &HeldChild) -> Answer<Option<Object>> {
    match child {
        // The marker is the first of all that begin with it.
        HeldChild::Below { prefix, first } if first.as_str() == prefix => marker_of(source, prefix),
        _ => Ok(None),
    }
}

/// The object that makes the directory at `prefix`.
pub fn marker_of(source: &Source, prefix: &str) -> Answer<Option<Object>> {
    let Ok(key) = Key::new(prefix) else { return Ok(None) };
    let found = source.store.hold(source.bucket, &key).map_err(errno::of)?;
    Ok(found.map(|(object, _)| object))
}

/// Whether there is a directory at `prefix`: its marker, or a key below it that can be shown.
pub fn exists(source: &Source, prefix: &str) -> Answer<bool> {
    let mut start = ListStart::Beginning;
    for _ in 0..MAX_HIDDEN_STEPS {
        let first = source.store.first_below(source.bucket, prefix, start).map_err(errno::of)?;
        let Some(first) = first else { return Ok(false) };
        let text = first.as_str().get(prefix.len()..).unwrap_or_default();
        let Some(flaw) = names::flaw(text) else { return Ok(true) };
        let hidden = first.as_str().get(..prefix.len() + flaw.end).unwrap_or_default();
        start = match hidden.ends_with('/') {
            true => ListStart::AfterGroup(hidden.to_owned()),
            false => ListStart::After(hidden.to_owned()),
        };
    }
    Ok(true)
}

/// What `name` in the directory at `prefix` is.
pub fn find(source: &Source, prefix: &str, name: &str) -> Answer<Option<Found>> {
    let path = format!("{prefix}{name}");
    let below = format!("{path}/");
    if below.len() <= types::MAX_KEY_BYTES && exists(source, &below)? {
        return Ok(Some(Found::Directory(marker_of(source, &below)?)));
    }
    let Ok(key) = Key::new(path) else { return Ok(None) };
    let found = source.store.hold(source.bucket, &key).map_err(errno::of)?;
    Ok(found.map(|(object, held)| Found::File(object, held)))
}
