//! One object of 1 GiB: out, beside nginx with sendfile on the same file; in, beside MD5 and the disk.

use crate::http::{Connection, Spec, head};
use crate::report::{Limit, Report, median, median_ratio};
use crate::yardstick::{self, Nginx};
use crate::{Scale, process};
use anyhow::{Context as _, Result, ensure};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Instant;
use testkit::Node;

const PATH: &str = "test-bucket/large";

pub fn measure(scale: &Scale, report: &mut Report) -> Result<()> {
    let node = Node::start(crate::node_config())?;
    put(scale, &node, report)?;
    get(scale, &node, report)?;
    let memory = process::memory(node.pid())?;
    report.note(&format!("memory of the node: {:.0} MiB, at its highest {:.0} MiB", memory.now, memory.peak));
    Ok(())
}

fn put(scale: &Scale, node: &Node, report: &mut Report) -> Result<()> {
    let bytes = scale.large_bytes;
    let (mut ours, mut bounds, mut md5s, mut disks) = (vec![], vec![], vec![], vec![]);
    put_once(node, bytes)?;
    for _ in 0..scale.rounds {
        let (md5, disk) = (yardstick::md5(bytes), yardstick::synced_write(&node.data_dir(), bytes)?);
        ours.push(put_once(node, bytes)?);
        bounds.push(md5.min(disk));
        md5s.push(md5);
        disks.push(disk);
    }
    let [put, md5, disk] = [&ours, &md5s, &disks].map(|rates| median(rates) / 1e6);
    let how = format!("PUT {put:.0} MB/s, MD5 {md5:.0} MB/s, synced write {disk:.0} MB/s");
    let what = "PUT 1 GiB, to the slower of MD5 and the disk";
    report.figure(what, median_ratio(&ours, &bounds), "x", Limit::AtLeast(0.8), &how);
    Ok(())
}

fn put_once(node: &Node, bytes: u64) -> Result<f64> {
    once(node, node.addr(), "PUT", bytes)
}

/// The large object in or out by an address that leads to the node: bytes a second.
pub fn once(node: &Node, addr: SocketAddr, method: &str, bytes: u64) -> Result<f64> {
    let length = if method == "PUT" { bytes } else { 0 };
    let head = head(node, 0, &Spec { length, ..Spec::new(method, PATH) })?;
    let block: Vec<u8> = (0..1 << 20).map(|at| (at * 31 % 251) as u8).collect();
    let mut connection = Connection::open(addr)?;
    let begun = Instant::now();
    connection.send(&head)?;
    for _ in 0..length / block.len() as u64 {
        connection.send(&block)?;
    }
    let (status, text) = connection.receive()?;
    ensure!(status == 200, "{method} answered {status}: {}", String::from_utf8_lossy(&text));
    Ok(bytes as f64 / begun.elapsed().as_secs_f64())
}

fn get(scale: &Scale, node: &Node, report: &mut Report) -> Result<()> {
    let what = "GET 1 GiB, to nginx with sendfile";
    let file = largest_file(&node.blobs_dir())?.context("the large object's file")?;
    let scratch = tempfile::tempdir()?;
    let Some(nginx) = Nginx::start(file.parent().context("a folder")?, scratch.path())? else {
        report.skip(what, "nginx is not installed (Debian: nginx-light)");
        return Ok(());
    };
    let name = file.file_name().context("a name")?.to_string_lossy();
    let theirs_head = format!("GET /{name} HTTP/1.1\r\nHost: {}\r\n\r\n", nginx.addr).into_bytes();
    let ours_head = head(node, 0, &Spec::new("GET", PATH))?;
    let (mut ours, mut theirs) = (vec![], vec![]);
    let bytes = scale.large_bytes as f64;
    for round in 0..=scale.rounds {
        let nginx = bytes / get_once(nginx.addr, &theirs_head)?;
        let node = bytes / get_once(node.addr(), &ours_head)?;
        // The first round warms the caches.
        if round > 0 {
            theirs.push(nginx);
            ours.push(node);
        }
    }
    let how = format!("{:.2} GB/s to {:.2} GB/s", median(&ours) / 1e9, median(&theirs) / 1e9);
    report.figure(what, median_ratio(&ours, &theirs), "x", Limit::AtLeast(0.8), &how);
    Ok(())
}

fn get_once(addr: SocketAddr, head: &[u8]) -> Result<f64> {
    Ok(Connection::open(addr)?.expect_ok(head, &[])?.as_secs_f64())
}

/// Blobs are never named from keys: the large one is known by its size.
fn largest_file(dir: &Path) -> Result<Option<PathBuf>> {
    let mut largest: Option<(u64, PathBuf)> = None;
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            // A file that an overwrite left may be cleaned up as we look.
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                dirs.push(entry.path());
            } else if largest
                .as_ref()
                .is_none_or(|(size, path)| (*size, path) <= (metadata.len(), &entry.path()))
            {
                largest = Some((metadata.len(), entry.path()));
            }
        }
    }
    Ok(largest.map(|(_, path)| path))
}
