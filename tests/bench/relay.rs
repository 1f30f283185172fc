//! The yardstick for going through a process at all: one of its own that passes bytes on as they come, both ways,
//! and knows nothing of them.

use anyhow::{Context as _, Result};
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

pub const ARGUMENT: &str = "relay";
const PIECE_BYTES: usize = 256 << 10;

pub struct Relay {
    child: Child,
    pub addr: SocketAddr,
}

impl Relay {
    pub fn start(upstream: SocketAddr) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(ARGUMENT).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        writeln!(child.stdin.as_mut().context("piped")?, "{upstream}")?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("piped")?).read_line(&mut line)?;
        Ok(Self { child, addr: line.trim().parse()? })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves until whoever started it is gone.
pub fn serve() -> Result<()> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    let upstream: SocketAddr = line.trim().parse()?;
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    println!("{}", listener.local_addr()?);
    std::io::stdout().flush()?;
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
