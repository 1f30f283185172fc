//! The node in front of a provider, beside going straight there: a second node plays the provider, on the same
//! machine, so what it costs there is paid twice. And copies from one disk to another, beside `cp`.

use crate::http::{Connection, Spec, head};
use crate::load::{self, Work};
use crate::report::{Limit, Report, median, median_ratio};
use crate::served::Served;
use crate::{Scale, large, memory, process, relay, yardstick};
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use testkit::sign::payload_hash;
use testkit::{Node, backends};

const SMALL_BYTES: usize = 4096;
const SMALL_KEYS: u64 = 256;
/// What is copied between disks, in objects of this size.
const COPIED_BYTES: u64 = 64 << 20;
const PATIENCE: Duration = Duration::from_secs(300);

pub fn measure(scale: &Scale, report: &mut Report) -> Result<()> {
    let pair = Pair::start()?;
    pair.small(scale, report)?;
    pair.large(scale, report)?;
    let what = "64 uploads of 1 GiB to a provider, memory above idle";
    memory::uploads(scale, &pair.near, what, report)?;
    drop(pair);
    copies(scale, report)
}

/// A node, and the only backend that it has.
struct Pair {
    near: Node,
    far: Node,
    /// In front of the far one as well.
    relay: Served,
}

impl Pair {
    fn start() -> Result<Self> {
        let far = Node::start(crate::node_config())?;
        let credential = far.config().buckets.first().and_then(|bucket| bucket.credentials.first());
        let url = format!("http://{}", far.addr());
        let section = backends::provider("far", &url, "test-bucket", credential.context("a credential")?);
        let mut config = crate::node_config();
        config.more.push(section);
        Ok(Self { near: Node::start(config)?, relay: relay::start(far.addr())?, far })
    }

    /// One request at a time: what the way through the node adds.
    fn small(&self, scale: &Scale, report: &mut Report) -> Result<()> {
        let body: Vec<u8> = (0..SMALL_BYTES).map(|at| (at * 31 % 251) as u8).collect();
        for method in ["PUT", "GET"] {
            let (mut straight, mut through, mut appends) = (vec![], vec![], vec![]);
            for round in 0..=scale.rounds {
                let far = latency(&self.far, method, &body, scale)?;
                let near = latency(&self.near, method, &body, scale)?;
                let append = yardstick::synced_append(&self.near.data_dir(), 200)?;
                // The first round warms connections and caches.
                if round > 0 {
                    straight.push(far);
                    through.push(near);
                    appends.push(append);
                }
            }
            let more: Vec<f64> = through.iter().zip(&straight).map(|(near, far)| near - far).collect();
            let [near, far, append] = [&through, &straight, &appends].map(|times| median(times));
            let syncs = match method {
                // The intent before the first byte, and the record behind the last.
                "PUT" => format!("; two syncs of its records are {:.3} ms of it", 2.0 * append),
                _ => String::new(),
            };
            let how = format!("{near:.3} ms through the node, {far:.3} ms straight{syncs}");
            let what = format!("{method} 4 KiB to a provider, added by the node");
            report.figure(&what, median(&more), "ms", Limit::AtMost(1.0), &how);
        }
        Ok(())
    }

    fn large(&self, scale: &Scale, report: &mut Report) -> Result<()> {
        for method in ["PUT", "GET"] {
            let (mut straight, mut through, mut relayed, mut cpus) = (vec![], vec![], vec![], vec![]);
            for round in 0..=scale.rounds {
                let far = large::once(&self.far, self.far.addr(), method, scale.large_bytes)?;
                let relay = large::once(&self.far, self.relay.addr, method, scale.large_bytes)?;
                let cpu = process::cpu_seconds(self.near.pid())?;
                let near = large::once(&self.near, self.near.addr(), method, scale.large_bytes)?;
                if round > 0 {
                    straight.push(far);
                    relayed.push(relay);
                    through.push(near);
                    let gib = scale.large_bytes as f64 / f64::from(1 << 30);
                    cpus.push((process::cpu_seconds(self.near.pid())? - cpu) / gib);
                }
            }
            let [near, far, relay] = [&through, &straight, &relayed].map(|rates| median(rates) / 1e6);
            let how = format!(
                "{near:.0} MB/s through the node ({:.2} s of the processor a GiB), {far:.0} MB/s straight",
                median(&cpus)
            );
            let what = format!("{method} 1 GiB through the node, to going straight");
            report.figure(&what, median_ratio(&through, &straight), "x", Limit::AtLeast(0.9), &how);
            report.note(&format!(
                "{method} 1 GiB through a process that only passes bytes on: {relay:.0} MB/s, {:.3} x going straight; \
                 the node to that {:.3} x",
                median_ratio(&relayed, &straight),
                median_ratio(&through, &relayed),
            ));
        }
        Ok(())
    }
}

