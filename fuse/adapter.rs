//! The one place that speaks fuser: requests in, handed to `dispatch.rs` with what they mean and how to answer them.
//!
//! What is answered here, on an event loop, looks at memory only; bytes of a file in the making are written by it too.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fuser::{
    BsdFileFlags, FileHandle, Filesystem, FopenFlags, INodeNo, InitFlags, KernelConfig, LockOwner, OpenFlags,
    ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyOpen,
    ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow,
};

use crate::attr::{Attr, MODE_BITS, Wanted};
use crate::backing::{Backings, Seat};
use crate::caller::Caller;
use crate::dispatch::Dispatch;
use crate::ended::Ended;
use crate::figures::Operation;
use crate::filesystem::{COMMIT_PATIENCE, FileSystem, LASTING, Looked};
use crate::naming::RenameFlags;
use crate::reply;
use crate::writing::{Access, Opened};
use crate::xattr;

/// What one request to write carries at most; the kernel allows no more by default.
const MAX_WRITE_BYTES: u32 = 1 << 20;
const MAX_BACKGROUND_REQUESTS: u16 = 64;

/// Asked for where the kernel has them; none may be asked for that fuser cannot honour.
const WANTED: [InitFlags; 5] = [
    InitFlags::FUSE_PARALLEL_DIROPS,
    // Without AUTO: a listing without attributes would be cached, and cost a lookup for each name later.
    InitFlags::FUSE_DO_READDIRPLUS,
    InitFlags::FUSE_ATOMIC_O_TRUNC,
    // Spares a question for capabilities before every write; set-id bits are never kept.
    InitFlags::FUSE_HANDLE_KILLPRIV_V2,
    InitFlags::FUSE_ASYNC_DIO,
];

pub struct Adapter {
    pub fs: Arc<FileSystem>,
    pub ended: Arc<Ended>,
    pub backings: Arc<Backings>,
    pub dispatch: Dispatch,
}

fn caller(request: &Request) -> Caller {
    Caller { thread: request.pid(), uid: request.uid(), gid: request.gid() }
}

/// A panic would end its event loop, and in the end hang the mount. What it leaves unanswered is answered EIO.
fn fenced(handler: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(handler)).is_err() {
        tracing::error!("a file system request panicked");
    }
}

/// A version never changes: its pages are good for as long as the kernel likes.
fn open_version(backings: &Backings, ino: u64, handle: u64, file: Option<OwnedFd>, reply: ReplyOpen) {
    let make = || file.map(|file| reply.open_backing(&file));
    match backings.open(ino, handle, make) {
        Some(backing) => {
            reply.opened_passthrough(FileHandle(handle), FopenFlags::FOPEN_NOFLUSH, &backing);
        }
        None => {
            let flags = FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_NOFLUSH;
            reply.opened(FileHandle(handle), flags);
        }
    }
}

