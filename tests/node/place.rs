//! An empty directory in which the binary is run as a person would.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

const BINARY: &str = env!("CARGO_BIN_EXE_s3-orchestrator");
/// Generous: a test machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

pub const FIRST_LINE: &str = "s3-orchestrator listening on http://127.0.0.1:";

/// The smallest good configuration; `MORE` is where tests add lines.
pub const SMALL: &str = r#"data_dir = "data"
[s3]
listen = "127.0.0.1:0"
[[buckets]]
name = "app1-files"
  [[buckets.credentials]]
  access_key_id = "AKID_APP1_WRITER"
  secret_access_key = "a/test+secret"
"#;

pub struct Place(tempfile::TempDir);

impl Place {
    pub fn empty() -> Self {
        let dir = tempfile::Builder::new().prefix("s3o-place-").tempdir();
        Self(dir.expect("a temporary directory"))
    }

    pub fn with_config(text: &str) -> Self {
        let place = Self::empty();
        place.write("s3-orchestrator.toml", text);
        // Secrets that others can read are warned about.
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(place.path("s3-orchestrator.toml"), private).expect("chmod");
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("writing into a temporary directory");
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("a file that should be there")
    }

    /// What lies in it, sorted.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).expect("a temporary directory");
        let name = |entry: std::io::Result<fs::DirEntry>| {
            entry.expect("a directory entry").file_name().to_string_lossy().into_owned()
        };
        let mut names: Vec<_> = entries.map(name).collect();
        names.sort();
        names
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command.args(args).current_dir(self.0.path()).env_remove("RUST_LOG").stdin(Stdio::null());
        command
    }

    pub fn run(&self, args: &[&str]) -> Finished {
        self.command(args).output().expect("running the binary").into()
    }

    /// `serve`, up to its first line.
    pub fn serve(&self, args: &[&str]) -> Serving {
        self.serve_with(args, &[])
    }

    /// The same, with more in the environment.
    pub fn serve_with(&self, args: &[&str], environment: &[(&str, &str)]) -> Serving {
        let mut all = vec!["serve"];
        all.extend_from_slice(args);
        let log = fs::File::create(self.path("log")).expect("a log file");
        let mut command = self.command(&all);
        let child = command.envs(environment.iter().copied()).stdout(Stdio::piped()).stderr(log).spawn();
        Serving::wait(child.expect("starting the binary"), &self.path("log"))
    }
}

/// A command that has ended.
#[derive(Debug)]
pub struct Finished {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl From<Output> for Finished {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// A node that runs; dropped, it is killed.
pub struct Serving {
    child: Child,
    out: BufReader<std::process::ChildStdout>,
    pub first_line: String,
}

impl Serving {
    fn wait(mut child: Child, log: &Path) -> Self {
        let mut out = BufReader::new(child.stdout.take().expect("a piped standard output"));
        let mut first_line = String::new();
        out.read_line(&mut first_line).expect("reading standard output");
        if first_line.is_empty() {
            let _ = child.kill();
            let _ = child.wait();
            panic!("the node did not start: {}", fs::read_to_string(log).unwrap_or_default());
        }
        Self { child, out, first_line: first_line.trim_end().to_owned() }
    }

    pub fn address(&self) -> &str {
        self.first_line.strip_prefix("s3-orchestrator listening on http://").expect("the first line")
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        rustix::process::kill_process(pid.expect("a process id"), signal).expect("a signal");
    }

    /// Its exit status, and what it printed after the first line.
    pub fn ended(mut self) -> (ExitStatus, String) {
        let mut rest = String::new();
        let until = Instant::now() + PATIENCE;
        let status = loop {
            match self.child.try_wait().expect("waiting for the node") {
                Some(status) => break status,
                None if Instant::now() > until => panic!("the node did not end"),
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        self.out.read_to_string(&mut rest).expect("reading standard output");
        (status, rest)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
