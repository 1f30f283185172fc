//! Room on the disk: writes are refused before it is gone, and a ballast file keeps enough for
//! deletes and for the metadata engine to open (RocksDB does not start on a full disk).

use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

const BALLAST_BYTES: u64 = 32 << 20;
/// What only a start may use up: opening replays the log, and needs room for what it held.
const START_RESERVE_BYTES: u64 = 48 << 20;
/// Below this no new bytes are taken.
const LOW_BYTES: u64 = 32 << 20;
/// Below this the ballast is given up.
const CRITICAL_BYTES: u64 = 16 << 20;

pub struct Disk {
    dir: PathBuf,
    full: AtomicBool,
}

impl Disk {
    pub fn open(dir: &Path) -> io::Result<Self> {
        let disk = Self { dir: dir.to_owned(), full: AtomicBool::new(false) };
        if disk.room()? < CRITICAL_BYTES {
            let _ = std::fs::remove_file(dir.join("start-reserve"));
        }
        disk.look();
        Ok(disk)
    }

    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    pub fn look(&self) {
        let Ok(room) = self.room() else { return };
        let ballast = self.dir.join("ballast");
        let has_ballast = ballast.exists();
        if room < CRITICAL_BYTES && has_ballast {
            tracing::warn!(room, "the disk is full: the ballast is given up, writes are refused");
            let _ = std::fs::remove_file(&ballast);
        } else {
            self.lay_back(room);
        }
        // The room that the ballast leaves is for deletes, not for new objects.
        let ours = if ballast.exists() { LOW_BYTES } else { LOW_BYTES + BALLAST_BYTES };
        self.full.store(room < ours, Ordering::Relaxed);
    }

    /// Lays what was given up, one file a look, when there is room for it and as much again.
    fn lay_back(&self, room: u64) {
        for (name, bytes) in [("start-reserve", START_RESERVE_BYTES), ("ballast", BALLAST_BYTES)] {
            let path = self.dir.join(name);
            if !path.exists() && room > LOW_BYTES + 2 * bytes {
                if lay(&path, bytes).is_err() {
                    let _ = std::fs::remove_file(&path);
                }
                return;
            }
        }
    }

    fn room(&self) -> io::Result<u64> {
        let room = |dir: &Path| rustix::fs::statvfs(dir).map(|fs| fs.f_bavail.saturating_mul(fs.f_frsize));
        let rooms = [
            room(&self.dir)?,
            room(&self.dir.join("blobs")).unwrap_or(u64::MAX),
            room(&self.dir.join("meta")).unwrap_or(u64::MAX),
        ];
        Ok(rooms.into_iter().min().unwrap_or(0))
    }
}

/// Written, not only allocated: some file systems give no promise for holes.
fn lay(path: &Path, bytes: u64) -> io::Result<()> {
    let file = std::fs::File::create(path)?;
    let zeros = vec![0; 1 << 20];
    for offset in (0..bytes).step_by(zeros.len()) {
        file.write_all_at(&zeros, offset)?;
    }
    file.sync_all()
}
