//! The one place that speaks fuser: requests in, replies out, notices to the kernel.
//!
//! A reply that is dropped is answered EIO. Every handler is fenced against panics, which would otherwise end its
//! event loop and in the end hang the mount.

use std::ffi::OsStr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BsdFileFlags, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, InitFlags,
    KernelConfig, LockOwner, OpenFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request,
    TimeOrNow,
};
use tokio::runtime::Handle;

use crate::attr::{Attr, Kind, MODE_BITS, Time, Wanted};
use crate::backing::Backings;
use crate::caller::Caller;
use crate::ended::Ended;
use crate::errno::{Answer, Errno};
use crate::filesystem::{FileSystem, LASTING};
use crate::names::MAX_NAME_BYTES;
use crate::naming::RenameFlags;
use crate::notify::Kernel;
use crate::writing::{Access, Opened};

/// What one request to write carries at most; the kernel allows no more by default.
const MAX_WRITE_BYTES: u32 = 1 << 20;
const MAX_BACKGROUND_REQUESTS: u16 = 64;
/// What `stat` suggests for reads and writes.
const IO_BYTES: u32 = 128 << 10;
const BLOCK_BYTES: u32 = 4096;
/// Each file has one generation: no number comes twice.
const GENERATION: Generation = Generation(0);

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
    pub backings: Backings,
    /// Where commits are waited for: never on an event loop.
    pub runtime: Handle,
}

/// The longest that a process waits for a change; nobody can interrupt it meanwhile.
const COMMIT_DEADLINE: Duration = Duration::from_secs(60);

impl Adapter {
    /// Runs what takes its time beside the event loops, and answers in time whatever happens to it.
    fn beside<T: Send + 'static>(
        &self,
        work: impl Future<Output = Answer<T>> + Send + 'static,
        reply: impl FnOnce(Answer<T>) + Send + 'static,
    ) {
        self.runtime.spawn(async move {
            // In a task of its own: it goes on when nobody waits for it any more, and may panic.
            let working = tokio::spawn(work);
            let answer = match tokio::time::timeout(COMMIT_DEADLINE, working).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(error)) => {
                    tracing::error!(%error, "a file system request ended");
                    Err(Errno::IO)
                }
                Err(_) => Err(Errno::TIMEDOUT),
            };
            reply(answer);
        });
    }
}

fn caller(request: &Request) -> Caller {
    Caller { thread: request.pid(), uid: request.uid(), gid: request.gid() }
}

fn empty(reply: ReplyEmpty) -> impl FnOnce(Answer<()>) {
    move |answer| match answer {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(errno(error)),
    }
}

fn from_system(when: SystemTime) -> Time {
    match when.duration_since(UNIX_EPOCH) {
        Ok(since) => {
            Time { secs: i64::try_from(since.as_secs()).unwrap_or(i64::MAX), nanos: since.subsec_nanos() }
        }
        Err(before) => {
            let before = before.duration();
            let whole = i64::try_from(before.as_secs()).unwrap_or(i64::MAX);
            match before.subsec_nanos() {
                0 => Time { secs: -whole, nanos: 0 },
                nanos => Time { secs: -whole - 1, nanos: 1_000_000_000 - nanos },
            }
        }
    }
}

/// Writes go past the page cache, and nothing that is read of a file in the making stays in it.
const STAGED_FLAGS: FopenFlags = FopenFlags::FOPEN_DIRECT_IO;

/// What a handler leaves unanswered by a panic is answered EIO.
fn fenced(handler: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(handler)).is_err() {
        tracing::error!("a file system request panicked");
    }
}

fn errno(error: Errno) -> fuser::Errno {
    fuser::Errno::from_i32(error.raw_os_error())
}

fn time(time: Time) -> SystemTime {
    let nanos = Duration::from_nanos(u64::from(time.nanos));
    let whole = Duration::from_secs(time.secs.unsigned_abs());
    let secs = if time.secs < 0 { UNIX_EPOCH.checked_sub(whole) } else { UNIX_EPOCH.checked_add(whole) };
    secs.and_then(|secs| secs.checked_add(nanos)).unwrap_or(UNIX_EPOCH)
}

fn file_type(kind: Kind) -> FileType {
    match kind {
        Kind::File => FileType::RegularFile,
        Kind::Directory => FileType::Directory,
    }
}

fn file_attr(attr: &Attr) -> FileAttr {
    FileAttr {
        ino: INodeNo(attr.ino),
        size: attr.size,
        blocks: attr.blocks(),
        atime: time(attr.mtime),
        mtime: time(attr.mtime),
        ctime: time(attr.ctime),
        crtime: time(attr.ctime),
        kind: file_type(attr.kind),
        perm: u16::try_from(attr.perm).unwrap_or_default(),
        nlink: attr.links,
        uid: attr.uid,
        gid: attr.gid,
        rdev: 0,
        blksize: IO_BYTES,
        flags: 0,
    }
}

