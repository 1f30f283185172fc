//! The directory that is mounted on: fit for it or not, and how it is let go.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A crash can leave several mounts on top of each other.
const MAX_DEAD_MOUNTS: usize = 16;

/// Detaches what a crash left mounted there, and refuses what is no place for a mount. Returns the path
/// without symbolic links.
pub fn prepare(path: &Path, nonempty: bool) -> io::Result<PathBuf> {
    for _ in 0..MAX_DEAD_MOUNTS {
        // Not `stat`: the kernel may answer that from what it remembers of the dead.
        match rustix::fs::statvfs(path).map_err(io::Error::from) {
            Err(error) if is_dead(&error) => {
                tracing::warn!(path = %path.display(), "a mount that has nobody behind it is detached");
                detach(path)?;
            }
            Err(error) => return Err(error),
            Ok(_) => break,
        }
    }
    if !std::fs::metadata(path)?.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    let path = path.canonicalize()?;
    if is_mount_of_ours(&path)? {
        let why = "something is mounted there already";
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, why));
    }
    if !nonempty && std::fs::read_dir(&path)?.next().is_some() {
        let why = "the directory is not empty; the option `nonempty` hides what is in it";
        return Err(io::Error::new(io::ErrorKind::DirectoryNotEmpty, why));
    }
    Ok(path)
}

fn is_dead(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENOTCONN) || error.raw_os_error() == Some(libc::ECONNABORTED)
}

fn is_mount_of_ours(path: &Path) -> io::Result<bool> {
    Ok(entry_of(path)?.is_some_and(|entry| entry.kind.starts_with("fuse")))
}

/// What is mounted at a path, topmost.
pub struct Entry {
    /// Minor number of its device: the number of its FUSE connection.
    pub minor: u64,
    pub major: u64,
    pub kind: String,
}

/// From `/proc/self/mountinfo`, without touching the path (proc(5)).
pub fn entry_of(path: &Path) -> io::Result<Option<Entry>> {
    let text = std::fs::read_to_string("/proc/self/mountinfo")?;
    Ok(text.lines().rev().find_map(|line| parse(line, path)))
}

fn parse(line: &str, path: &Path) -> Option<Entry> {
    let (front, back) = line.split_once(" - ")?;
    let mut fields = front.split(' ');
    let device = fields.nth(2)?;
    let at = unescape(fields.nth(1)?);
    if at != path.as_os_str().as_bytes() {
        return None;
    }
    let (major, minor) = device.split_once(':')?;
    let kind = back.split(' ').next()?.to_owned();
    Some(Entry { major: major.parse().ok()?, minor: minor.parse().ok()?, kind })
}

/// Space, tab, newline and backslash stand as three octal digits.
fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()).filter(|_| *first == b'\\') {
            Some(byte) => {
                out.push(byte);
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    out
}

/// Takes the mount away from its place at once; who has something open in it keeps that.
pub fn detach(path: &Path) -> io::Result<()> {
    let text = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: the path is a string that ends with NUL and lives as long as the call.
    if unsafe { libc::umount2(text.as_ptr(), libc::MNT_DETACH) } == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        // An ordinary user may only through the helper that is allowed to.
        Some(libc::EPERM) => helper(path),
        // Not mounted: somebody was faster.
        Some(libc::EINVAL) => Ok(()),
        _ => Err(error),
    }
}

fn helper(path: &Path) -> io::Result<()> {
    let mut command = Command::new("fusermount3");
    command.args(["-u", "-z", "--"]).arg(path).stdin(Stdio::null());
    let ended = command.output()?;
    if ended.status.success() {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(&ended.stderr).trim().to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn mountinfo_is_read_with_its_escapes() {
        let line = r"98 25 0:52 / /mnt/a\040b rw,nosuid - fuse.s3-orchestrator bucket rw,user_id=0";
        let entry = parse(line, Path::new("/mnt/a b")).unwrap();
        assert_eq!((entry.major, entry.minor, entry.kind.as_str()), (0, 52, "fuse.s3-orchestrator"));
        assert!(parse(line, Path::new("/mnt/a")).is_none());
        assert_eq!(unescape(r"\\x\134\"), b"\\\\x\\\\");
    }

    #[test]
    fn a_place_must_be_an_empty_directory() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(prepare(dir.path(), false).unwrap(), dir.path().canonicalize().unwrap());
        std::fs::write(dir.path().join("x"), b"").unwrap();
        assert_eq!(prepare(dir.path(), false).unwrap_err().kind(), io::ErrorKind::DirectoryNotEmpty);
        assert!(prepare(dir.path(), true).is_ok());
        assert_eq!(prepare(&dir.path().join("x"), true).unwrap_err().kind(), io::ErrorKind::NotADirectory);
        assert_eq!(prepare(&dir.path().join("y"), true).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
