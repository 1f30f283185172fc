//! A node in a directory of its own: started, stopped, killed, started again.

use crate::client::S3Client;
use anyhow::{Context, Result, bail};
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How long a node may take to say where it listens. Generous: a test machine may be busy.
const START_TIMEOUT: Duration = Duration::from_secs(60);
const STOP_TIMEOUT: Duration = Duration::from_secs(60);
const READY: &str = "s3-orchestrator listening on http://";

#[derive(Debug, Clone)]
pub struct Credential {
    pub access_key: String,
    pub secret: String,
    /// All where `None`.
    pub rights: Option<Vec<String>>,
}

#[derive(Debug, Clone)]
pub struct BucketConfig {
    pub name: String,
    /// As written in the configuration: `"10MB"`.
    pub quota: Option<String>,
    pub anonymous: Vec<String>,
    pub credentials: Vec<Credential>,
}

impl BucketConfig {
    /// A bucket with one credential of all rights.
    pub fn new(name: &str) -> Self {
        let access_key = format!("AKID{}", name.to_ascii_uppercase().replace(['-', '.'], "0"));
        let secret = format!("for/tests+only/{name}/0123456789abcdefghij");
        let credential = Credential { access_key, secret, rights: None };
        Self { name: name.to_owned(), quota: None, anonymous: Vec::new(), credentials: vec![credential] }
    }

    pub fn quota(mut self, quota: &str) -> Self {
        self.quota = Some(quota.to_owned());
        self
    }
}

/// What a node is started with. The binary is `env!("CARGO_BIN_EXE_s3-orchestrator")` of the test that asks.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    pub binary: PathBuf,
    /// `data` in the node's own directory where `None`.
    pub data_dir: Option<PathBuf>,
    pub durability: Option<String>,
    pub buckets: Vec<BucketConfig>,
    /// Lines under `[s3]`.
    pub s3: Vec<String>,
    /// Lines at the end of the file.
    pub more: Vec<String>,
    pub env: Vec<(String, String)>,
}

impl NodeConfig {
    /// One bucket, `test-bucket`, and the defaults.
    pub fn new(binary: impl Into<PathBuf>) -> Self {
        Self {
            binary: binary.into(),
            data_dir: None,
            durability: None,
            buckets: vec![BucketConfig::new("test-bucket")],
            s3: Vec::new(),
            more: Vec::new(),
            env: Vec::new(),
        }
    }

    pub fn data_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.data_dir = Some(path.into());
        self
    }

    pub fn bucket(mut self, bucket: BucketConfig) -> Self {
        self.buckets = vec![bucket];
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The configuration file's text.
    pub fn render(&self, data_dir: &Path) -> String {
        let mut out = format!("data_dir = {}\n", quoted(&data_dir.to_string_lossy()));
        if let Some(durability) = &self.durability {
            let _ = writeln!(out, "durability = {}", quoted(durability));
        }
        out.push_str("\n[s3]\nlisten = \"127.0.0.1:0\"\n");
        for line in &self.s3 {
            let _ = writeln!(out, "{line}");
        }
        for bucket in &self.buckets {
            render_bucket(&mut out, bucket);
        }
        for line in &self.more {
            let _ = writeln!(out, "{line}");
        }
        out
    }
}

fn render_bucket(out: &mut String, bucket: &BucketConfig) {
    let _ = writeln!(out, "\n[[buckets]]\nname = {}", quoted(&bucket.name));
    if let Some(quota) = &bucket.quota {
        let _ = writeln!(out, "quota = {}", quoted(quota));
    }
    if !bucket.anonymous.is_empty() {
        let _ = writeln!(out, "anonymous = {}", list(&bucket.anonymous));
    }
    for credential in &bucket.credentials {
        let _ = writeln!(
            out,
            "\n  [[buckets.credentials]]\n  access_key_id = {}",
            quoted(&credential.access_key)
        );
        let _ = writeln!(out, "  secret_access_key = {}", quoted(&credential.secret));
        if let Some(rights) = &credential.rights {
            let _ = writeln!(out, "  rights = {}", list(rights));
        }
    }
}

/// TOML's basic strings escape what JSON's do.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn list(items: &[String]) -> String {
    serde_json::Value::from(items.to_vec()).to_string()
}

/// A running (or stopped) node. Dropped, it is killed and its directory goes.
pub struct Node {
    config: NodeConfig,
    dir: tempfile::TempDir,
    running: Option<Running>,
}

