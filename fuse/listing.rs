//! opendir and readdir: pages of a directory handed to the kernel, with attributes.

use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

use crate::attr::Attr;
use crate::directory::{Entry, PAGE_ENTRIES, Position};
use crate::errno::{Answer, Errno};
use crate::filesystem::{FileSystem, LASTING};
use crate::handle::{DirectoryHandle, Handle};
use crate::inode::ROOT;

/// `.` and `..` come first: the kernel never drops a listing that it cached without them.
const DOTS: u64 = 2;

/// An entry on its way to the kernel.
pub struct Listed<'a> {
    pub name: &'a str,
    pub attr: Attr,
    /// Where a listing goes on behind it.
    pub next: u64,
    pub lasting: Duration,
}

impl Listed<'_> {
    /// Whether the kernel counts it as a lookup.
    pub fn is_entered(&self) -> bool {
        !matches!(self.name, "." | "..")
    }
}

impl FileSystem {
    /// A handle, and whether a listing that the kernel has cached still holds.
    pub fn open_directory(&self, ino: u64) -> Answer<(u64, bool)> {
        let keep = self.inodes.lock().list(ino).ok_or(Errno::NOTDIR)?;
        Ok((self.handles.add(Handle::Directory(Mutex::new(DirectoryHandle::default()))), keep))
    }

    /// Hands entries from `offset` on to `take`, which says false when there is no room for one. With
    /// `enter`, each that was taken is one lookup more.
    pub fn list(
        &self,
        ino: u64,
        handle: u64,
        offset: u64,
        enter: bool,
        take: &mut dyn FnMut(&Listed<'_>) -> bool,
    ) -> Answer<()> {
        let handle = self.handles.get(handle)?;
        let Handle::Directory(handle) = &*handle else { return Err(Errno::NOTDIR) };
        if !self.list_dots(ino, offset, take) {
            return Ok(());
        }
        let Some(prefix) = self.inodes.prefix_of(ino) else { return Ok(()) };
        let mut handle = handle.lock();
        let mut at = usize::try_from(offset.saturating_sub(DOTS)).map_err(|_| Errno::INVAL)?;
        loop {
            let number = at / PAGE_ENTRIES;
            let (page, changes) = self.page(&mut handle, &prefix, number)?;
            let rest = page.get(at % PAGE_ENTRIES..).unwrap_or_default();
            let taken = self.hand_over(ino, &prefix, rest, at, changes, enter, take);
            at += taken;
            if taken < rest.len() || page.len() < PAGE_ENTRIES {
                return Ok(());
            }
        }
    }

    fn list_dots(&self, ino: u64, offset: u64, take: &mut dyn FnMut(&Listed<'_>) -> bool) -> bool {
        let table = self.inodes.lock();
        let above = table.get(ino).map_or(ROOT, |node| node.parent);
        for (next, name, ino) in [(1, ".", ino), (2, "..", above)] {
            let attr = self.directory_attr(&table, ino, None);
            if offset < next && !take(&Listed { name, attr, next, lasting: Duration::ZERO }) {
                return false;
            }
        }
        true
    }

    /// A page, read again if a commit came since.
    fn page(
        &self,
        handle: &mut DirectoryHandle,
        prefix: &str,
        number: usize,
    ) -> Answer<(Arc<Vec<Entry>>, u64)> {
        let changes = self.inodes.changes();
        if let Some((at, seen, page)) = &handle.page
            && (*at, *seen) == (number, changes)
        {
            return Ok((Arc::clone(page), changes));
        }
        if handle.pages.is_empty() {
            handle.pages.push(Position::beginning());
        }
        // A seek beyond what was read so far reads up to there.
        while handle.pages.len() <= number {
            let mut position = handle.pages.last().cloned().unwrap_or_else(Position::beginning);
            position.page(&self.source, prefix)?;
            handle.pages.push(position);
        }
        let mut position = handle.pages.get(number).cloned().unwrap_or_else(Position::beginning);
        if position.has_doubtful() {
            position.look_again(&self.source, prefix)?;
        }
        let page = Arc::new(position.page(&self.source, prefix)?);
        if handle.pages.len() == number + 1 {
            handle.pages.push(position);
        }
        handle.page = Some((number, changes, Arc::clone(&page)));
        Ok((page, changes))
    }

    /// How many were taken.
    #[allow(clippy::too_many_arguments)]
    fn hand_over(
        &self,
        ino: u64,
        prefix: &str,
        entries: &[Entry],
        at: usize,
        changes: u64,
        enter: bool,
        take: &mut dyn FnMut(&Listed<'_>) -> bool,
    ) -> usize {
        let mut table = self.inodes.lock();
        let sure = self.inodes.changes() == changes;
        let lasting = if sure { LASTING } else { Duration::ZERO };
        for (index, entry) in entries.iter().enumerate() {
            let attr = self.enter(&mut table, ino, prefix, &entry.name, &entry.found);
            let next = (at + index) as u64 + DOTS + 1;
            let taken = take(&Listed { name: &entry.name, attr, next, lasting });
            if !taken || !enter {
                table.forget(attr.ino, 1);
            }
            if !taken {
                return index;
            }
        }
        entries.len()
    }
}
