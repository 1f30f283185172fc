//! A mount's life: the place is prepared, the kernel connected, commits listened to; then the same in reverse.

use std::io;
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use fuser::{Config, MountOption, Session, SessionACL};
use store::{Gate, Listener, Origin, Store};
use tokio::runtime::Handle;

use crate::Options;
use crate::adapter::Adapter;
use crate::backing::Backings;
use crate::debts::Debts;
use crate::directory::Source;
use crate::dispatch::Dispatch;
use crate::ended::Ended;
use crate::figures::{Asked, Figures};
use crate::filesystem::FileSystem;
use crate::hidden::Hidden;
use crate::inode::Inodes;
use crate::kernel::KernelCaches;
use crate::mountpoint;
use crate::notify::Notices;

/// One event loop would make every slow answer everybody's.
const MIN_THREADS: usize = 2;
const MAX_THREADS: usize = 8;
/// What the kernel reads ahead; the handshake allows 128 KiB only.
const READ_AHEAD_KIB: u32 = 1024;
/// What is in flight ends meanwhile.
const GRACE_FOR_OPEN: Duration = Duration::from_millis(300);
const TYPE: &str = "s3-orchestrator";

/// Numbers for what each mount commits.
static LAST_ORIGIN: AtomicU32 = AtomicU32::new(0);

/// A bucket in the file system. Dropped, it is unmounted, without waiting for the end.
pub struct Mount {
    path: PathBuf,
    fs: Arc<FileSystem>,
    store: Store,
    ended: Arc<Ended>,
    runtime: Handle,
    figures: Arc<Figures>,
    notices: Arc<Notices>,
    listener: Arc<dyn Listener>,
    gates: [Arc<dyn Gate>; 2],
}

/// What is to be seen of a mount from outside.
#[derive(Debug, Clone)]
pub struct Report {
    pub asked: Vec<Asked>,
    /// Requests that have no answer yet.
    pub in_flight: u64,
    pub open_handles: usize,
    /// What the kernel remembers.
    pub inodes: usize,
    /// Files in the making.
    pub staged_files: usize,
    pub staged_bytes: u64,
    /// Names and inodes that the kernel was told to let go of.
    pub notices: u64,
    /// Commits whose notices are under way.
    pub notices_waiting: u64,
}

