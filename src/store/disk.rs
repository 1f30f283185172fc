//! Room on the disk: new bytes are refused before it is gone. Two reserve files keep what comes
//! after that possible: one gives deletes their room, the other gives a start its (RocksDB does not
//! open on a full disk).

use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Below this no new bytes are taken.
const LOW_BYTES: u64 = 32 << 20;
/// Given up to a running node when less than half of `LOW_BYTES` is left.
const BALLAST: Reserve = Reserve { name: "ballast", bytes: 32 << 20 };
/// Given up to a start: opening replays the log, and needs room for what it held.
const START_RESERVE: Reserve = Reserve { name: "start-reserve", bytes: 48 << 20 };
/// On smaller disks everything is smaller in proportion.
const FULL_SCALE_DISK_BYTES: u64 = 1 << 30;

struct Reserve {
    name: &'static str,
    bytes: u64,
}

/// What is left on the disk of the data directory.
#[derive(Debug, Clone, Copy, Default)]
pub struct DiskRoom {
    pub room_bytes: u64,
    pub size_bytes: u64,
    /// New bytes are refused.
    pub full: bool,
}

pub struct Disk {
    dir: PathBuf,
    size: u64,
    full: AtomicBool,
}

impl Disk {
    pub fn open(dir: &Path) -> io::Result<Self> {
        let fs = rustix::fs::statvfs(dir)?;
        let size = fs.f_blocks.saturating_mul(fs.f_frsize);
        let disk = Self { dir: dir.to_owned(), size, full: AtomicBool::new(false) };
        if disk.room()? < disk.scaled(LOW_BYTES) / 2 {
            disk.give_up(&START_RESERVE);
        }
        disk.look();
        Ok(disk)
    }

    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    pub fn report(&self) -> DiskRoom {
        let room_bytes = self.room().unwrap_or(0);
        DiskRoom { room_bytes, size_bytes: self.size, full: self.is_full() }
    }

    pub fn look(&self) {
        let Ok(room) = self.room() else { return };
        if room < self.scaled(LOW_BYTES) / 2 {
            self.give_up(&BALLAST);
        } else {
            self.lay_back(room);
        }
        let full = self.room().unwrap_or(room) < self.kept();
        if full != self.full.swap(full, Ordering::Relaxed) {
            let state = if full { "refused: the disk is full" } else { "taken again" };
            tracing::warn!(room, "writes are {state}");
        }
    }

    /// What is not for new objects: also the room that a missing reserve leaves.
    fn kept(&self) -> u64 {
        let missing = [BALLAST, START_RESERVE].iter().filter(|r| !self.path(r).exists());
        self.scaled(LOW_BYTES) + missing.map(|r| self.scaled(r.bytes)).sum::<u64>()
    }

    pub fn room_for_objects(&self) -> u64 {
        self.room().unwrap_or(0).saturating_sub(self.kept())
    }

    fn path(&self, reserve: &Reserve) -> PathBuf {
        self.dir.join(reserve.name)
    }

    fn scaled(&self, bytes: u64) -> u64 {
        bytes / FULL_SCALE_DISK_BYTES.div_ceil(self.size.clamp(1, FULL_SCALE_DISK_BYTES))
    }

    fn give_up(&self, reserve: &Reserve) {
        if std::fs::remove_file(self.path(reserve)).is_ok() {
            tracing::warn!(reserve = reserve.name, "the disk is full: a reserve is given up");
        }
    }

    /// Lays what was given up, one file a look, when there is room for it.
    fn lay_back(&self, room: u64) {
        for reserve in [START_RESERVE, BALLAST] {
            let (path, bytes) = (self.path(&reserve), self.scaled(reserve.bytes));
            if path.exists() || room < self.scaled(LOW_BYTES) / 2 + bytes {
                continue;
            }
            if lay(&path, bytes).is_err() {
                self.give_up(&reserve);
            }
            return;
        }
    }

    /// The least that is left on any of the file systems below the data directory.
    fn room(&self) -> io::Result<u64> {
        let room = |dir: &Path| rustix::fs::statvfs(dir).map(|fs| fs.f_bavail.saturating_mul(fs.f_frsize));
        let parts = ["blobs", "meta"].map(|part| room(&self.dir.join(part)).unwrap_or(u64::MAX));
        Ok(parts.into_iter().fold(room(&self.dir)?, u64::min))
    }
}

/// Written, not only allocated: some file systems give no promise for holes.
fn lay(path: &Path, bytes: u64) -> io::Result<()> {
    static BLOCK: [u8; 64 << 10] = [0; 64 << 10];
    let file = std::fs::File::create(path)?;
    for offset in (0..bytes).step_by(BLOCK.len()) {
        file.write_all_at(&BLOCK, offset)?;
    }
    file.sync_all()
}
