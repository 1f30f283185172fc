//! Answers in the kernel's terms.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    FileAttr, FileHandle, FileType, FopenFlags, Generation, INodeNo, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite,
    ReplyXattr,
};

use crate::attr::{Attr, Kind, Time};
use crate::dispatch::Refuse;
use crate::errno::Errno;
use crate::filesystem::Looked;
use crate::listing::Listed;
use crate::names::MAX_NAME_BYTES;

/// What `stat` suggests for reads and writes.
const IO_BYTES: u32 = 128 << 10;
const BLOCK_BYTES: u32 = 4096;
/// Each file has one generation: no number comes twice.
const GENERATION: Generation = Generation(0);
/// Writes go past the page cache, and nothing that is read of a file in the making stays in it.
pub const STAGED_FLAGS: FopenFlags = FopenFlags::FOPEN_DIRECT_IO;

macro_rules! refusals {
    ($($reply:ty),*) => {$(
        impl Refuse for $reply {
            fn refuse(self, error: Errno) {
                self.error(errno(error));
            }
        }
    )*};
}

refusals!(
    ReplyAttr,
    ReplyCreate,
    ReplyData,
    ReplyDirectory,
    ReplyDirectoryPlus,
    ReplyEmpty,
    ReplyEntry,
    ReplyOpen,
    ReplyStatfs,
    ReplyWrite,
    ReplyXattr
);

pub fn errno(error: Errno) -> fuser::Errno {
    fuser::Errno::from_i32(error.raw_os_error())
}

pub fn ok(reply: ReplyEmpty, (): ()) {
    reply.ok();
}

pub fn entry(reply: ReplyEntry, found: Looked) {
    let attr = found.attr.map_or_else(nothing, |attr| file_attr(&attr));
    reply.entry(&found.lasting, &attr, GENERATION);
}

pub fn attr(reply: ReplyAttr, (attr, lasting): (Attr, Duration)) {
    reply.attr(&lasting, &file_attr(&attr));
}

pub fn created(reply: ReplyCreate, (attr, handle): (Attr, u64)) {
    reply.created(&Duration::ZERO, &file_attr(&attr), GENERATION, FileHandle(handle), STAGED_FLAGS);
}

pub fn data(reply: ReplyData, pieces: Vec<bytes::Bytes>) {
    match pieces.as_slice() {
        [only] => reply.data(only),
        many => reply.data(&many.concat()),
    }
}

/// `true`: there is no room for it.
pub fn add(reply: &mut ReplyDirectory, found: &Listed<'_>) -> bool {
    reply.add(INodeNo(found.attr.ino), found.next, file_type(found.attr.kind), found.name)
}

/// `true`: there is no room for it.
pub fn add_with_attr(reply: &mut ReplyDirectoryPlus, found: &Listed<'_>) -> bool {
    let attr = file_attr(&found.attr);
    reply.add(attr.ino, found.next, found.name, &found.lasting, &attr, GENERATION)
}

/// A value, or its size for a caller that has room for nothing.
pub fn xattr(size: u32) -> impl FnOnce(ReplyXattr, Vec<u8>) {
    move |reply, value| match value.len() {
        len if size == 0 => reply.size(u32::try_from(len).unwrap_or(u32::MAX)),
        len if len <= size as usize => reply.data(&value),
        _ => reply.error(fuser::Errno::ERANGE),
    }
}

pub fn room(reply: ReplyStatfs, room: store::Room) {
    let blocks = |bytes: u64| bytes / u64::from(BLOCK_BYTES);
    let (used, free) = (room.used_bytes.div_ceil(u64::from(BLOCK_BYTES)), blocks(room.free_bytes));
    let name = u32::try_from(MAX_NAME_BYTES).unwrap_or(u32::MAX);
    // An object needs at least a block's worth of room somewhere.
    let objects = room.objects.saturating_add(free);
    reply.statfs(used + free, free, free, objects, free, BLOCK_BYTES, name, BLOCK_BYTES);
}

pub fn from_system(when: SystemTime) -> Time {
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
