//! Asking a running node over its admin socket.

use super::output;
use crate::admin::{Fault, SOCKET, socket};
use crate::{config, config_file};
use anyhow::Context as _;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Longer than the node lets any answer take.
const PATIENCE: Duration = Duration::from_secs(60);
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// Which node to ask, and how to show its answer.
#[derive(Debug, clap::Args)]
pub struct Ask {
    /// The node's configuration, whose data directory has the admin socket: by default
    /// ./s3-orchestrator.toml, or the system's if there is none.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The node's data directory, if it is not the one of the configuration.
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The admin socket itself.
    #[arg(long, global = true, value_name = "SOCKET", conflicts_with_all = ["config", "data_dir"])]
    socket: Option<PathBuf>,
    /// One JSON document instead of text.
    #[arg(long, global = true)]
    pub json: bool,
}

impl Ask {
    /// Asks, prints the answer, and says whether that went well.
    pub fn show<Q, A>(
        &self,
        name: &str,
        question: &Q,
        text: impl FnOnce(&A) -> String,
    ) -> anyhow::Result<ExitCode>
    where
        Q: Serialize,
        A: Serialize + DeserializeOwned,
    {
        let answer = self.ask(name, question)?;
        self.print(&answer, text)?;
        Ok(ExitCode::SUCCESS)
    }

    pub fn ask<Q: Serialize, A: DeserializeOwned>(&self, name: &str, question: &Q) -> anyhow::Result<A> {
        output::told(self.json, self.try_ask(name, question))
    }

    fn try_ask<Q: Serialize, A: DeserializeOwned>(&self, name: &str, question: &Q) -> anyhow::Result<A> {
        let (socket, why_there) = self.socket()?;
        let body = serde_json::to_vec(question)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let exchange =
            async { tokio::time::timeout(PATIENCE, exchange(&socket, why_there, name, body)).await };
        let asked = runtime.block_on(exchange);
        let (good, answer) = asked.map_err(|_| Trouble::Silent(socket.clone()))??;
        match good {
            true => serde_json::from_slice(&answer).with_context(|| unreadable(&socket)),
            false => {
                let fault: Fault = serde_json::from_slice(&answer).with_context(|| unreadable(&socket))?;
                Err(Trouble::Fault(fault).into())
            }
        }
    }

    pub fn print<A: Serialize>(&self, answer: &A, text: impl FnOnce(&A) -> String) -> anyhow::Result<()> {
        match self.json {
            true => output::json(answer),
            false => output::text(&text(answer)),
        }
    }

    /// Where to ask, and why just there, for one who wonders that there is no node.
    fn socket(&self) -> anyhow::Result<(PathBuf, String)> {
        match (&self.socket, &self.data_dir) {
            (Some(socket), _) => Ok((socket.clone(), String::new())),
            (None, Some(dir)) => Ok((dir.join(SOCKET), String::new())),
            (None, None) => {
                let file = config_file::in_use(self.config.as_deref())?;
                // The rest of the file may need an environment that the node has and we have not.
                let data_dir = config::data_dir_of(&file, &config_file::environment)?;
                Ok((data_dir.path.join(SOCKET), why_there(&file, &data_dir)))
            }
        }
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Trouble {
    /// And why it was looked for there.
    NoNode(PathBuf, String),
    Unreachable(PathBuf, std::io::Error),
    Silent(PathBuf),
    Fault(Fault),
}

impl Trouble {
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NoNode(..) => super::NO_NODE,
            _ => 1,
        }
    }

    /// Stable, for scripts.
    pub fn code(&self) -> serde_json::Value {
        match self {
            Self::NoNode(..) => "no-node".into(),
            Self::Unreachable(..) => "unreachable".into(),
            Self::Silent(_) => "silent".into(),
            Self::Fault(fault) => json!(fault.code),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoNode(socket, why_there) => {
                write!(f, "no node is running here: nobody answers at {}{why_there}", socket.display())
            }
            Self::Unreachable(socket, error) => {
                let hint = match error.kind() {
                    std::io::ErrorKind::PermissionDenied => "; ask as the user of the node, or as root",
                    _ => "",
                };
                write!(f, "cannot reach the node at {}: {error}{hint}", socket.display())
            }
            Self::Silent(socket) => write!(f, "the node at {} does not answer", socket.display()),
            Self::Fault(fault) => f.write_str(&fault.message),
        }
    }
}

impl std::error::Error for Trouble {}

/// A configuration that has changed since leads to another directory than the node's.
fn why_there(file: &Path, data_dir: &config::DataDir) -> String {
    let says = match data_dir.said {
        true => format!("which is data_dir in {}", file.display()),
        false => format!("since {} has no data_dir, and that is the default", file.display()),
    };
    format!(
        "\n({says}; a node that was started with another data_dir keeps it until a restart: --data-dir DIR asks it)"
    )
}

fn unreadable(socket: &Path) -> String {
    format!("what answers at {} is not a node of this version", socket.display())
}

/// Whether it went well, and the body of the answer.
async fn exchange(
    path: &Path,
    why_there: String,
    name: &str,
    body: Vec<u8>,
) -> anyhow::Result<(bool, Bytes)> {
    let stream = socket::connect(path).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused => {
            Trouble::NoNode(path.to_owned(), why_there)
        }
        _ => Trouble::Unreachable(path.to_owned(), error),
    })?;
    let lost = || format!("the node at {} broke off", path.display());
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.with_context(lost)?;
    let connection = tokio::spawn(connection);
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("/v1/{name}"))
        .header(hyper::header::HOST, "node")
        .body(Full::new(Bytes::from(body)))?;
    let answer = sender.send_request(request).await.with_context(lost)?;
    let good = answer.status().is_success();
    let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await;
    connection.abort();
    Ok((good, body.map_err(anyhow::Error::from_boxed).with_context(lost)?.to_bytes()))
}
