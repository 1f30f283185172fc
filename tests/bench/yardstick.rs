//! What the machine itself gives: its disk, MD5 on one of its cores, nginx.

use anyhow::{Context as _, Result, bail};
use std::fs::{self, File};
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const BLOCK_BYTES: usize = 1 << 20;

/// The median time, in milliseconds, of an append with its sync, of as many bytes as the record of a 4 KiB object.
pub fn synced_append(dir: &Path, count: usize) -> Result<f64> {
    let path = dir.join("append");
    let mut file = File::create(&path)?;
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let begun = Instant::now();
        file.write_all(&[7; 4500])?;
        file.sync_data()?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    fs::remove_file(path)?;
    Ok(crate::report::median(&times))
}

/// Bytes a second into a new file, the sync at its end included.
pub fn synced_write(dir: &Path, bytes: u64) -> Result<f64> {
    let path = dir.join("written");
    let block = vec![7; BLOCK_BYTES];
    let begun = Instant::now();
    let mut file = File::create(&path)?;
    for _ in 0..bytes / BLOCK_BYTES as u64 {
        file.write_all(&block)?;
    }
    file.sync_data()?;
    let rate = bytes as f64 / begun.elapsed().as_secs_f64();
    fs::remove_file(path)?;
    Ok(rate)
}

/// Bytes a second on one core, by the implementation that the node has.
pub fn md5(bytes: u64) -> f64 {
    let block = vec![7u8; BLOCK_BYTES];
    let mut digest = [0u8; 16];
    let begun = Instant::now();
    for _ in 0..bytes / BLOCK_BYTES as u64 {
        let (data, out) = (block.as_ptr().cast(), digest.as_mut_ptr());
        // SAFETY: pointer and length are of one slice; MD5 writes 16 bytes and no length is asked for.
        let done = unsafe {
            let (md5, none) = (aws_lc_sys::EVP_md5(), std::ptr::null_mut());
            aws_lc_sys::EVP_Digest(data, block.len(), out, std::ptr::null_mut(), md5, none)
        };
        assert_eq!(done, 1, "MD5 takes any bytes");
    }
    std::hint::black_box(&digest);
    bytes as f64 / begun.elapsed().as_secs_f64()
}

/// nginx with sendfile over a directory.
pub struct Nginx {
    child: Child,
    pub addr: SocketAddr,
}

impl Nginx {
    /// `None`: there is no nginx here.
    pub fn start(root: &Path, scratch: &Path) -> Result<Option<Self>> {
        let addr = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
        let (config, root, tmp) = (scratch.join("nginx.conf"), root.display(), scratch.display());
        fs::write(
            &config,
            format!(
                "daemon off; master_process off; pid {tmp}/nginx.pid; error_log {tmp}/nginx.log;
                events {{ worker_connections 64; }}
                http {{
                    access_log off; sendfile on; tcp_nopush on;
                    client_body_temp_path {tmp}; proxy_temp_path {tmp}; fastcgi_temp_path {tmp};
                    uwsgi_temp_path {tmp}; scgi_temp_path {tmp};
                    server {{ listen {addr}; root {root}; }}
                }}"
            ),
        )?;
        let mut command = Command::new("nginx");
        command.arg("-c").arg(&config).arg("-p").arg(scratch).stdin(Stdio::null()).stderr(Stdio::null());
        let child = match command.spawn() {
            Ok(child) => child,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).context("starting nginx"),
        };
        let nginx = Self { child, addr };
        for _ in 0..500 {
            if TcpStream::connect(addr).is_ok() {
                return Ok(Some(nginx));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!("nginx does not answer: {}", fs::read_to_string(scratch.join("nginx.log")).unwrap_or_default())
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
