//! Files from being opened for writing to being whole: create, open, write, flush, fsync, release.
//!
//! An open for writing of a version that is there is answered ESTALE once: the kernel looks the name up again, and
//! finds a file in the making with an inode of its own. So nothing that is written touches the inode, the pages and
//! the readers of the version.

use std::ffi::OsStr;
use std::sync::Arc;
use store::{Append, Appended, Arrived, Asker, Held, MAX_PIECES, Object, Purpose};
use types::{ByteRange, Key, ObjectHeaders, Version};

use crate::attr::{Attr, Kind, Wanted};
use crate::caller::{self, Caller};
use crate::directory::{self, Found};
use crate::errno::{self, Answer, Errno};
use crate::filesystem::FileSystem;
use crate::handle::{FileHandle, Handle, StagedHandle};
use crate::inode::Table;
use crate::part::{Ground, PartSource};
use crate::staged::{Job, Staged};
use crate::{content_type, names};

/// How a file is opened, out of open(2)'s flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    pub writes: bool,
    pub appends: bool,
    pub truncates: bool,
    pub exclusive: bool,
}

impl Access {
    pub fn of(flags: i32) -> Self {
        Self {
            writes: flags & libc::O_ACCMODE != libc::O_RDONLY,
            appends: flags & libc::O_APPEND != 0,
            truncates: flags & libc::O_TRUNC != 0,
            exclusive: flags & libc::O_EXCL != 0,
        }
    }
}

/// What an open made.
#[derive(Clone, Copy)]
pub enum Opened {
    /// A version: its pages never change.
    Version(u64),
    /// A file in the making: nothing of it may be cached.
    Staged(u64),
}

impl Opened {
    pub fn handle(self) -> u64 {
        match self {
            Self::Version(handle) | Self::Staged(handle) => handle,
        }
    }
}

impl FileSystem {
    pub(crate) fn ground(&self) -> Ground {
        let store = self.store().clone();
        let max_bytes = store.limits().max_object_size_bytes;
        Ground { store, bucket: self.source.bucket, max_bytes, credit_bytes: 0 }
    }

    pub(crate) fn check_writable(&self) -> Answer<()> {
        if self.options.read_only { Err(Errno::ROFS) } else { Ok(()) }
    }

    /// What a lookup finds besides versions and directories: the file that this very system call waits for, or
    /// one in the making that the caller may see. `Err` without one: nothing that lasts.
    pub(crate) fn find_awaited(
        &self,
        parent: u64,
        name: &str,
        found: Option<&Found>,
        caller: Caller,
    ) -> Answer<Option<Arc<Staged>>> {
        let mut table = self.inodes.lock();
        let Some(awaited) = table.awaited(parent, name, caller.thread) else { return Ok(None) };
        if awaited.staged.is_none()
            && let Some(Found::File(object, held)) = found
        {
            awaited.staged = Some(Arc::new(self.staged_over(object, held, caller)?));
        }
        Ok(awaited.staged.clone())
    }

    fn staged_over(&self, object: &Object, held: &Held, caller: Caller) -> Answer<Staged> {
        let number = self.store().next_version().map_err(errno::of)?.0;
        let file = FileHandle::new(held.clone());
        let headers = object.headers.clone();
        Ok(Staged::over(number, caller.process(), headers, file, object.size, object.modified))
    }

    /// A file in the making that has no version yet, where the caller may see it.
    pub(crate) fn visible_staged(
        table: &Table,
        parent: u64,
        name: &str,
        caller: Caller,
    ) -> Option<Arc<Staged>> {
        let staged = table.staged_at(parent, name);
        if staged.is_empty() {
            return None;
        }
        let process = caller.process();
        let visible =
            |staged: &&Arc<Staged>| caller.thread == 0 || staged.creator == process || staged.shown().closed;
        staged.iter().rev().find(visible).cloned()
    }

