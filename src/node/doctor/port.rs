//! Whether the address can be had.

use super::{Check, Verdict};
use crate::admin::SOCKET;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::Path;

const NAME: &str = "port";

pub fn check(listen: SocketAddr, data_dir: Option<&Path>) -> Check {
    match TcpListener::bind(listen) {
        Ok(_) => Check::good(NAME, format!("{listen} is free")),
        Err(_) if data_dir.is_some_and(node_is_running) => {
            Check::good(NAME, format!("{listen} is used by the running node"))
        }
        Err(error) => {
            let remedy = match error.kind() {
                ErrorKind::AddrInUse => "end what listens there (ss -ltnp), or change s3.listen",
                ErrorKind::PermissionDenied => {
                    "ports below 1024 need CAP_NET_BIND_SERVICE; take a higher one"
                }
                _ => "change s3.listen to an address of this machine",
            };
            Check::bad(NAME, Verdict::Error, format!("cannot listen on {listen}: {error}"), remedy)
        }
    }
}

fn node_is_running(data_dir: &Path) -> bool {
    UnixStream::connect(data_dir.join(SOCKET)).is_ok()
}
