//! What each request means, without a kernel: names and numbers in, records and bytes out.
//!
//! Everything here works on local records and local files only, and takes no lock that anybody holds while
//! the kernel is told of a change.

use bytes::Bytes;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use store::{Object, Origin, Plain, Store};
use types::{Key, Timestamp};

use crate::Options;
use crate::attr::Attr;
use crate::caller::Caller;
use crate::ctimes::ChangeTimes;
use crate::directory::{self, Found, Source};
use crate::dispatch::Step;
use crate::errno::{self, Answer, Errno};
use crate::handle::{FileHandle, Handle, Handles};
use crate::inode::{Inodes, Table};
use crate::names;
use crate::writing::Access;

/// How long the kernel may believe an answer: what changes is told to it before.
pub const LASTING: Duration = Duration::from_secs(3600);
/// Where commits come so fast that no answer is sure, the kernel gets one and is to ask again.
const SETTLE_TRIES: usize = 8;

/// The longest that a process waits for a change, besides for its bytes; nobody can interrupt it meanwhile.
pub const COMMIT_PATIENCE: Duration = Duration::from_secs(60);
/// Slower than any disk or provider that is of use.
const SLOWEST_BYTES_PER_SECOND: u64 = 8 << 20;

/// Below it the way through here is the faster one.
const PLAIN_FROM_BYTES: u64 = 128 << 10;

pub struct FileSystem {
    pub(crate) options: Options,
    pub(crate) source: Source,
    pub(crate) inodes: Arc<Inodes>,
    pub(crate) handles: Handles,
    pub(crate) runtime: tokio::runtime::Handle,
    /// What this mount causes carries it.
    pub(crate) origin: Origin,
    pub(crate) change_times: ChangeTimes,
    /// Directories that nothing else gives a time to are as old as the mount.
    pub(crate) since: Timestamp,
}

/// The answer to a question for a name. Without attributes: nothing is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Looked {
    pub attr: Option<Attr>,
    pub lasting: Duration,
}

impl FileSystem {
    pub fn new(
        store: Store,
        inodes: Arc<Inodes>,
        origin: Origin,
        runtime: tokio::runtime::Handle,
        options: Options,
    ) -> Self {
        let since = (options.clock)();
        let source = Source { store, bucket: options.bucket };
        let (handles, change_times) = (Handles::default(), ChangeTimes::default());
        Self { options, source, inodes, handles, runtime, origin, change_times, since }
    }

    pub(crate) fn store(&self) -> &Store {
        &self.source.store
    }

    pub fn lookup(&self, parent: u64, name: &OsStr, caller: Caller) -> Answer<Looked> {
        let name = names::sought(name)?;
        let (looked, lasting) = self.settled(|| {
            let prefix = self.prefix_of(parent)?;
            let found = directory::find(&self.source, &prefix, name)?;
            let awaited = self.find_awaited(parent, name, found.as_ref(), caller)?;
            Ok(move |table: &mut Table| {
                table.asked(parent, name);
                if let Some(staged) = awaited.or_else(|| {
                    found.is_none().then(|| Self::visible_staged(table, parent, name, caller)).flatten()
                }) {
                    table.enter_staged(parent, name, &staged);
                    return Looked { attr: Some(staged.attr(&self.options)), lasting: Duration::ZERO };
                }
                match &found {
                    Some(found) => {
                        let attr = self.enter(table, parent, &prefix, name, found);
                        Looked { attr: Some(attr), lasting: LASTING }
                    }
                    None => {
                        table.gone(parent, name);
                        // The one who makes it sees it already.
                        let sure = table.staged_at(parent, name).is_empty();
                        Looked { attr: None, lasting: if sure { LASTING } else { Duration::ZERO } }
                    }
                }
            })
        })?;
        Ok(Looked { lasting: looked.lasting.min(lasting), ..looked })
    }

