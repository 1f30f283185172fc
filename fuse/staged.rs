//! A file in the making: what was written to it, and what it will be called when it is whole.
//!
//! Each open for writing has one, with an inode number of its own, which becomes the version's number. So the
//! version that was there keeps its inode, its pages and its readers until the new one takes its name.

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use store::Held;
use types::{ObjectHeaders, Timestamp};

use crate::attr::{Attr, Kind, Metadata};
use crate::errno::{Answer, Errno};
use crate::handle::FileHandle;
use crate::part::{Ground, Part, PartSource};
use crate::{Options, attr};

/// What is copied at a time.
const COPY_BYTES: u32 = 1 << 20;

pub struct Staged {
    pub number: u64,
    /// The process that made it: others do not see a file before it is whole.
    pub creator: u32,
    /// Held while it is being committed: nobody writes meanwhile.
    pub committing: tokio::sync::Mutex<()>,
    /// Held while a disk or a network is waited for.
    state: Mutex<State>,
    /// What the state was when nobody held it last. It is held for no longer than a copy takes, so it may be asked for
    /// below the lock of the inodes, on which commits wait.
    shown: Mutex<Shown>,
    unlinked: AtomicBool,
}

/// What others see of a file in the making.
#[derive(Clone, Copy)]
pub struct Shown {
    pub size: u64,
    pub untouched: bool,
    /// Closed once with nothing in it: from then on everybody may see it.
    pub closed: bool,
    modified: Timestamp,
    meta: Metadata,
}

/// The state, to be looked at and changed; what it comes to is shown afterwards.
pub struct Changing<'a> {
    state: MutexGuard<'a, State>,
    shown: &'a Mutex<Shown>,
}

impl Deref for Changing<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl DerefMut for Changing<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.state
    }
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        *self.shown.lock() = self.state.shown();
    }
}

pub struct State {
    pub headers: ObjectHeaders,
    /// What was there when it was opened, or when it was committed last.
    base: Option<Base>,
    content: Content,
    pub modified: Timestamp,
    /// Counts what must be committed.
    changes: u64,
    committed_changes: u64,
    /// Something was written, not only made.
    pub written: bool,
    /// Closed once with nothing in it.
    pub closed: bool,
    /// Its number is a version's.
    pub committed: bool,
    /// A commit that failed is not tried again behind its caller's back.
    pub failed: Option<Errno>,
    pub writers: usize,
    /// Every write was to go to the end, wherever that is by then.
    pub appends_only: bool,
}

struct Base {
    file: FileHandle,
    size: u64,
    /// All of it was written here: it may be written once more.
    ours: bool,
}

enum Content {
    /// As the base.
    Untouched,
    /// Bytes behind those of the base.
    Behind(Part),
    Own(Part),
}

/// What a commit does.
pub enum Job {
    Whole(PartSource),
    Behind(PartSource, FileHandle),
}

impl Staged {
    /// A new, empty file.
    pub fn empty(number: u64, creator: u32, headers: ObjectHeaders, now: Timestamp) -> Self {
        Self::new(number, creator, headers, now, None, Content::Own(Part::default()), 1)
    }

    /// A version that somebody may be about to change.
    pub fn over(
        number: u64,
        creator: u32,
        headers: ObjectHeaders,
        file: FileHandle,
        size: u64,
        modified: Timestamp,
    ) -> Self {
        let base = Some(Base { file, size, ours: false });
        Self::new(number, creator, headers, modified, base, Content::Untouched, 0)
    }

    fn new(
        number: u64,
        creator: u32,
        headers: ObjectHeaders,
        modified: Timestamp,
        base: Option<Base>,
        content: Content,
        changes: u64,
    ) -> Self {
        let state = State {
            headers,
            base,
            content,
            modified,
            changes,
            committed_changes: 0,
            written: false,
            closed: false,
            committed: false,
            failed: None,
            writers: 0,
            appends_only: true,
        };
        let shown = Mutex::new(state.shown());
        let (committing, state) = (tokio::sync::Mutex::new(()), Mutex::new(state));
        Self { number, creator, committing, state, shown, unlinked: AtomicBool::new(false) }
    }

