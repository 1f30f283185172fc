//! A server of this program's own, in a process of its own: the program starts itself with a word for it.

use anyhow::{Context as _, Result};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

/// Ended when dropped.
pub struct Served {
    child: Child,
    pub addr: SocketAddr,
}

impl Served {
    /// `told`: the first line of its standard input.
    pub fn start(argument: &str, told: &str) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.arg(argument).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        writeln!(child.stdin.as_mut().context("piped")?, "{told}")?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("piped")?).read_line(&mut line)?;
        Ok(Self { child, addr: line.trim().parse()? })
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The other side: what it was told. From then on it ends with whoever started it.
pub fn told() -> Result<String> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    Ok(line.trim().to_owned())
}

/// Where it can be reached.
pub fn tell(addr: SocketAddr) -> Result<()> {
    println!("{addr}");
    Ok(std::io::stdout().flush()?)
}
