//! Other people's S3 servers on loopback: backends for the node that are not the node.
//!
//! They come from the tests' Python environment; where that is missing, a test says so and does without.

use anyhow::{Context as _, Result, bail};
use std::io::{BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;
use tempfile::TempDir;

use crate::Credential;

const START_TIMEOUT: Duration = Duration::from_secs(60);
pub const ACCESS_KEY: &str = "AKIDSERVERSUNDERTEST";
pub const SECRET: &str = "for/tests+only/servers/0123456789abcdef";
pub const REGION: &str = "us-east-1";
pub const BUCKET: &str = "provider-bucket";

const MOTO: &str = "
import boto3, sys
from moto.server import ThreadedMotoServer
key, secret, region, bucket = sys.argv[1:5]
server = ThreadedMotoServer(ip_address='127.0.0.1', port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
url = f'http://{host}:{port}'
boto3.client('s3', endpoint_url=url, aws_access_key_id=key, aws_secret_access_key=secret,
             region_name=region).create_bucket(Bucket=bucket)
print(f'listening on {url}/', flush=True)
sys.stdin.read()
";

pub fn credential() -> Credential {
    Credential { access_key: ACCESS_KEY.to_owned(), secret: SECRET.to_owned(), rights: None }
}

/// A server with one bucket, [`BUCKET`], for the key and secret above. Dropped, it ends.
#[derive(Debug)]
pub struct Server {
    pub name: &'static str,
    pub address: SocketAddr,
    child: Child,
    /// Where it keeps its objects, if in files.
    files: Option<TempDir>,
}

impl Server {
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where the bucket's objects lie, for servers that keep them in files.
    pub fn files(&self) -> Option<PathBuf> {
        self.files.as_ref().map(|dir| dir.path().join(BUCKET))
    }

    /// moto: AWS's behaviour in Python, in memory. Checks no signature.
    pub fn moto() -> Result<Self> {
        let mut command = Command::new(program("python")?);
        command.args(["-c", MOTO, ACCESS_KEY, SECRET, REGION, BUCKET]).stdin(Stdio::piped());
        Self::start("moto", command, None)
    }

    /// `rclone serve s3`: files in a directory. Checks signatures.
    pub fn rclone() -> Result<Self> {
        let files = tempfile::tempdir()?;
        std::fs::create_dir(files.path().join(BUCKET))?;
        let mut command = Command::new(program("rclone")?);
        command.args(["serve", "s3", "--addr", "127.0.0.1:0", "--auth-key"]);
        command.arg(format!("{ACCESS_KEY},{SECRET}")).arg(files.path()).stdin(Stdio::null());
        command.env("RCLONE_CONFIG", "/dev/null").args(["--log-level", "INFO"]);
        command.args(["--vfs-cache-mode", "off"]);
        Self::start("rclone", command, Some(files))
    }

    fn start(name: &'static str, mut command: Command, files: Option<TempDir>) -> Result<Self> {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("starting {name}"))?;
        let (sender, receiver) = mpsc::channel();
        let pipes: [Option<Box<dyn Read + Send>>; 2] =
            [child.stdout.take().map(|p| Box::new(p) as _), child.stderr.take().map(|p| Box::new(p) as _)];
        for pipe in pipes.into_iter().flatten() {
            let sender = sender.clone();
            std::thread::spawn(move || {
                // To the end, so that the server never waits for a full pipe.
                for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                    if let Some(address) = address_in(&line) {
                        let _ = sender.send(address);
                    }
                }
            });
        }
        drop(sender);
        match receiver.recv_timeout(START_TIMEOUT) {
            Ok(address) => Ok(Self { name, address, child, files }),
            Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                bail!("{name} did not say where it listens")
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `... http://127.0.0.1:1234/ ...`
fn address_in(line: &str) -> Option<SocketAddr> {
    let rest = line.split_once("http://")?.1;
    rest.split(['/', ']', ' ']).next()?.parse().ok()
}

fn program(name: &str) -> Result<PathBuf> {
    let venv = std::env::var("S3O_VENV").context("S3O_VENV, the tests' Python environment, is not set")?;
    let program = Path::new(&venv).join("bin").join(name);
    if !program.exists() {
        bail!("{} is missing: run scripts/test-deps.sh", program.display());
    }
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found() {
        let rclone = "2026/11/25 NOTICE: Local file system: Starting s3 server on [http://127.0.0.1:4567/]";
        assert_eq!(address_in(rclone), "127.0.0.1:4567".parse().ok());
        assert_eq!(address_in("listening on http://127.0.0.1:80/"), "127.0.0.1:80".parse().ok());
        assert_eq!(address_in("nothing"), None);
    }
}
