//! The data directory and its disk: ours, private, with room, and honest about syncs.

use super::{Check, Verdict};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, openat, statfs, statvfs};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A sync of a healthy disk takes less than this, also of a slow rotating one.
const SLOW_SYNC: Duration = Duration::from_millis(50);
const SYNCS: usize = 9;
/// The node keeps 80 MiB for itself and refuses writes near the end.
const LITTLE_ROOM_BYTES: u64 = 1 << 30;
const NO_ROOM_BYTES: u64 = 200 << 20;
/// Each larger object takes one.
const FEW_INODES: u64 = 10_000;

// statfs(2).
const TMPFS: i64 = 0x0102_1994;
const NFS: i64 = 0x6969;
const FUSE: i64 = 0x6573_5546;
const CIFS: i64 = 0xff53_4d42;
const SMB2: i64 = 0xfe53_4d42;

pub fn check(data_dir: &Path) -> Vec<Check> {
    let Some(dir) = existing(data_dir) else {
        let message = format!("no folder above {} exists", data_dir.display());
        return vec![Check::bad("data-directory", Verdict::Error, message, "create one, or change data_dir")];
    };
    let mut checks = vec![directory(data_dir, &dir)];
    let usable = checks.iter().all(|check| check.verdict != Verdict::Error);
    if usable {
        checks.push(sync(&dir));
        checks.push(unnamed_files(&dir));
    }
    checks.push(file_system(&dir));
    checks.extend(room(&dir));
    checks
}

/// The directory, or what it will be made in.
fn existing(data_dir: &Path) -> Option<PathBuf> {
    let full = std::path::absolute(data_dir).ok()?;
    full.ancestors().find(|dir| dir.is_dir()).map(Path::to_owned)
}

fn directory(data_dir: &Path, existing: &Path) -> Check {
    const NAME: &str = "data-directory";
    let show = data_dir.display();
    let ours = rustix::fs::access(existing, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK);
    if ours.is_err() {
        let message = format!("{} cannot be written by this user", existing.display());
        let remedy = "run doctor as the user of the node, or give the directory to it";
        return Check::bad(NAME, Verdict::Error, message, remedy);
    }
    let mode = std::fs::metadata(data_dir).map(|about| about.permissions().mode());
    match mode {
        Err(_) => Check::good(NAME, format!("{show} will be made at the first start")),
        Ok(mode) if mode & 0o077 != 0 => {
            let message = format!("others may look into {show}");
            Check::bad(NAME, Verdict::Warning, message, format!("chmod 700 {show}"))
        }
        Ok(_) => Check::good(NAME, format!("{show} is private")),
    }
}

/// How long a small durable write takes.
fn sync(dir: &Path) -> Check {
    const NAME: &str = "disk-sync";
    match time_syncs(dir) {
        Err(error) => {
            let message = format!("a file in {} cannot be synced: {error}", dir.display());
            Check::bad(NAME, Verdict::Error, message, "use another disk: nothing is durable on this one")
        }
        Ok(time) => {
            let message = format!("a sync takes {:.1} ms", time.as_secs_f64() * 1000.0);
            match time > SLOW_SYNC {
                true => {
                    let remedy = "use a faster disk for data_dir: each write waits for one sync or more";
                    Check::bad(NAME, Verdict::Warning, message, remedy)
                }
                false => Check::good(NAME, message),
            }
        }
    }
}

/// The median of a few.
fn time_syncs(dir: &Path) -> io::Result<Duration> {
    let file = unnamed(dir).or_else(|_| named(dir))?;
    let mut times = Vec::with_capacity(SYNCS);
    for at in 0..SYNCS {
        file.write_all_at(&[0x5a; 4096], at as u64 * 4096)?;
        let began = Instant::now();
        file.sync_data()?;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    Ok(times.get(SYNCS / 2).copied().unwrap_or_default())
}

fn unnamed(dir: &Path) -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    Ok(File::from(openat(CWD, dir, flags, Mode::RUSR | Mode::WUSR)?))
}

fn trial(dir: &Path) -> PathBuf {
    dir.join(format!(".s3-orchestrator-doctor-{}", std::process::id()))
}

/// Gone from its directory as soon as it is made.
fn named(dir: &Path) -> io::Result<File> {
    let path = trial(dir);
    let file = File::options().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

/// Blobs are written without a name and linked in when they are whole.
fn unnamed_files(dir: &Path) -> Check {
    const NAME: &str = "unnamed-files";
    let path = trial(dir);
    let tried = unnamed(dir).and_then(|file| {
        let source = format!("/proc/self/fd/{}", file.as_raw_fd());
        linkat(CWD, source, CWD, &path, AtFlags::SYMLINK_FOLLOW)?;
        std::fs::remove_file(&path)
    });
    match tried {
        Ok(()) => Check::good(NAME, "the file system has them"),
        Err(error) => {
            let message = format!("{} has no unnamed files (O_TMPFILE): {error}", dir.display());
            Check::bad(NAME, Verdict::Error, message, "use ext4, xfs or btrfs for data_dir")
        }
    }
}

fn file_system(dir: &Path) -> Check {
    const NAME: &str = "file-system";
    #[allow(clippy::unnecessary_cast, reason = "the type differs between processors")]
    let kind = statfs(dir).map(|fs| fs.f_type as i64);
    let said = |what: &str| format!("{} is on {what}", dir.display());
    match kind {
        Ok(TMPFS) => {
            let message = said("tmpfs, which is empty after a restart of the machine");
            Check::bad(NAME, Verdict::Warning, message, "use a disk for data_dir")
        }
        Ok(NFS | FUSE | CIFS | SMB2) => {
            let message = said("a network or FUSE file system, whose syncs and locks may promise too much");
            Check::bad(NAME, Verdict::Warning, message, "use a local disk for data_dir")
        }
        Ok(_) => Check::good(NAME, "a local file system"),
        Err(error) => Check::bad(NAME, Verdict::Warning, error.to_string(), "look at the disk of data_dir"),
    }
}

fn room(dir: &Path) -> Vec<Check> {
    let Ok(fs) = statvfs(dir) else { return Vec::new() };
    let bytes = fs.f_bavail.saturating_mul(fs.f_frsize);
    let message = format!("{} MiB are free for {}", bytes >> 20, dir.display());
    let remedy = "make room on its disk";
    let space = match bytes {
        NO_ROOM_BYTES.. if bytes >= LITTLE_ROOM_BYTES => Check::good("room", message),
        NO_ROOM_BYTES.. => Check::bad("room", Verdict::Warning, message, remedy),
        _ => Check::bad("room", Verdict::Error, message, remedy),
    };
    // Some file systems make inodes as they need them, and say 0.
    let few = fs.f_files > 0 && fs.f_favail < FEW_INODES;
    let inodes = few.then(|| {
        let message = format!("{} files can still be made on the disk", fs.f_favail);
        Check::bad("inodes", Verdict::Warning, message, "delete small files there, or use another disk")
    });
    std::iter::once(space).chain(inodes).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_directory_that_is_not_there_yet_is_judged_by_its_parent_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let checks = check(&dir.path().join("a/b"));
        assert!(checks.iter().any(|c| c.name == "disk-sync"), "{checks:?}");
        assert!(checks.iter().all(|c| c.verdict != Verdict::Error), "{checks:?}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_open_directory_is_warned_about() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let found = check(dir.path());
        let warned = |c: &&Check| c.name == "data-directory" && c.verdict == Verdict::Warning;
        assert_eq!(found.iter().filter(warned).count(), 1, "{found:?}");
    }
}