    /// Reads, then enters what was read into the table, with no commit between the two.
    pub(crate) fn settled<T, E: FnOnce(&mut Table) -> T>(
        &self,
        mut read: impl FnMut() -> Answer<E>,
    ) -> Answer<(T, Duration)> {
        for _ in 0..SETTLE_TRIES {
            let changes = self.inodes.changes();
            let enter = read()?;
            if let Some(mut table) = self.inodes.lock_unchanged(changes) {
                return Ok((enter(&mut table), LASTING));
            }
        }
        let enter = read()?;
        Ok((enter(&mut self.inodes.lock()), Duration::ZERO))
    }

    /// One lookup more on what was found.
    pub(crate) fn enter(
        &self,
        table: &mut Table,
        parent: u64,
        prefix: &str,
        name: &str,
        found: &Found,
    ) -> Attr {
        match found {
            Found::File(object, held) => {
                table.gone(parent, name);
                table.enter_file(parent, name, object.version.0, held.clone());
                self.change_times.shown(Attr::file(object, &self.options))
            }
            Found::Directory(marker) => {
                let wanted = self.inodes.number(&format!("{prefix}{name}/"));
                let ino = table.enter_directory(parent, name, wanted);
                self.directory_attr(table, ino, marker.as_ref())
            }
        }
    }

    pub(crate) fn directory_attr(&self, table: &Table, ino: u64, marker: Option<&Object>) -> Attr {
        let changed = table.directory(ino).map_or(Timestamp(0), |directory| directory.changed);
        let seen = if marker.is_some() { changed } else { changed.max(self.since) };
        self.change_times.shown(Attr::directory(ino, marker, seen, &self.options))
    }

    /// What is said of it changed just now.
    pub(crate) fn restated(&self, ino: u64) {
        self.change_times.note(ino, (self.options.clock)().into());
    }

    pub(crate) fn prefix_of(&self, ino: u64) -> Answer<String> {
        self.inodes.prefix_of(ino).ok_or(Errno::NOENT)
    }

    /// The attributes of an inode, and whether the kernel may keep them.
    pub fn attributes_for(&self, ino: u64, handle: Option<u64>) -> Answer<(Attr, Duration)> {
        let open = handle.and_then(|handle| self.handles.get(handle).ok());
        let staged = match open.as_deref() {
            Some(Handle::Staged(file)) if file.staged.number == ino => Some(Arc::clone(&file.staged)),
            _ => self.inodes.staged(ino),
        };
        match staged {
            Some(staged) => Ok((self.change_times.shown(staged.attr(&self.options)), Duration::ZERO)),
            None => Ok((self.attributes(ino)?, LASTING)),
        }
    }

    pub fn attributes(&self, ino: u64) -> Answer<Attr> {
        let is_directory = self.inodes.lock().directory(ino).is_some();
        if is_directory { self.attributes_of_directory(ino) } else { self.attributes_of_file(ino) }
    }

    fn attributes_of_directory(&self, ino: u64) -> Answer<Attr> {
        // One that is gone is still somebody's working directory.
        let marker = match self.inodes.prefix_of(ino) {
            Some(prefix) => directory::marker_of(&self.source, &prefix)?,
            None => None,
        };
        Ok(self.directory_attr(&self.inodes.lock(), ino, marker.as_ref()))
    }

    fn attributes_of_file(&self, ino: u64) -> Answer<Attr> {
        if let Some(object) = self.current(ino)? {
            return Ok(self.change_times.shown(Attr::file(&object, &self.options)));
        }
        let held = self.inodes.held(ino).ok_or(Errno::STALE)?;
        let object = held.object().map_err(errno::of)?;
        let attr = self.change_times.shown(Attr::file(&object, &self.options));
        Ok(Attr { links: 0, ..attr })
    }

    /// The object of a file, if its name still has this version.
    pub(crate) fn current(&self, ino: u64) -> Answer<Option<Object>> {
        let Some(Ok(key)) = self.inodes.path_of(ino).map(Key::new) else { return Ok(None) };
        let found = self.store().hold(self.source.bucket, &key).map_err(errno::of)?;
        Ok(found.map(|(object, _)| object).filter(|object| object.version.0 == ino))
    }