impl Mount {
    /// May wait for the disk and for the kernel. Called where a runtime is entered: what takes its time runs there.
    pub fn start(store: &Store, options: Options) -> io::Result<Self> {
        let path = mountpoint::prepare(&options.path, options.nonempty)?;
        let inodes = Inodes::new(options.bucket_name.as_str(), &options.prefix, (options.clock)());
        let inodes = Arc::new(inodes);
        let ended = Arc::new(Ended::default());
        let loops = loops(&options);
        let config = config(&options, loops);
        let source = Source { store: store.clone(), bucket: options.bucket };
        let clock = options.clock;
        let origin = Origin(LAST_ORIGIN.fetch_add(1, Ordering::Relaxed) + 1);
        let fs =
            Arc::new(FileSystem::new(store.clone(), Arc::clone(&inodes), origin, Handle::current(), options));
        let figures = Arc::new(Figures::default());
        let adapter = Adapter {
            fs: Arc::clone(&fs),
            ended: Arc::clone(&ended),
            backings: Arc::new(Backings::default()),
            dispatch: Dispatch::start(Handle::current(), Arc::clone(&figures), loops)?,
        };
        let session = Session::new(adapter, &path, &config)?;
        let kernel = Arc::new(KernelCaches(session.notifier()));
        // Nothing is answered before the session is spawned: no answer is older than the first notice.
        let (notices, _thread) = Notices::start(source, origin, inodes, kernel, clock)?;
        let (listener, gate): (Arc<dyn Listener>, Arc<dyn Gate>) = (notices.clone(), notices.clone());
        store.listen(Arc::clone(&listener));
        let runtime = Handle::current();
        let debts = Arc::new(Debts { fs: Arc::downgrade(&fs), runtime: runtime.clone() });
        let gates = [gate, debts as Arc<dyn Gate>];
        gates.iter().for_each(|gate| store.add_gate(Arc::clone(gate)));
        let store = store.clone();
        let mount = Self { path, fs, store, ended, runtime, figures, notices, listener, gates };
        // Dropped, it would unmount whatever is at the path by then.
        let _session = ManuallyDrop::new(session.spawn()?);
        read_further_ahead(&mount.path);
        tracing::info!(path = %mount.path.display(), "mounted");
        Ok(mount)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn options(&self) -> &Options {
        &self.fs.options
    }

    /// False after somebody else unmounted it, too.
    pub fn is_alive(&self) -> bool {
        !self.ended.is_set()
    }

    /// How many inodes the kernel knows.
    pub fn inodes(&self) -> usize {
        self.fs.inodes.len()
    }

    /// What of the bucket cannot be shown; `max_named` keys of it by name.
    pub async fn hidden(&self, max_named: usize) -> io::Result<Hidden> {
        self.fs.hidden_keys(max_named).await
    }

    /// How it does, for monitoring.
    pub fn report(&self) -> Report {
        let (staged_files, staged_bytes) = self.fs.inodes.staged_room();
        Report {
            asked: self.figures.asked(),
            in_flight: self.figures.in_flight(),
            open_handles: self.open_handles(),
            inodes: self.inodes(),
            staged_files,
            staged_bytes,
            notices: self.notices.told(),
            notices_waiting: self.notices.waiting(),
        }
    }

    pub fn open_handles(&self) -> usize {
        self.fs.handles.len()
    }

    /// Commits what is being written, takes the mount from its place, and waits for the end of what is going on in it:
    /// false if it went on for longer. What is open stays readable as long as the node lives.
    pub fn unmount(&self, grace: Duration) -> bool {
        let committed = async { tokio::time::timeout(grace, self.fs.commit_all()).await };
        if self.runtime.block_on(committed).is_err() {
            tracing::error!(path = %self.path.display(), "what is being written was not committed in time");
        }
        if let Err(error) = self.take_away() {
            tracing::error!(path = %self.path.display(), %error, "unmounting");
            return false;
        }
        // Who has something open may keep it for ever.
        let grace = if self.open_handles() > 0 { grace.min(GRACE_FOR_OPEN) } else { grace };
        self.ended.wait(grace)
    }

    fn take_away(&self) -> io::Result<()> {
        if self.ended.is_set() {
            return Ok(());
        }
        mountpoint::detach(&self.path)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        self.gates.iter().for_each(|gate| self.store.remove_gate(gate));
        self.store.unlisten(&self.listener);
        if let Err(error) = self.take_away() {
            tracing::error!(path = %self.path.display(), %error, "unmounting");
        }
        tracing::info!(path = %self.path.display(), "unmounted");
    }
}

/// Event loops.
fn loops(options: &Options) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    options.threads.unwrap_or((cores / 2).clamp(MIN_THREADS, MAX_THREADS)).max(1)
}

fn config(options: &Options, loops: usize) -> Config {
    let mut mount = vec![
        MountOption::FSName(options.bucket_name.as_str().to_owned()),
        MountOption::Subtype(TYPE.to_owned()),
        MountOption::DefaultPermissions,
        MountOption::NoSuid,
        MountOption::NoDev,
        MountOption::NoAtime,
    ];
    if options.read_only {
        mount.push(MountOption::RO);
    }
    let mut config = Config::default();
    config.mount_options = mount;
    config.acl = if options.allow_other { SessionACL::All } else { SessionACL::Owner };
    config.n_threads = Some(loops);
    config
}

/// An ordinary user may not, and does without.
fn read_further_ahead(path: &Path) {
    if let Ok(Some(entry)) = mountpoint::entry_of(path) {
        let file = format!("/sys/class/bdi/{}:{}/read_ahead_kb", entry.major, entry.minor);
        if let Err(error) = std::fs::write(&file, READ_AHEAD_KIB.to_string()) {
            tracing::debug!(%error, file, "the kernel's read-ahead stays as it is");
        }
    }
}