    pub fn open_file(&self, ino: u64, access: Access, caller: Caller) -> Answer<Opened> {
        if let Some(staged) = self.inodes.staged(ino) {
            return Ok(Opened::Staged(self.open_staged(&staged, access, caller)));
        }
        if !access.writes {
            return self.open(ino).map(Opened::Version);
        }
        self.check_writable()?;
        let mut table = self.inodes.lock();
        let node = table.get(ino).ok_or(Errno::STALE)?;
        let (parent, name) = (node.parent, node.name.clone());
        table.await_open(parent, &name, caller.thread);
        Err(Errno::STALE)
    }

    fn open_staged(&self, staged: &Arc<Staged>, access: Access, caller: Caller) -> u64 {
        {
            let mut state = staged.state();
            state.writers += usize::from(access.writes);
            if access.truncates {
                state.truncate((self.options.clock)());
            }
        }
        self.inodes.lock().end_awaited(staged);
        self.handles.add(Handle::Staged(StagedHandle {
            staged: Arc::clone(staged),
            writes: access.writes,
            appends: access.appends,
            opener: caller.process(),
        }))
    }

    /// A new file, or what stands in its place by now.
    pub fn create(
        &self,
        parent: u64,
        name: &OsStr,
        mode: u32,
        access: Access,
        caller: Caller,
    ) -> Answer<(Attr, u64)> {
        self.check_writable()?;
        let name = names::made(name)?;
        let prefix = self.prefix_of(parent)?;
        names::fits(&prefix, name, Kind::File)?;
        let staged = match directory::find(&self.source, &prefix, name)? {
            Some(Found::Directory(_)) => return Err(Errno::ISDIR),
            Some(Found::File(..)) if access.exclusive => return Err(Errno::EXIST),
            Some(Found::File(object, held)) => Arc::new(self.staged_over(&object, &held, caller)?),
            None => self.staged_new(parent, name, mode, access, caller)?,
        };
        let handle = self.open_staged(&staged, access, caller);
        let mut table = self.inodes.lock();
        table.enter_staged(parent, name, &staged);
        if !staged.shown().untouched {
            // A new name, for whoever makes it.
            table.touch(parent, (self.options.clock)());
        }
        drop(table);
        Ok((staged.attr(&self.options), handle))
    }

    fn staged_new(
        &self,
        parent: u64,
        name: &str,
        mode: u32,
        access: Access,
        caller: Caller,
    ) -> Answer<Arc<Staged>> {
        {
            let table = self.inodes.lock();
            if access.exclusive && !table.staged_at(parent, name).is_empty() {
                return Err(Errno::EXIST);
            }
            if let Some(known) = Self::visible_staged(&table, parent, name, caller) {
                return Ok(known);
            }
        }
        let number = self.store().next_version().map_err(errno::of)?.0;
        let mut headers = self.headers_for(mode, caller, Kind::File);
        headers.content_type = Some(content_type::of(name));
        Ok(Arc::new(Staged::empty(number, caller.process(), headers, (self.options.clock)())))
    }

    /// Owner and mode, where they are not what the mount gives anyway.
    pub(crate) fn headers_for(&self, mode: u32, caller: Caller, kind: Kind) -> ObjectHeaders {
        let options = &self.options;
        let usual = if kind == Kind::File { options.file_mode } else { options.dir_mode };
        let unless = |value: u32, usual: u32| Some(value).filter(|value| *value != usual);
        let wanted = Wanted {
            perm: unless(mode & 0o1777, usual),
            uid: unless(caller.uid, options.uid),
            gid: unless(caller.gid, options.gid),
            mtime: None,
        };
        let mut headers = ObjectHeaders::default();
        wanted.write(kind, &mut headers.user_metadata);
        headers
    }

    /// On a thread that may wait: while the file is being committed, it does.
    pub fn write(&self, handle: u64, offset: u64, bytes: &[u8]) -> Answer<()> {
        let handle = self.handles.get(handle)?;
        let file = handle.writer()?;
        let _whole = file.staged.committing.blocking_lock();
        let now = (self.options.clock)();
        let written = file.staged.state().write(&self.ground(), bytes, offset, file.appends, now);
        if written == Err(Errno::OPNOTSUPP) {
            let path = self.inodes.path_of(file.staged.number);
            tracing::info!(key = ?path, offset, "writing inside an object is refused");
        }
        written
    }