/// How the kernel is told that there is nothing, and that it may believe it.
fn nothing() -> FileAttr {
    let attr = Attr {
        ino: 0,
        kind: Kind::File,
        size: 0,
        mtime: Time::default(),
        ctime: Time::default(),
        perm: 0,
        uid: 0,
        gid: 0,
        links: 0,
    };
    file_attr(&attr)
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
        fenced(|| match self.fs.lookup(parent.0, name, caller(request)) {
            Ok(looked) => {
                let attr = looked.attr.map_or_else(nothing, |attr| file_attr(&attr));
                reply.entry(&looked.lasting, &attr, GENERATION);
            }
            Err(error) => reply.error(errno(error)),
        });
    }

    fn forget(&self, _: &Request, ino: INodeNo, lookups: u64) {
        fenced(|| self.fs.forget(ino.0, lookups));
    }

    fn getattr(&self, _: &Request, ino: INodeNo, handle: Option<FileHandle>, reply: ReplyAttr) {
        fenced(|| match self.fs.attributes_for(ino.0, handle.map(|handle| handle.0)) {
            Ok((attr, lasting)) => reply.attr(&lasting, &file_attr(&attr)),
            Err(error) => reply.error(errno(error)),
        });
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
        fenced(|| {
            let mtime = mtime.map(|mtime| match mtime {
                TimeOrNow::SpecificTime(time) => from_system(time),
                TimeOrNow::Now => from_system(SystemTime::now()),
            });
            let wanted = Wanted { perm: mode.map(|mode| mode & MODE_BITS), uid, gid, mtime };
            let (fs, handle) = (Arc::clone(&self.fs), handle.map(|handle| handle.0));
            let work = fs.set_attributes(ino.0, handle, wanted, size, caller(request));
            self.beside(work, |answer| match answer {
                // What else changed with it the kernel asks for.
                Ok(attr) => reply.attr(&Duration::ZERO, &file_attr(&attr)),
                Err(error) => reply.error(errno(error)),
            });
        });
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
        fenced(|| {
            let fs = Arc::clone(&self.fs);
            let work = fs.make_directory(parent.0, name.to_owned(), mode, caller(request));
            self.beside(work, |answer| match answer {
                Ok(attr) => reply.entry(&LASTING, &file_attr(&attr), GENERATION),
                Err(error) => reply.error(errno(error)),
            });
        });
    }

    fn unlink(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        fenced(|| {
            let fs = Arc::clone(&self.fs);
            self.beside(fs.remove_file(parent.0, name.to_owned(), caller(request)), empty(reply));
        });
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        fenced(|| {
            let fs = Arc::clone(&self.fs);
            self.beside(fs.remove_directory(parent.0, name.to_owned()), empty(reply));
        });
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
        fenced(|| {
            let known = fuser::RenameFlags::RENAME_NOREPLACE | fuser::RenameFlags::RENAME_EXCHANGE;
            let flags = RenameFlags {
                no_replace: flags.contains(fuser::RenameFlags::RENAME_NOREPLACE),
                exchange: flags.contains(fuser::RenameFlags::RENAME_EXCHANGE),
                other: !known.contains(flags),
            };
            let fs = Arc::clone(&self.fs);
            let (from, to) = ((parent.0, name.to_owned()), (new_parent.0, new_name.to_owned()));
            self.beside(fs.rename(from, to, flags, caller(request)), empty(reply));
        });
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
        fenced(|| match self.fs.create(parent.0, name, mode, Access::of(flags), caller(request)) {
            Ok((attr, handle)) => {
                let attr = file_attr(&attr);
                reply.created(&Duration::ZERO, &attr, GENERATION, FileHandle(handle), STAGED_FLAGS);
            }
            Err(error) => reply.error(errno(error)),
        });
    }

    fn open(&self, request: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        fenced(|| match self.fs.open_file(ino.0, Access::of(flags.0), caller(request)) {
            // A version never changes: its pages are good for as long as the kernel likes.
            Ok(Opened::Version(handle)) => {
                let make = || self.fs.plain_file(handle).map(|file| reply.open_backing(&file));
                match self.backings.open(ino.0, handle, make) {
                    Some(backing) => {
                        reply.opened_passthrough(FileHandle(handle), FopenFlags::FOPEN_NOFLUSH, &backing);
                    }
                    None => {
                        let flags = FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_NOFLUSH;
                        reply.opened(FileHandle(handle), flags);
                    }
                }
            }
            Ok(Opened::Staged(handle)) => reply.opened(FileHandle(handle), STAGED_FLAGS),
            Err(error) => reply.error(errno(error)),
        });
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
        fenced(|| match self.fs.write(handle.0, offset, bytes) {
            Ok(()) => reply.written(u32::try_from(bytes.len()).unwrap_or(u32::MAX)),
            Err(error) => reply.error(errno(error)),
        });
    }

    fn flush(&self, request: &Request, _: INodeNo, handle: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        fenced(|| {
            let fs = Arc::clone(&self.fs);
            self.beside(fs.flush(handle.0, caller(request)), empty(reply));
        });
    }

    fn fsync(&self, _: &Request, _: INodeNo, handle: FileHandle, _: bool, reply: ReplyEmpty) {
        fenced(|| self.beside(Arc::clone(&self.fs).fsync(handle.0), empty(reply)));
    }

    /// Names are durable when the call that changed them returned.
    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    fn getxattr(&self, _: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        fenced(|| xattr(self.fs.extended_attribute(ino.0, name), size, reply));
    }

    fn listxattr(&self, _: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        fenced(|| {
            let names = self.fs.extended_attributes(ino.0);
            let text =
                names.map(|names| names.iter().flat_map(|name| [name.as_str(), "\0"]).collect::<String>());
            xattr(text.map(String::into_bytes), size, reply);
        });
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
        fenced(|| {
            let Some(name) = name.to_str() else { return reply.error(fuser::Errno::EOPNOTSUPP) };
            let fs = Arc::clone(&self.fs);
            let work = fs.set_extended_attribute(ino.0, name.to_owned(), value.to_vec(), flags);
            self.beside(work, empty(reply));
        });
    }

    fn removexattr(&self, _: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        fenced(|| {
            let Some(name) = name.to_str() else { return reply.error(fuser::Errno::ENODATA) };
            let fs = Arc::clone(&self.fs);
            self.beside(fs.remove_extended_attribute(ino.0, name.to_owned()), empty(reply));
        });
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
        fenced(|| match self.fs.read(handle.0, offset, size) {
            Ok(pieces) => match pieces.as_slice() {
                [only] => reply.data(only),
                many => reply.data(&many.concat()),
            },
            Err(error) => reply.error(errno(error)),
        });
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
        fenced(|| {
            if self.fs.is_plain(handle.0) {
                self.backings.release(ino.0, handle.0);
                self.fs.release(handle.0);
                return reply.ok();
            }
            self.beside(Arc::clone(&self.fs).release_file(handle.0), empty(reply));
        });
    }

    fn opendir(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        fenced(|| match self.fs.open_directory(ino.0) {
            Ok((handle, keep)) => {
                let kept = if keep { FopenFlags::FOPEN_KEEP_CACHE } else { FopenFlags::empty() };
                reply.opened(FileHandle(handle), FopenFlags::FOPEN_CACHE_DIR | kept);
            }
            Err(error) => reply.error(errno(error)),
        });
    }

    fn readdir(&self, _: &Request, ino: INodeNo, handle: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        fenced(|| {
            let listed = self.fs.list(ino.0, handle.0, offset, false, &mut |entry| {
                !reply.add(INodeNo(entry.attr.ino), entry.next, file_type(entry.attr.kind), entry.name)
            });
            match listed {
                Ok(()) => reply.ok(),
                Err(error) => reply.error(errno(error)),
            }
        });
    }

    fn readdirplus(
        &self,
        _: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        fenced(|| {
            let listed = self.fs.list(ino.0, handle.0, offset, true, &mut |entry| {
                let attr = file_attr(&entry.attr);
                !reply.add(attr.ino, entry.next, entry.name, &entry.lasting, &attr, GENERATION)
            });
            match listed {
                Ok(()) => reply.ok(),
                Err(error) => reply.error(errno(error)),
            }
        });
    }

    fn releasedir(&self, _: &Request, _: INodeNo, handle: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        fenced(|| {
            self.fs.release(handle.0);
            reply.ok();
        });
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        fenced(|| {
            let room = self.fs.room();
            let blocks = |bytes: u64| bytes / u64::from(BLOCK_BYTES);
            let (used, free) = (room.used_bytes.div_ceil(u64::from(BLOCK_BYTES)), blocks(room.free_bytes));
            let name = u32::try_from(MAX_NAME_BYTES).unwrap_or(u32::MAX);
            // An object needs at least a block's worth of room somewhere.
            let objects = room.objects.saturating_add(free);
            reply.statfs(used + free, free, free, objects, free, BLOCK_BYTES, name, BLOCK_BYTES);
        });
    }
}

fn xattr(answer: Answer<Vec<u8>>, size: u32, reply: ReplyXattr) {
    match answer {
        Ok(value) if size == 0 => reply.size(u32::try_from(value.len()).unwrap_or(u32::MAX)),
        Ok(value) if value.len() <= size as usize => reply.data(&value),
        Ok(_) => reply.error(fuser::Errno::ERANGE),
        Err(error) => reply.error(errno(error)),
    }
}

/// The way to the kernel's caches.
pub struct KernelCaches(pub fuser::Notifier);

impl Kernel for KernelCaches {
    fn drop_name(&self, parent: u64, name: &str) {
        report(self.0.inval_entry(INodeNo(parent), OsStr::new(name)));
    }

    fn drop_inode(&self, ino: u64) {
        report(self.0.inval_inode(INodeNo(ino), 0, 0));
    }
}

/// What the kernel does not know it need not drop. Other errors end with the connection.
fn report(told: std::io::Result<()>) {
    if let Err(error) = told {
        tracing::debug!(%error, "the kernel was not told of a change");
    }
}