struct Running {
    child: Child,
    addr: SocketAddr,
}

impl Node {
    pub fn start(config: NodeConfig) -> Result<Self> {
        let mut node = Self::prepare(config)?;
        node.run()?;
        Ok(node)
    }

    /// Directory and configuration, but no process yet.
    pub fn prepare(config: NodeConfig) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("s3o-test-").tempdir()?;
        let node = Self { config, dir, running: None };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(node.data_dir())?;
        let text = node.config.render(&node.data_dir());
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(node.config_path())?;
        file.write_all(text.as_bytes())?;
        Ok(node)
    }

    /// Starts the process and waits until it says where it listens.
    pub fn run(&mut self) -> Result<()> {
        assert!(self.running.is_none(), "the node runs already");
        let log = OpenOptions::new().append(true).create(true).open(self.log_path())?;
        let mut command = self.command("serve");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut child =
            command.spawn().with_context(|| format!("starting {}", self.config.binary.display()))?;
        match wait_ready(&mut child, &self.dir.path().join("stdout.log")) {
            Ok(addr) => {
                self.running = Some(Running { child, addr });
                Ok(())
            }
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error.context(format!("its log ends with:\n{}", self.log_tail())))
            }
        }
    }

    /// Begins a start and kills it before it says anything: a crash during recovery.
    pub fn run_and_kill(&mut self, after: Duration) -> Result<()> {
        assert!(self.running.is_none(), "the node runs already");
        let log = OpenOptions::new().append(true).create(true).open(self.log_path())?;
        let mut command = self.command("serve");
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?;
        std::thread::sleep(after);
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// A subcommand of the binary with this node's configuration.
    pub fn command(&self, subcommand: &str) -> Command {
        let mut command = Command::new(&self.config.binary);
        command.arg(subcommand).arg("--config").arg(self.config_path()).current_dir(self.dir.path());
        command.envs(self.config.env.iter().map(|(name, value)| (name, value)));
        command
    }

    pub fn config(&self) -> &NodeConfig {
        &self.config
    }

    pub fn config_path(&self) -> PathBuf {
        self.dir.path().join("s3-orchestrator.toml")
    }

    pub fn data_dir(&self) -> PathBuf {
        self.config.data_dir.clone().unwrap_or_else(|| self.dir.path().join("data"))
    }

    pub fn blobs_dir(&self) -> PathBuf {
        self.data_dir().join("blobs")
    }

    pub fn log_path(&self) -> PathBuf {
        self.dir.path().join("node.log")
    }

    /// The last lines of the log, for a failing test's message.
    pub fn log_tail(&self) -> String {
        let text = fs::read(self.log_path())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines.get(lines.len().saturating_sub(30)..).unwrap_or_default().join("\n")
    }

    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Whether the process that was started still lives.
    pub fn is_alive(&mut self) -> bool {
        let Some(running) = self.running.as_mut() else {
            return false;
        };
        matches!(running.child.try_wait(), Ok(None))
    }

    pub fn pid(&self) -> i32 {
        self.expect_running().child.id() as i32
    }

    pub fn addr(&self) -> SocketAddr {
        self.expect_running().addr
    }

    fn expect_running(&self) -> &Running {
        self.running.as_ref().expect("the test started the node")
    }

    /// A client with the first credential of the first bucket. The port changes with each start: ask again.
    pub fn client(&self) -> S3Client {
        let bucket = self.config.buckets.first().expect("the configuration has a bucket");
        let credential = bucket.credentials.first().expect("the bucket has a credential");
        S3Client::new(self.addr(), &bucket.name, credential.clone())
    }

    pub fn signal(&self, signal: i32) {
        send(self.pid(), signal);
    }

    /// SIGSTOP, and only back when no thread of the node can run any more.
    pub fn freeze(&self) {
        self.signal(libc::SIGSTOP);
        let deadline = Instant::now() + Duration::from_secs(5);
        while !all_stopped(self.pid()) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// SIGKILL, and gone.
    pub fn kill9(&mut self) {
        if let Some(mut running) = self.running.take() {
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
    }

    /// SIGTERM, and how it ended.
    pub fn sigterm(&mut self) -> Result<ExitStatus> {
        let mut running = self.running.take().context("the node does not run")?;
        send(running.child.id() as i32, libc::SIGTERM);
        let deadline = Instant::now() + STOP_TIMEOUT;
        loop {
            if let Some(status) = running.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                let _ = running.child.kill();
                let _ = running.child.wait();
                bail!(
                    "the node did not stop within {STOP_TIMEOUT:?}; its log ends with:\n{}",
                    self.log_tail()
                );
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Kills what runs and starts again on the same data; how long it took until it listened.
    pub fn restart(&mut self) -> Result<Duration> {
        self.kill9();
        let begun = Instant::now();
        self.run()?;
        Ok(begun.elapsed())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill9();
        if std::thread::panicking() {
            eprintln!("the node's log ends with:\n{}", self.log_tail());
        }
    }
}

fn send(pid: i32, signal: i32) {
    // SAFETY: kill takes no pointers; the process is our child and not yet waited for, so the id is still its own.
    unsafe { libc::kill(pid, signal) };
}

/// Whether every thread is stopped, or sleeps in the kernel where it will stop before it is back.
fn all_stopped(pid: i32) -> bool {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return true;
    };
    tasks.flatten().all(|task| {
        let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        // The state follows the name, which is in parentheses and may hold anything.
        let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
        matches!(state, None | Some('T' | 't' | 'Z' | 'X' | 'D'))
    })
}

fn wait_ready(child: &mut Child, stdout_log: &Path) -> Result<SocketAddr> {
    let stdout = child.stdout.take().context("stdout is piped")?;
    let (sender, lines) = mpsc::channel();
    let log = OpenOptions::new().append(true).create(true).open(stdout_log)?;
    std::thread::spawn(move || read_stdout(stdout, log, &sender));
    let line = match lines.recv_timeout(START_TIMEOUT) {
        Ok(line) => line,
        Err(mpsc::RecvTimeoutError::Disconnected) => bail!("the node ended: {:?}", child.wait()),
        Err(mpsc::RecvTimeoutError::Timeout) => {
            bail!("the node did not say where it listens in {START_TIMEOUT:?}")
        }
    };
    let addr = line.strip_prefix(READY).with_context(|| format!("the first line is {line:?}"))?;
    addr.trim().trim_end_matches('/').parse().with_context(|| format!("the first line is {line:?}"))
}

/// Reads all of stdout, for ever: a node that prints must not block on a full pipe.
fn read_stdout(stdout: ChildStdout, mut log: File, first: &mpsc::Sender<String>) {
    let mut first = Some(first);
    for line in BufReader::new(stdout).lines().map_while(|line| line.ok()) {
        let _ = writeln!(log, "{line}");
        if let Some(first) = first.take() {
            let _ = first.send(line);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn script(dir: &Path, text: &str) -> PathBuf {
        let path = dir.join("node.sh");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn the_configuration_says_what_was_asked() {
        let mut config = NodeConfig::new("/bin/false").bucket(BucketConfig::new("app-1").quota("10MB"));
        config.s3.push("max_object_size = \"1MB\"".to_owned());
        let text = config.render(Path::new("/a \"b\""));
        assert!(text.starts_with("data_dir = \"/a \\\"b\\\"\"\n"), "{text}");
        assert!(text.contains("[s3]\nlisten = \"127.0.0.1:0\"\nmax_object_size = \"1MB\"\n"), "{text}");
        assert!(text.contains("quota = \"10MB\""), "{text}");
    }

    #[test]
    fn starts_stops_and_freezes_a_process() {
        let dir = tempfile::tempdir().unwrap();
        let ready = "#!/bin/sh\necho 's3-orchestrator listening on http://127.0.0.1:4242'\nexec sleep 60\n";
        let mut node = Node::start(NodeConfig::new(script(dir.path(), ready))).unwrap();
        assert_eq!(node.addr().port(), 4242);
        node.freeze();
        assert!(all_stopped(node.pid()));
        node.restart().unwrap();
        assert!(!all_stopped(node.pid()) || node.is_running());
        assert!(!node.sigterm().unwrap().success());
    }

    #[test]
    fn a_node_that_does_not_start_is_an_error_with_its_log() {
        let dir = tempfile::tempdir().unwrap();
        let path = script(dir.path(), "#!/bin/sh\necho broken >&2\nexit 3\n");
        let error = format!("{:#}", Node::start(NodeConfig::new(path)).err().unwrap());
        assert!(error.contains("broken"), "{error}");
    }
}