    pub fn state(&self) -> Changing<'_> {
        Changing { state: self.state.lock(), shown: &self.shown }
    }

    /// `None` while somebody else looks at it, perhaps over a network.
    pub fn try_state(&self) -> Option<Changing<'_>> {
        Some(Changing { state: self.state.try_lock()?, shown: &self.shown })
    }

    pub fn shown(&self) -> Shown {
        *self.shown.lock()
    }

    /// It has no name any more that it could take.
    pub fn unlink(&self) {
        self.unlinked.store(true, Ordering::SeqCst);
    }

    pub fn is_unlinked(&self) -> bool {
        self.unlinked.load(Ordering::SeqCst)
    }

    pub fn attr(&self, options: &Options) -> Attr {
        let Shown { size, modified, meta, .. } = self.shown();
        Attr {
            ino: self.number,
            kind: Kind::File,
            size,
            mtime: meta.mtime.unwrap_or(modified.into()),
            ctime: modified.into(),
            perm: meta.mode.unwrap_or(options.file_mode) & attr::MODE_BITS & !attr::SET_ID_BITS,
            uid: meta.uid.unwrap_or(options.uid),
            gid: meta.gid.unwrap_or(options.gid),
            links: u32::from(!self.is_unlinked()),
        }
    }
}

/// Where the file takes the place of `bytes`.
fn replacing(ground: &Ground, bytes: u64) -> Ground {
    Ground { credit_bytes: bytes, ..ground.clone() }
}

impl State {
    fn shown(&self) -> Shown {
        Shown {
            size: self.size(),
            untouched: self.is_untouched(),
            closed: self.closed,
            modified: self.modified,
            meta: Metadata::read(&self.headers.user_metadata),
        }
    }

    pub fn size(&self) -> u64 {
        match &self.content {
            Content::Untouched => self.base_size(),
            Content::Behind(part) => self.base_size() + part.len(),
            Content::Own(part) => part.len(),
        }
    }

    fn base_size(&self) -> u64 {
        self.base.as_ref().map_or(0, |base| base.size)
    }

    /// Whether it was the last.
    pub fn one_writer_less(&mut self) -> bool {
        self.writers = self.writers.saturating_sub(1);
        self.writers == 0
    }

    /// There is something that nobody else sees yet.
    pub fn is_dirty(&self) -> bool {
        self.changes != self.committed_changes && self.failed.is_none()
    }

    /// All of its bytes are its own: none must be fetched before it is written to.
    pub fn is_own(&self) -> bool {
        matches!(self.content, Content::Own(_))
    }

    /// It is as the version that it was opened over.
    pub fn is_untouched(&self) -> bool {
        matches!(self.content, Content::Untouched)
    }

    fn changed(&mut self, now: Timestamp) {
        self.changes += 1;
        self.written = true;
        self.modified = now;
        self.headers.user_metadata.retain(|(name, _)| name != "mtime");
    }

    /// Writes at `offset`, or at the end if `append`.
    pub fn write(
        &mut self,
        ground: &Ground,
        bytes: &[u8],
        offset: u64,
        append: bool,
        now: Timestamp,
    ) -> Answer<()> {
        let offset = if append { self.size() } else { offset };
        let base = self.base_size();
        self.appends_only &= append;
        if self.is_untouched() && base == 0 {
            self.content = Content::Own(Part::default());
        }
        if self.is_untouched() && offset == base {
            self.content = Content::Behind(Part::default());
        }
        let inside = offset < base || self.is_untouched();
        if inside && !matches!(self.content, Content::Own(_)) {
            self.own(ground)?;
        }
        match &mut self.content {
            Content::Own(part) => part.write(&replacing(ground, base), bytes, offset)?,
            Content::Behind(part) => part.write(ground, bytes, offset - base)?,
            Content::Untouched => return Err(Errno::IO),
        }
        self.changed(now);
        Ok(())
    }

