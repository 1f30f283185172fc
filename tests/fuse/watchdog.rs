//! Fails a test in which a system call on a mount hangs: the test itself would hang with it.
//!
//! It looks at where the test's own threads wait in the kernel, never at the mount.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const LONGEST_WAIT: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(200);
const CONTROL: &str = "/sys/fs/fuse/connections";

pub struct Watchdog {
    stop: Arc<AtomicBool>,
    stuck: Arc<AtomicBool>,
    connections: Vec<PathBuf>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    pub fn start<'a>(mounts: impl Iterator<Item = &'a Path>) -> Self {
        mount_control();
        let connections: Vec<PathBuf> = mounts.map(connection_of).collect();
        let (stop, stuck) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (stopped, found, watched) = (Arc::clone(&stop), Arc::clone(&stuck), connections.clone());
        let thread = std::thread::spawn(move || watch(&watched, &stopped, &found));
        Self { stop, stuck, connections, thread: Some(thread) }
    }

    /// At rest nothing waits in the kernel.
    pub fn check(&self) {
        let deadline = Instant::now() + LONGEST_WAIT;
        while self.connections.iter().any(|connection| waiting(connection) > 0) {
            assert!(Instant::now() < deadline, "a request was never answered");
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(!self.stuck.load(Ordering::SeqCst), "a request waited longer than {LONGEST_WAIT:?}");
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        if !std::thread::panicking() {
            assert!(!self.stuck.load(Ordering::SeqCst), "a request waited longer than {LONGEST_WAIT:?}");
        }
    }
}

/// The number of a connection is the minor number of its device.
fn connection_of(mount: &Path) -> PathBuf {
    let device = fs::metadata(mount).unwrap().dev();
    PathBuf::from(CONTROL).join(libc::minor(device).to_string())
}

fn waiting(connection: &Path) -> u32 {
    let text = fs::read_to_string(connection.join("waiting")).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

/// A thread that waits for an answer to the very same request.
#[derive(PartialEq, Eq, Hash)]
struct Wait {
    thread: String,
    switches: String,
}

fn watch(connections: &[PathBuf], stop: &AtomicBool, stuck: &AtomicBool) {
    let mut since: HashMap<Wait, Instant> = HashMap::new();
    while !stop.load(Ordering::SeqCst) {
        let now = Instant::now();
        since = waits()
            .map(|wait| {
                let begun = since.get(&wait).copied().unwrap_or(now);
                (wait, begun)
            })
            .collect();
        if since.values().any(|begun| now - *begun > LONGEST_WAIT) {
            stuck.store(true, Ordering::SeqCst);
            eprintln!("a request waits for too long: the connections are aborted");
            for connection in connections {
                let _ = fs::write(connection.join("abort"), "1");
            }
            return;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn waits() -> impl Iterator<Item = Wait> {
    fs::read_dir("/proc/self/task").into_iter().flatten().flatten().filter_map(|task| {
        let where_to = fs::read_to_string(task.path().join("wchan")).ok()?;
        if !where_to.contains("request_wait") && !where_to.contains("fuse") {
            return None;
        }
        let status = fs::read_to_string(task.path().join("status")).ok()?;
        let switches = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches"))?;
        Some(Wait { thread: task.file_name().to_string_lossy().into_owned(), switches: switches.to_owned() })
    })
}

/// Where it is not mounted yet. It stays: it is the system's own, and costs nothing.
fn mount_control() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        if fs::read_dir(CONTROL).is_ok_and(|mut entries| entries.next().is_some()) {
            return;
        }
        let (kind, at) = (c"fusectl", c"/sys/fs/fuse/connections");
        // SAFETY: strings that end with NUL; the call touches no other memory. It may be mounted already.
        unsafe { libc::mount(c"none".as_ptr(), at.as_ptr(), kind.as_ptr(), 0, std::ptr::null()) };
    });
}