/// The median, in milliseconds.
fn latency(node: &Node, method: &str, body: &[u8], scale: &Scale) -> Result<f64> {
    let hash = payload_hash(body);
    let heads = (0..SMALL_KEYS).map(|number| {
        let path = format!("test-bucket/small/{number:08}");
        match method {
            "PUT" => {
                let length = body.len() as u64;
                head(node, 0, &Spec { payload_hash: &hash, length, ..Spec::new("PUT", &path) })
            }
            _ => head(node, 0, &Spec::new("GET", &path)),
        }
    });
    let heads = heads.collect::<Result<Vec<_>>>()?;
    let body = if method == "PUT" { body } else { &[] };
    let work = Work { heads: &heads, body, count: scale.requests / 40 };
    Ok(load::run(node.addr(), 1, &work)?.percentile(50) / 1e3)
}

/// From one disk to another: a further copy of everything, then one of them emptied onto a third.
fn copies(scale: &Scale, report: &mut Report) -> Result<()> {
    let (mut replicated, mut drained, mut plain) = (vec![], vec![], vec![]);
    for _ in 0..scale.rounds.min(3) {
        let [a, b, c] = [tempfile::tempdir()?, tempfile::tempdir()?, tempfile::tempdir()?];
        let mut config = crate::node_config();
        config.more =
            [("a", &a), ("b", &b), ("c", &c)].map(|(name, dir)| backends::disk(name, dir.path())).to_vec();
        let node = Node::start(config)?;
        let count = (scale.large_bytes / COPIED_BYTES).max(1);
        for number in 0..count {
            put_one(&node, number)?;
        }
        let bytes = count * COPIED_BYTES;
        plain.push(cp(&a.path().join("blobs"), c.path(), bytes)?);
        let text = std::fs::read_to_string(node.config_path())?;
        std::fs::write(
            node.config_path(),
            text.replacen("name = \"test-bucket\"", "name = \"test-bucket\"\ncopies = 2", 1),
        )?;
        let begun = Instant::now();
        asked(&node, &["reload"])?;
        wait_until(&node, "b", bytes)?;
        replicated.push(bytes as f64 / begun.elapsed().as_secs_f64());
        let begun = Instant::now();
        asked(&node, &["drain", "a"])?;
        wait_until(&node, "c", bytes)?;
        drained.push(bytes as f64 / begun.elapsed().as_secs_f64());
    }
    for (what, rates) in [
        ("copies made of 1 GiB, to cp with sync", &replicated),
        ("a drain of 1 GiB, to cp with sync", &drained),
    ] {
        let how = format!("{:.0} MB/s, cp {:.0} MB/s", median(rates) / 1e6, median(&plain) / 1e6);
        report.figure(what, median_ratio(rates, &plain), "x", Limit::AtLeast(0.8), &how);
    }
    Ok(())
}

fn put_one(node: &Node, number: u64) -> Result<()> {
    let path = format!("test-bucket/copied/{number}");
    let body: Vec<u8> = (0..COPIED_BYTES).map(|at| ((at * 31 + number) % 251) as u8).collect();
    let head = head(node, 0, &Spec { length: COPIED_BYTES, ..Spec::new("PUT", &path) })?;
    Connection::open(node.addr())?.expect_ok(&head, &body).map(drop)
}

/// Bytes a second, the sync of the file system at its end included.
fn cp(from: &Path, to: &Path, bytes: u64) -> Result<f64> {
    let copy = to.join("copied-by-cp");
    let begun = Instant::now();
    let copied = Command::new("cp").arg("-r").args([from, &copy]).status()?;
    let synced = Command::new("sync").arg("-f").arg(&copy).status()?;
    let rate = bytes as f64 / begun.elapsed().as_secs_f64();
    ensure!(copied.success() && synced.success(), "cp or sync failed");
    std::fs::remove_dir_all(copy)?;
    Ok(rate)
}

/// Until a backend has so many bytes by the ledger: they are durable and on record then.
fn wait_until(node: &Node, backend: &str, bytes: u64) -> Result<()> {
    let begun = Instant::now();
    loop {
        let usage = asked(node, &["usage"])?;
        let all = usage["backends"].as_array().context("backends")?;
        let found = all.iter().find(|found| found["name"] == backend).context("the backend")?;
        if found["bytes"].as_u64() >= Some(bytes) {
            return Ok(());
        }
        ensure!(begun.elapsed() < PATIENCE, "{backend} does not fill: {found}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn asked(node: &Node, command: &[&str]) -> Result<Value> {
    let (first, rest) = command.split_first().context("a command")?;
    let output = node.command(first).args(rest).arg("--json").output()?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}