    /// A handle, where nothing but memory has to be asked for it.
    pub fn open_at_once(&self, ino: u64, access: Access) -> Option<u64> {
        if access.writes {
            return None;
        }
        let held = self.inodes.held(ino).filter(|held| held.size() < PLAIN_FROM_BYTES)?;
        Some(self.handles.add(Handle::File(FileHandle::new(held))))
    }

    pub fn open(&self, ino: u64) -> Answer<u64> {
        let held = self.inodes.held(ino).ok_or(Errno::STALE)?;
        Ok(self.handles.add(Handle::File(FileHandle::new(held))))
    }

    /// The file that the kernel may read by itself instead of asking. One that nobody has verified yet is, beside:
    /// the next who opens it has it.
    pub fn plain_file(&self, handle: u64) -> Option<OwnedFd> {
        let open = self.handles.get(handle).ok()?;
        let Handle::File(file) = &*open else { return None };
        let opened = file.opened_from(self.store(), PLAIN_FROM_BYTES).ok()??;
        match self.store().plain(opened).ok()? {
            Plain::File(file) => Some(file),
            Plain::No => None,
            Plain::Unverified => {
                let (store, open) = (self.store().clone(), Arc::clone(&open));
                self.runtime.spawn(async move {
                    if let Handle::File(file) = &*open
                        && let Err(error) = file.verify(&store).await
                    {
                        tracing::error!(%error, "a file fails its verification");
                    }
                });
                None
            }
        }
    }

    pub fn read(&self, handle: u64, offset: u64, size: u32) -> Answer<Step<Vec<Bytes>>> {
        let open = self.handles.get(handle)?;
        match &*open {
            Handle::File(file) => match file.read_here(self.store(), offset, size)? {
                Some(pieces) => Ok(Step::Done(pieces)),
                None => Ok(Step::Later(Box::pin(async move {
                    let Handle::File(file) = &*open else { return Err(Errno::BADF) };
                    file.fetch(offset, size).await
                }))),
            },
            Handle::Staged(file) => file.staged.state().read(&self.ground(), offset, size).map(Step::Done),
            Handle::Directory(_) => Err(Errno::ISDIR),
        }
    }

    /// How long to wait for what is done to a file in the making: it has to be read, and to reach the disk.
    pub fn patience(&self, handle: u64) -> Duration {
        let bytes = match self.handles.get(handle).as_deref() {
            Ok(Handle::Staged(file)) => file.staged.shown().size,
            _ => 0,
        };
        COMMIT_PATIENCE + Duration::from_secs(bytes / SLOWEST_BYTES_PER_SECOND)
    }

    /// Asks the disk.
    pub fn room(&self) -> store::Room {
        self.store().room(self.source.bucket)
    }

    /// Its release is nobody's business: nothing was written through it.
    pub fn is_plain(&self, handle: u64) -> bool {
        !matches!(self.handles.get(handle).as_deref(), Ok(Handle::Staged(_)))
    }

    pub fn release(&self, handle: u64) {
        self.handles.remove(handle);
    }

    /// An answer that came too late: nobody has the handle.
    pub fn abandon(&self, handle: u64) {
        let Some(handle) = self.handles.remove(handle) else { return };
        let Handle::Staged(file) = &*handle else { return };
        if file.writes && file.staged.state().one_writer_less() {
            self.inodes.lock().end_staged(&file.staged);
        }
    }

    /// What a lookup found, and the kernel never heard of.
    pub fn forget_looked(&self, looked: Looked) {
        if let Some(attr) = looked.attr {
            self.forget(attr.ino, 1);
        }
    }

    pub fn forget(&self, ino: u64, lookups: u64) {
        self.inodes.forget(ino, lookups);
        if self.change_times.any() && self.inodes.lock().get(ino).is_none() {
            self.change_times.forget(ino);
        }
    }
}
