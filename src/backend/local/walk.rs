//! Listing a tree in the byte order of its paths.

use super::identity;
use super::tree::Tree;
use crate::{About, BackendError, Found, Location, Page};
use std::fs::{DirEntry, Metadata};
use std::io;
use std::time::UNIX_EPOCH;
use types::Timestamp;

/// Names at the root that are ours and no replica.
pub const MARKER: &str = ".s3-orchestrator";
/// The file system's own, and closed to everybody but root.
const LOST_AND_FOUND: &str = "lost+found/";

/// Every file.
pub fn all(tree: &Tree, visit: &mut dyn FnMut(Found)) -> io::Result<()> {
    let everything = Wanted { prefix: "", after: "" };
    walk(tree, "", &everything, &mut |found| {
        visit(found);
        true
    })?;
    Ok(())
}

pub fn page(tree: &Tree, prefix: &str, after: Option<&Location>, limit: usize) -> io::Result<Page> {
    let wanted = Wanted { prefix, after: after.map_or("", Location::as_str) };
    let mut page = Page::default();
    walk(tree, "", &wanted, &mut |found| {
        page.found.push(found);
        page.found.len() < limit
    })?;
    if page.found.len() >= limit {
        page.next = page.found.last().map(|found| found.location.clone());
    }
    Ok(page)
}

pub fn about(tree: &Tree, location: &Location) -> Result<About, BackendError> {
    let file = tree.get(location)?;
    let found = found(location.clone(), &file.0.metadata()?);
    let described = identity::read(&file);
    let identity::Described { headers, metadata, identity } = described;
    Ok(About { found, headers, metadata, identity })
}

struct Wanted<'a> {
    prefix: &'a str,
    after: &'a str,
}

impl Wanted<'_> {
    fn file(&self, path: &str) -> bool {
        path.starts_with(self.prefix) && path > self.after
    }

    /// Whether anything below `folder`, which ends with `/`, may be wanted.
    fn folder(&self, folder: &str) -> bool {
        let on_the_way = folder.starts_with(self.prefix) || self.prefix.starts_with(folder);
        on_the_way && (folder > self.after || self.after.starts_with(folder))
    }
}

/// `false` when `visit` has had enough.
fn walk(
    tree: &Tree,
    folder: &str,
    wanted: &Wanted<'_>,
    visit: &mut dyn FnMut(Found) -> bool,
) -> io::Result<bool> {
    for (path, entry) in entries(tree, folder)? {
        if path == LOST_AND_FOUND {
            continue;
        }
        if path.ends_with('/') {
            if wanted.folder(&path) && !walk(tree, &path, wanted, visit)? {
                return Ok(false);
            }
            continue;
        }
        if !wanted.file(&path) || path == MARKER {
            continue;
        }
        let about = match entry.metadata() {
            Ok(about) => about,
            // Deleted while we looked.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        if !visit(found(Location::new(path), &about)) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What lies in a folder, in the order in which its paths sort: a folder by its name with `/`. What
/// is no file and no folder, and names that are not UTF-8, can be no replica.
fn entries(tree: &Tree, folder: &str) -> io::Result<Vec<(String, DirEntry)>> {
    let opened = match std::fs::read_dir(tree.through_root(folder)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !folder.is_empty() => return Ok(Vec::new()),
        opened => opened?,
    };
    let mut entries = Vec::new();
    for entry in opened {
        let entry = entry?;
        let kind = entry.file_type()?;
        let end = if kind.is_dir() { "/" } else { "" };
        if let (true, Some(name)) = (kind.is_dir() || kind.is_file(), entry.file_name().to_str()) {
            entries.push((format!("{folder}{name}{end}"), entry));
        }
    }
    entries.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    Ok(entries)
}

fn found(location: Location, about: &Metadata) -> Found {
    let since = about.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let millis = since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
    Found { location, size: about.len(), etag: None, modified: Timestamp(millis) }
}