impl Filesystem for Adapter {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        for flag in WANTED {
            if config.add_capabilities(flag).is_err() {
                tracing::debug!(?flag, "the kernel does not have this");
            }
        }
        // Two: the blobs may lie on an overlay themselves.
        if config.set_max_stack_depth(2).is_err()
            || config.add_capabilities(InitFlags::FUSE_PASSTHROUGH).is_err()
        {
            tracing::debug!("the kernel has no passthrough");
        }
        // Both take these values on every kernel; what they return are the values before.
        let _ = config.set_max_write(MAX_WRITE_BYTES);
        let _ = config.set_max_background(MAX_BACKGROUND_REQUESTS);
        Ok(())
    }

    fn destroy(&mut self) {
        self.ended.set();
    }

    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let (fs, undo, name) = (Arc::clone(&self.fs), Arc::clone(&self.fs), name.to_owned());
        let caller = caller(request);
        let work = move || fs.lookup(parent.0, &name, caller);
        self.dispatch
            .read(Operation::Lookup, reply, work, reply::entry, move |found| undo.forget_looked(found));
    }

    fn forget(&self, _: &Request, ino: INodeNo, lookups: u64) {
        fenced(|| self.fs.forget(ino.0, lookups));
    }

    fn getattr(&self, _: &Request, ino: INodeNo, handle: Option<FileHandle>, reply: ReplyAttr) {
        let fs = Arc::clone(&self.fs);
        let work = move || fs.attributes_for(ino.0, handle.map(|handle| handle.0));
        self.dispatch.read(Operation::GetAttr, reply, work, reply::attr, drop);
    }

    fn setattr(
        &self,
        request: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _: Option<SystemTime>,
        handle: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mtime = mtime.map(|mtime| match mtime {
            TimeOrNow::SpecificTime(time) => reply::from_system(time),
            TimeOrNow::Now => reply::from_system(SystemTime::now()),
        });
        let wanted = Wanted { perm: mode.map(|mode| mode & MODE_BITS), uid, gid, mtime };
        let (fs, handle) = (Arc::clone(&self.fs), handle.map(|handle| handle.0));
        let work = fs.set_attributes(ino.0, handle, wanted, size, caller(request));
        // What else changed with it the kernel asks for.
        let send = |reply, attr| reply::attr(reply, (attr, Duration::ZERO));
        self.dispatch.commit(Operation::SetAttr, reply, COMMIT_PATIENCE, work, send, drop);
    }

    fn mknod(&self, _: &Request, _: INodeNo, _: &OsStr, _: u32, _: u32, _: u32, reply: ReplyEntry) {
        reply.error(fuser::Errno::EPERM);
    }

    fn link(&self, _: &Request, _: INodeNo, _: INodeNo, _: &OsStr, reply: ReplyEntry) {
        reply.error(fuser::Errno::EPERM);
    }

    fn symlink(&self, _: &Request, _: INodeNo, _: &OsStr, _: &std::path::Path, reply: ReplyEntry) {
        reply.error(fuser::Errno::EPERM);
    }

    fn mkdir(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, _: u32, reply: ReplyEntry) {
        let (fs, undo) = (Arc::clone(&self.fs), Arc::clone(&self.fs));
        let work = fs.make_directory(parent.0, name.to_owned(), mode, caller(request));
        let send = |reply, attr| reply::entry(reply, Looked { attr: Some(attr), lasting: LASTING });
        let late = move |attr: Attr| undo.forget(attr.ino, 1);
        self.dispatch.commit(Operation::Mkdir, reply, COMMIT_PATIENCE, work, send, late);
    }

    fn unlink(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let work = Arc::clone(&self.fs).remove_file(parent.0, name.to_owned(), caller(request));
        self.dispatch.commit(Operation::Unlink, reply, COMMIT_PATIENCE, work, reply::ok, drop);
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let work = Arc::clone(&self.fs).remove_directory(parent.0, name.to_owned());
        self.dispatch.commit(Operation::Rmdir, reply, COMMIT_PATIENCE, work, reply::ok, drop);
    }

    fn rename(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: fuser::RenameFlags,
        reply: ReplyEmpty,
    ) {
        let known = fuser::RenameFlags::RENAME_NOREPLACE | fuser::RenameFlags::RENAME_EXCHANGE;
        let flags = RenameFlags {
            no_replace: flags.contains(fuser::RenameFlags::RENAME_NOREPLACE),
            exchange: flags.contains(fuser::RenameFlags::RENAME_EXCHANGE),
            other: !known.contains(flags),
        };
        let (from, to) = ((parent.0, name.to_owned()), (new_parent.0, new_name.to_owned()));
        let work = Arc::clone(&self.fs).rename(from, to, flags, caller(request));
        self.dispatch.commit(Operation::Rename, reply, COMMIT_PATIENCE, work, reply::ok, drop);
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let (fs, undo, name) = (Arc::clone(&self.fs), Arc::clone(&self.fs), name.to_owned());
        let (access, caller) = (Access::of(flags), caller(request));
        let work = move || fs.create(parent.0, &name, mode, access, caller);
        let late = move |(attr, handle): (Attr, u64)| {
            undo.abandon(handle);
            undo.forget(attr.ino, 1);
        };
        self.dispatch.read(Operation::Create, reply, work, reply::created, late);
    }

    fn open(&self, request: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let access = Access::of(flags.0);
        if let Some(handle) = self.fs.open_at_once(ino.0, access) {
            self.dispatch.answered(Operation::Open);
            return fenced(|| open_version(&self.backings, ino.0, handle, None, reply));
        }
        let (fs, undo, backings) = (Arc::clone(&self.fs), Arc::clone(&self.fs), Arc::clone(&self.backings));
        let (caller, entered) = (caller(request), Arc::clone(&backings));
        let work = move || {
            let opened = fs.open_file(ino.0, access, caller)?;
            let (seat, wants_file) = entered.enter(ino.0);
            let file = match opened {
                Opened::Version(handle) if wants_file => fs.plain_file(handle),
                _ => None,
            };
            Ok((opened, file, seat))
        };
        let send =
            move |reply: ReplyOpen, (opened, file, _seat): (Opened, Option<OwnedFd>, Seat)| match opened {
                Opened::Version(handle) => open_version(&backings, ino.0, handle, file, reply),
                Opened::Staged(handle) => reply.opened(FileHandle(handle), reply::STAGED_FLAGS),
            };
        let late = move |(opened, ..): (Opened, Option<OwnedFd>, Seat)| undo.abandon(opened.handle());
        self.dispatch.read(Operation::Open, reply, work, send, late);
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        bytes: &[u8],
        _: fuser::WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        fenced(|| {
            let patience = self.fs.patience(handle.0);
            let send = |reply: ReplyWrite, written| reply.written(u32::try_from(written).unwrap_or(u32::MAX));
            let here = || Some(self.fs.try_write(handle.0, offset, bytes)?.map(|()| bytes.len()));
            if let Err(slot) = self.dispatch.write_here(Operation::Write, reply, patience, here, send) {
                let (fs, bytes) = (Arc::clone(&self.fs), bytes.to_vec());
                let work = move || fs.write(handle.0, offset, &bytes).map(|()| bytes.len());
                self.dispatch.go_on(slot, work, send, drop);
            }
        });
    }

    fn flush(&self, request: &Request, _: INodeNo, handle: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        let work = Arc::clone(&self.fs).flush(handle.0, caller(request));
        self.dispatch.commit(Operation::Flush, reply, self.fs.patience(handle.0), work, reply::ok, drop);
    }

    fn fsync(&self, _: &Request, _: INodeNo, handle: FileHandle, _: bool, reply: ReplyEmpty) {
        let work = Arc::clone(&self.fs).fsync(handle.0);
        self.dispatch.commit(Operation::Fsync, reply, self.fs.patience(handle.0), work, reply::ok, drop);
    }

    /// Names are durable when the call that changed them returned.
    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    fn getxattr(&self, _: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        if !xattr::has_namespace(name) {
            return reply.error(fuser::Errno::EOPNOTSUPP);
        }
        let (fs, name) = (Arc::clone(&self.fs), name.to_owned());
        let work = move || fs.extended_attribute(ino.0, &name);
        self.dispatch.read(Operation::GetXattr, reply, work, reply::xattr(size), drop);
    }

    fn listxattr(&self, _: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        let fs = Arc::clone(&self.fs);
        let work = move || {
            let names = fs.extended_attributes(ino.0)?;
            let text: String = names.iter().flat_map(|name| [name.as_str(), "\0"]).collect();
            Ok(text.into_bytes())
        };
        self.dispatch.read(Operation::ListXattr, reply, work, reply::xattr(size), drop);
    }

    fn setxattr(
        &self,
        _: &Request,
        ino: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _: u32,
        reply: ReplyEmpty,
    ) {
        let Some(name) = name.to_str() else { return reply.error(fuser::Errno::EOPNOTSUPP) };
        let fs = Arc::clone(&self.fs);
        let work = fs.set_extended_attribute(ino.0, name.to_owned(), value.to_vec(), flags);
        self.dispatch.commit(Operation::SetXattr, reply, COMMIT_PATIENCE, work, reply::ok, drop);
    }

    fn removexattr(&self, _: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let Some(name) = name.to_str() else { return reply.error(fuser::Errno::ENODATA) };
        let work = Arc::clone(&self.fs).remove_extended_attribute(ino.0, name.to_owned());
        self.dispatch.commit(Operation::RemoveXattr, reply, COMMIT_PATIENCE, work, reply::ok, drop);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let fs = Arc::clone(&self.fs);
        self.dispatch.fetch(Operation::Read, reply, move || fs.read(handle.0, offset, size), reply::data);
    }

    fn release(
        &self,
        _: &Request,
        ino: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        if self.fs.is_plain(handle.0) {
            return fenced(|| {
                self.backings.release(ino.0, handle.0);
                self.fs.release(handle.0);
                reply.ok();
                self.dispatch.answered(Operation::Release);
            });
        }
        let patience = self.fs.patience(handle.0);
        let work = Arc::clone(&self.fs).release_file(handle.0);
        self.dispatch.commit(Operation::Release, reply, patience, work, reply::ok, drop);
    }

    fn opendir(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        fenced(|| match self.fs.open_directory(ino.0) {
            Ok((handle, keep)) => {
                let kept = if keep { FopenFlags::FOPEN_KEEP_CACHE } else { FopenFlags::empty() };
                reply.opened(FileHandle(handle), FopenFlags::FOPEN_CACHE_DIR | kept);
            }
            Err(error) => reply.error(reply::errno(error)),
        });
    }

    fn readdir(&self, _: &Request, ino: INodeNo, handle: FileHandle, offset: u64, reply: ReplyDirectory) {
        let fs = Arc::clone(&self.fs);
        self.dispatch.fill(
            Operation::ReadDir,
            reply,
            move |slot| {
                fs.list(ino.0, handle.0, offset, false, &mut |found| {
                    slot.with(|reply| !reply::add(reply, found)).unwrap_or(false)
                })
            },
            ReplyDirectory::ok,
        );
    }

    fn readdirplus(
        &self,
        _: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        reply: ReplyDirectoryPlus,
    ) {
        let fs = Arc::clone(&self.fs);
        self.dispatch.fill(
            Operation::ReadDir,
            reply,
            move |slot| {
                let mut entered = Vec::new();
                let listed = fs.list(ino.0, handle.0, offset, true, &mut |found| {
                    let taken = slot.with(|reply| !reply::add_with_attr(reply, found)).unwrap_or(false);
                    if taken && found.is_entered() {
                        entered.push(found.attr.ino);
                    }
                    taken
                });
                if listed.is_err() || slot.with(|_| ()).is_none() {
                    // The kernel never hears of them.
                    entered.iter().for_each(|ino| fs.forget(*ino, 1));
                }
                listed
            },
            ReplyDirectoryPlus::ok,
        );
    }

    fn releasedir(&self, _: &Request, _: INodeNo, handle: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        fenced(|| {
            self.fs.release(handle.0);
            reply.ok();
        });
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let fs = Arc::clone(&self.fs);
        self.dispatch.read(Operation::StatFs, reply, move || Ok(fs.room()), reply::room, drop);
    }
}
