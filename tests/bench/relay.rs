//! The yardstick for going through a process at all: one of its own that passes bytes on as they come, both ways,
//! and knows nothing of them.

use crate::served::{self, Served};
use anyhow::Result;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

pub const ARGUMENT: &str = "relay";
const PIECE_BYTES: usize = 256 << 10;

pub fn start(upstream: SocketAddr) -> Result<Served> {
    Served::start(ARGUMENT, &upstream.to_string())
}

/// Serves until whoever started it is gone.
pub fn serve() -> Result<()> {
    let upstream: SocketAddr = served::told()?.parse()?;
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    served::tell(listener.local_addr()?)?;
    loop {
        let (client, _) = listener.accept()?;
        let server = TcpStream::connect(upstream)?;
        for (from, to) in [(&client, &server), (&server, &client)] {
            let (from, to) = (from.try_clone()?, to.try_clone()?);
            from.set_nodelay(true)?;
            std::thread::spawn(move || pass(from, to));
        }
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream) {
    let mut piece = vec![0; PIECE_BYTES];
    while let Ok(read) = from.read(&mut piece) {
        let bytes = piece.get(..read).unwrap_or_default();
        if bytes.is_empty() || to.write_all(bytes).is_err() {
            break;
        }
    }
    // Whoever still reads there sees the end.
    let _ = to.shutdown(Shutdown::Write);
}