    /// As `write`, where that waits for no more than the disk below; `None` elsewhere.
    pub fn try_write(&self, handle: u64, offset: u64, bytes: &[u8]) -> Option<Answer<()>> {
        let handle = self.handles.get(handle).ok()?;
        let file = handle.writer().ok()?;
        let _whole = file.staged.committing.try_lock().ok()?;
        let mut state = file.staged.try_state()?;
        let now = (self.options.clock)();
        state.is_own().then(|| state.write(&self.ground(), bytes, offset, file.appends, now))
    }

    /// At close(2): what was written becomes the object, unless another process than the one that opened it only lets
    /// go of a handle that it inherited.
    pub async fn flush(self: Arc<Self>, handle: u64, caller: Caller) -> Answer<()> {
        let handle = self.handles.get(handle)?;
        let Handle::Staged(file) = &*handle else { return Ok(()) };
        if !file.writes || !self.is_owner(file, caller) {
            return Ok(());
        }
        {
            let mut state = file.staged.state();
            if !state.written && !state.committed {
                if !state.closed {
                    state.closed = true;
                    self.store().owe();
                }
                return Ok(());
            }
        }
        self.commit(&file.staged, self.asker(true)).await
    }

    fn is_owner(&self, file: &StagedHandle, caller: Caller) -> bool {
        let owner = file.opener;
        caller.thread == 0 || owner == caller.thread || owner == caller.process() || !caller::is_alive(owner)
    }

    pub async fn fsync(self: Arc<Self>, handle: u64) -> Answer<()> {
        let handle = self.handles.get(handle)?;
        match &*handle {
            Handle::Staged(file) if file.writes => self.commit(&file.staged, self.asker(true)).await,
            _ => Ok(()),
        }
    }

    /// The last of the handles: what is not committed is, or was never there.
    pub async fn release_file(self: Arc<Self>, handle: u64) -> Answer<()> {
        let Some(handle) = self.handles.remove(handle) else { return Ok(()) };
        let Handle::Staged(file) = &*handle else { return Ok(()) };
        if !file.writes {
            return Ok(());
        }
        if !file.staged.state().one_writer_less() {
            return Ok(());
        }
        // Its close has returned. Whoever waited for the kernel to be told would hold up an unlink, and that the kernel.
        let committed = self.commit(&file.staged, self.asker_beside()).await;
        self.inodes.lock().end_staged(&file.staged);
        if std::mem::take(&mut file.staged.state().closed) {
            self.store().paid();
        }
        committed
    }

    /// Gives what was written its name. The asker may wait, so that every mount shows it when this returns, unless the
    /// kernel holds a lock for the caller.
    pub(crate) async fn commit(&self, staged: &Arc<Staged>, asker: Asker) -> Answer<()> {
        let _one = staged.committing.lock().await;
        let (job, first, headers, appends) = {
            let state = staged.state();
            if let Some(error) = state.failed {
                return Err(error);
            }
            if staged.is_unlinked() {
                return Ok(());
            }
            let Some(job) = state.job(&self.ground())? else { return Ok(()) };
            (job, !state.committed, state.headers.clone(), state.appends_only)
        };
        let (job, changes) = job;
        let key = self.inodes.path_of(staged.number).ok_or(Errno::NOENT)?;
        let key = Key::new(key).map_err(|_| Errno::NAMETOOLONG)?;
        let version =
            if first { Version(staged.number) } else { self.store().next_version().map_err(errno::of)? };
        let stored = self.put(job, key.clone(), headers, version, appends, asker).await;
        match stored {
            Ok(held) => {
                staged.state().committed(changes, &held);
                if first {
                    self.became_version(staged, held);
                }
                Ok(())
            }
            Err(error) => {
                // Nothing of it will appear later: the error was heard.
                staged.state().failed = Some(error);
                self.inodes.lock().end_staged(staged);
                Err(error)
            }
        }
    }

    /// The node is stopping: what was written so far is kept.
    pub async fn commit_all(&self) {
        let all = self.inodes.lock().all_staged();
        for staged in all {
            if let Err(error) = self.commit(&staged, self.asker(false)).await {
                tracing::error!(file = staged.number, %error, "a file that was being written is lost");
            }
        }
    }

