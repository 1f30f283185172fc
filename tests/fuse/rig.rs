//! A node with a bucket mounted. Whatever happens, the mount goes with the test.

use bytes::Bytes;
use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use testkit::{Answer, ListQuery, Node, NodeConfig, S3Client};
use tokio::runtime::Runtime;

use crate::watchdog::Watchdog;

const BINARY: &str = env!("CARGO_BIN_EXE_s3-orchestrator");

pub struct Rig {
    // Dropped in this order: nothing may touch the mount when its node is gone.
    watchdog: Option<Watchdog>,
    mounts: Vec<MountPoint>,
    pub node: Node,
    pub runtime: Runtime,
}

/// A directory that is mounted on.
struct MountPoint(Option<tempfile::TempDir>);

impl MountPoint {
    fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("s3o-mnt-").tempdir().unwrap();
        Self(Some(dir))
    }

    fn path(&self) -> &Path {
        self.0.as_ref().unwrap().path()
    }
}

impl Drop for MountPoint {
    fn drop(&mut self) {
        let Some(dir) = self.0.take() else { return };
        detach(dir.path());
        // Only the directory itself: never what may still be mounted on it.
        let _ = fs::remove_dir(dir.keep());
    }
}

pub fn detach(path: &Path) {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    for _ in 0..4 {
        // SAFETY: a string that ends with NUL and lives as long as the call.
        if unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) } != 0 {
            return;
        }
    }
}

impl Rig {
    pub fn read_only() -> Self {
        Self::with(&[""], NodeConfig::new(BINARY))
    }

    pub fn writable() -> Self {
        Self::with(&["read_only = false"], NodeConfig::new(BINARY))
    }

    pub fn config() -> NodeConfig {
        NodeConfig::new(BINARY)
    }

    /// One mount for each of `mounts`, which are further lines of its table.
    pub fn with(mounts: &[&str], config: NodeConfig) -> Self {
        Self::prepared(mounts, config, |_| {})
    }

    /// `prepare` sees the node before it runs.
    pub fn prepared(mounts: &[&str], mut config: NodeConfig, prepare: impl FnOnce(&Node)) -> Self {
        let points: Vec<MountPoint> = mounts.iter().map(|_| MountPoint::new()).collect();
        for (point, lines) in points.iter().zip(mounts) {
            let bucket = &config.buckets.first().unwrap().name;
            let path = point.path().display();
            config.more.push(format!("[[mounts]]\nbucket = \"{bucket}\"\npath = \"{path}\"\n{lines}\n"));
        }
        let mut node = Node::prepare(config).unwrap();
        prepare(&node);
        node.run().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let mut rig = Self { watchdog: None, mounts: points, node, runtime: runtime.unwrap() };
        rig.watch();
        rig
    }

    fn watch(&mut self) {
        self.watchdog = Some(Watchdog::start(self.mounts.iter().map(|point| point.path())));
    }

    pub fn client(&self) -> S3Client {
        self.node.client()
    }

    pub fn root(&self) -> PathBuf {
        self.mount(0)
    }

    pub fn mount(&self, number: usize) -> PathBuf {
        self.mounts[number].path().to_owned()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    pub fn put(&self, key: &str, body: impl Into<Bytes>) -> Answer {
        self.put_with(key, body, &[])
    }

    pub fn put_with(&self, key: &str, body: impl Into<Bytes>, headers: &[(&str, &str)]) -> Answer {
        let answer = self.runtime.block_on(self.client().put_with(key, body, headers)).unwrap();
        assert!(answer.is_success(), "PUT {key}: {}", answer.brief());
        answer
    }

    pub fn delete(&self, key: &str) {
        let answer = self.runtime.block_on(self.client().delete(key)).unwrap();
        assert!(answer.is_success(), "DELETE {key}: {}", answer.brief());
    }

    /// `None` where there is no such key.
    pub fn get(&self, key: &str) -> Option<Bytes> {
        let answer = self.runtime.block_on(self.client().get(key)).unwrap();
        match answer.status {
            404 => None,
            200 => Some(answer.body),
            _ => panic!("GET {key}: {}", answer.brief()),
        }
    }

    pub fn head(&self, key: &str) -> Answer {
        self.runtime.block_on(self.client().head(key)).unwrap()
    }

    /// Every key of the bucket, as S3 lists them.
    pub fn keys(&self) -> Vec<String> {
        let listed = self.runtime.block_on(async { self.client().list_all(&ListQuery::default()).await });
        listed.unwrap().entries.into_iter().map(|entry| entry.key).collect()
    }

    /// What a shell says to a line, run in the mount.
    pub fn shell(&self, line: &str) -> (bool, String) {
        let mut command = Command::new("bash");
        let ran = command.args(["-c", line]).current_dir(self.root()).output().unwrap();
        let text = [ran.stdout, ran.stderr].concat();
        (ran.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    pub fn run(&self, line: &str) -> String {
        let (good, text) = self.shell(line);
        assert!(good, "{line}: {text}");
        text
    }

    /// The names in a directory of the mount, sorted.
    pub fn names(&self, directory: &str) -> Vec<String> {
        names(&self.path(directory))
    }

    pub fn stop_and_restart(&mut self) {
        self.watchdog = None;
        let status = self.node.sigterm().unwrap();
        assert!(status.success(), "{status}; {}", self.node.log_tail());
        self.node.run().unwrap();
        self.watch();
    }

    pub fn kill_and_restart(&mut self) {
        self.watchdog = None;
        self.node.kill9();
        self.node.run().unwrap();
        self.watch();
    }

    /// The end of a test that changed something: nothing is left over, and everything adds up.
    pub fn finish(mut self) {
        self.watchdog.take().unwrap().check();
        testkit::fsck::stop_and_check(&mut self.node).unwrap();
    }
}

pub fn names(path: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<String> = fs::read_dir(path).unwrap().map(name).collect();
    names.sort();
    names
}