    /// What was committed is copied, to be written inside. Only what was written here: S3 has no writing inside an
    /// object, and copying it all for a few bytes would be a surprise.
    fn own(&mut self, ground: &Ground) -> Answer<()> {
        if !self.base.as_ref().is_some_and(|base| base.ours) {
            return Err(Errno::OPNOTSUPP);
        }
        let (ground, mut part) = (replacing(ground, self.base_size()), Part::default());
        while part.len() < self.size() {
            let pieces = self.read(&ground, part.len(), COPY_BYTES)?;
            if pieces.iter().all(Bytes::is_empty) {
                return Err(Errno::IO);
            }
            for piece in pieces {
                part.write(&ground, &piece, part.len())?;
            }
        }
        self.content = Content::Own(part);
        Ok(())
    }

    pub fn set_size(&mut self, ground: &Ground, size: u64, now: Timestamp) -> Answer<()> {
        if size == self.size() {
            return Ok(());
        }
        if size == 0 {
            self.content = Content::Own(Part::default());
            self.changed(now);
            return Ok(());
        }
        let base = self.base_size();
        if size < base && !matches!(self.content, Content::Own(_)) {
            self.own(ground)?;
        }
        match &mut self.content {
            Content::Own(part) => part.set_len(&replacing(ground, base), size)?,
            Content::Behind(part) if size >= base => part.set_len(ground, size - base)?,
            Content::Untouched if size > base => {
                let mut part = Part::default();
                part.set_len(ground, size - base)?;
                self.content = Content::Behind(part);
            }
            _ => return Err(Errno::OPNOTSUPP),
        }
        self.changed(now);
        Ok(())
    }

    /// O_TRUNC: also of what is empty already, it is a change.
    pub fn truncate(&mut self, now: Timestamp) {
        self.content = Content::Own(Part::default());
        self.changed(now);
    }

    pub fn read(&self, ground: &Ground, offset: u64, size: u32) -> Answer<Vec<Bytes>> {
        let wanted = size as usize;
        let (base, part) = match &self.content {
            Content::Own(part) => return Ok(vec![part.read(offset, wanted)?.into()]),
            Content::Untouched => (self.base.as_ref(), None),
            Content::Behind(part) => (self.base.as_ref(), Some(part)),
        };
        let base = base.ok_or(Errno::IO)?;
        let mut pieces = base.file.read(&ground.store, offset, size)?;
        let got: usize = pieces.iter().map(Bytes::len).sum();
        if let Some(part) = part.filter(|_| got < wanted) {
            let behind = (offset + got as u64).saturating_sub(base.size);
            pieces.push(part.read(behind, wanted - got)?.into());
        }
        Ok(pieces)
    }

    /// What is to be committed, and the count that says afterwards whether more came. `None`: nothing.
    pub fn job(&self, ground: &Ground) -> Answer<Option<(Job, u64)>> {
        if !self.is_dirty() {
            return Ok(None);
        }
        let job = match (&self.content, &self.base) {
            (Content::Own(part), _) => Job::Whole(part.source(ground)?),
            (Content::Behind(part), Some(base)) => Job::Behind(part.source(ground)?, base.file.again()),
            _ => return Ok(None),
        };
        Ok(Some((job, self.changes)))
    }

    /// It has become the version `held`. Its file is the version's now, and is not written to any more: what
    /// comes behind it is a piece more.
    pub fn committed(&mut self, changes: u64, held: &Held) {
        self.committed = true;
        self.committed_changes = changes;
        let ours = match &self.content {
            Content::Own(part) if part.is_in_memory() => return,
            Content::Own(_) => true,
            _ => self.base.as_ref().is_some_and(|base| base.ours),
        };
        // Emptied meanwhile: then it has a content of its own.
        if changes == self.changes {
            let (file, size) = (FileHandle::new(held.clone()), held.size());
            self.base = Some(Base { file, size, ours });
            self.content = Content::Untouched;
        }
    }
}
