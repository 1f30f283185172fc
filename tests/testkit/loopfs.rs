//! An ext4 file system of its own, in a file, that can lose power and can be full.
//!
//! `FS_IOC_SHUTDOWN` stops a mounted file system as a power cut does: what was not synced is gone after the next
//! mount. Needs root and loop devices; where there are none, [`LoopFs::create`] says so and a test skips loudly.

use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// `_IOR('X', 125, __u32)`: `EXT4_IOC_SHUTDOWN` of the kernel's `fs/ext4/ext4.h`.
const FS_IOC_SHUTDOWN: u64 = 0x8004_587d;
const UNMOUNT_TIMEOUT: Duration = Duration::from_secs(20);

/// What reaches the disk before a file system stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Metadata in the journal does, data that was not synced does not.
    LogFlush,
    /// Nothing that was not synced does.
    NoLogFlush,
}

impl Cut {
    fn flag(self) -> u32 {
        match self {
            Self::LogFlush => 1,
            Self::NoLogFlush => 2,
        }
    }
}

/// A file system that is mounted, and is unmounted and detached when dropped.
#[derive(Debug)]
pub struct LoopFs {
    image: PathBuf,
    device: String,
    mount_point: PathBuf,
    mounted: bool,
}

impl LoopFs {
    /// Makes and mounts a file system; its image lies in `dir`.
    pub fn create(dir: &Path, name: &str, size_bytes: u64, mount_point: &Path) -> Result<Self> {
        let image = dir.join(format!("{name}.img"));
        File::create(&image)?.set_len(size_bytes)?;
        // No blocks kept for root, who runs the tests: full is to be full.
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(&image))?;
        let device = run(Command::new("losetup").args(["--find", "--show"]).arg(&image))?.trim().to_owned();
        let mut fs = Self { image, device, mount_point: mount_point.to_owned(), mounted: false };
        fs::create_dir_all(mount_point)?;
        fs.mount()?;
        Ok(fs)
    }

    pub fn mount(&mut self) -> Result<()> {
        run(Command::new("mount").args(["-t", "ext4"]).arg(&self.device).arg(&self.mount_point))?;
        self.mounted = true;
        Ok(())
    }

    /// Waits a little for the last user to be gone.
    pub fn unmount(&mut self) -> Result<()> {
        let deadline = Instant::now() + UNMOUNT_TIMEOUT;
        while self.mounted {
            match run(Command::new("umount").arg(&self.mount_point)) {
                Ok(_) => self.mounted = false,
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
        Ok(())
    }

    /// Power is gone for this file system.
    pub fn cut(&self, how: Cut) -> Result<()> {
        let dir = File::open(&self.mount_point)?;
        let flag = how.flag();
        // SAFETY: the ioctl reads one u32 behind the pointer, which lives until the call is back.
        let result = unsafe { libc::ioctl(dir.as_raw_fd(), FS_IOC_SHUTDOWN as _, &raw const flag) };
        if result != 0 {
            bail!("FS_IOC_SHUTDOWN on {}: {}", self.mount_point.display(), std::io::Error::last_os_error());
        }
        Ok(())
    }

    pub fn path(&self) -> &Path {
        &self.mount_point
    }

    /// Bytes that an unprivileged writer may still write.
    pub fn free_bytes(&self) -> Result<u64> {
        let text = run(Command::new("stat").args(["-f", "-c", "%a %S"]).arg(&self.mount_point))?;
        let mut numbers = text.split_whitespace().map(str::parse::<u64>);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(blocks)), Some(Ok(size))) => Ok(blocks * size),
            _ => bail!("stat -f said {text:?}"),
        }
    }
}

impl Drop for LoopFs {
    fn drop(&mut self) {
        if self.mounted && self.unmount().is_err() {
            // Still in use: gone from the tree now, from the kernel with its last user.
            let _ = run(Command::new("umount").arg("-l").arg(&self.mount_point));
        }
        let _ = run(Command::new("losetup").arg("-d").arg(&self.device));
        let _ = fs::remove_file(&self.image);
    }
}

/// Whether loop mounts work here; if not, why.
pub fn availability() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mount_point = dir.path().join("mnt");
    let fs = LoopFs::create(dir.path(), "probe", 8 << 20, &mount_point)?;
    fs.cut(Cut::NoLogFlush)
}

/// Says that a test does not run, so that nobody overlooks it.
pub fn skip_loudly(test: &str, why: &anyhow::Error) {
    eprintln!("\n!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!");
    eprintln!("!!! SKIPPED: {test}: needs root and loop devices: {why:#}");
    eprintln!("!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!\n");
}

fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("running {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::Write;

    /// The rig itself: synced survives, unsynced does not. If this cannot fail, the power cuts prove nothing.
    #[test]
    fn a_cut_loses_what_was_not_synced() {
        if let Err(why) = availability() {
            return skip_loudly("loopfs", &why);
        }
        let dir = tempfile::tempdir().unwrap();
        let mut fs = LoopFs::create(dir.path(), "disk", 16 << 20, &dir.path().join("mnt")).unwrap();
        let write = |name: &str, sync: bool| {
            let mut file = File::create(fs.path().join(name)).unwrap();
            file.write_all(b"data").unwrap();
            if sync {
                file.sync_all().unwrap();
                File::open(fs.path()).unwrap().sync_all().unwrap();
            }
        };
        write("synced", true);
        write("unsynced", false);
        fs.cut(Cut::NoLogFlush).unwrap();
        fs.unmount().unwrap();
        fs.mount().unwrap();
        assert_eq!(fs::read(fs.path().join("synced")).unwrap(), b"data");
        assert!(!fs.path().join("unsynced").exists());
    }
}