    fn became_version(&self, staged: &Arc<Staged>, held: Held) {
        let mut table = self.inodes.lock();
        table.became_version(staged, held);
        if let Some(parent) = table.get(staged.number).map(|node| node.parent) {
            table.touch(parent, (self.options.clock)());
        }
    }

    async fn put(
        &self,
        job: Job,
        key: Key,
        headers: ObjectHeaders,
        version: Version,
        appends: bool,
        asker: Asker,
    ) -> Answer<Held> {
        let (store, bucket) = (self.store(), self.source.bucket);
        let stored = match job {
            Job::Whole(source) => {
                let there = store.hold(bucket, &key).map_err(errno::of)?.map_or(0, |(object, _)| object.size);
                let purpose = Purpose { bucket, key: &key, headers: &headers, part: None };
                let body = self.bring_in(purpose, source, there).await?;
                store.publish(asker, key, headers, body, version).await
            }
            Job::Behind(source, base) => {
                let opened = store.open_held(base.held()).map_err(errno::of)?;
                if opened.parts().len() < MAX_PIECES {
                    let part = opened.parts().last().map_or(1, |last| last.number).saturating_add(1);
                    let purpose = Purpose { bucket, key: &key, headers: &headers, part: Some(part) };
                    let body = self.bring_in(purpose, source.clone(), 0).await?;
                    let (key, headers) = (key.clone(), headers.clone());
                    let append = Append { asker, key, base: opened, to_current: appends, headers, version };
                    if let Appended::Done(held) = store.append(append, body).await.map_err(errno::of)? {
                        return Ok(held);
                    }
                }
                let base = self.base_of(&key, &base, appends)?;
                return self.put_anew(asker, key, headers, version, &base, source).await;
            }
        };
        stored.map_err(errno::of)
    }

    /// The file itself becomes the blob, where its bytes may stay.
    async fn bring_in(
        &self,
        purpose: Purpose<'_>,
        source: PartSource,
        replaced_bytes: u64,
    ) -> Answer<Arrived> {
        let store = self.store();
        if let Some(staging) = source.staging()
            && let Some(arrived) = store.adopt(purpose, staging, replaced_bytes).await.map_err(errno::of)?
        {
            return Ok(arrived);
        }
        let size = Some(source.len());
        store.take_in(purpose, size, replaced_bytes, source).await.map_err(errno::of)
    }

    /// What bytes come behind: whatever is there by now, if all that was asked for is to append.
    fn base_of(&self, key: &Key, base: &FileHandle, appends: bool) -> Answer<Held> {
        let current = match appends {
            true => self.store().hold(self.source.bucket, key).map_err(errno::of)?,
            false => None,
        };
        Ok(current.map_or_else(|| base.held().clone(), |(_, held)| held))
    }

    /// An object of many pieces becomes one of one: its bytes are read and written once more.
    async fn put_anew(
        &self,
        asker: Asker,
        key: Key,
        headers: ObjectHeaders,
        version: Version,
        base: &Held,
        more: PartSource,
    ) -> Answer<Held> {
        let store = self.store();
        let opened = store.open_held(base).map_err(errno::of)?;
        let (before, size) = (opened.object().size, more.len());
        let source = Chained { before: Some(opened.read(ByteRange::whole(before))), more };
        let purpose = Purpose { bucket: asker.bucket, key: &key, headers: &headers, part: None };
        let body = store.take_in(purpose, Some(before + size), before, source).await;
        store.publish(asker, key, headers, body.map_err(errno::of)?, version).await.map_err(errno::of)
    }
}

/// What was there, and what comes behind it.
struct Chained {
    before: Option<store::Reader>,
    more: PartSource,
}

impl store::Source for Chained {
    async fn next(&mut self) -> Result<Option<bytes::Bytes>, store::SourceError> {
        if let Some(before) = &mut self.before {
            if let Some(piece) = before.next().await {
                return Ok(Some(piece?));
            }
            self.before = None;
        }
        self.more.next().await
    }
}
