//! LIST of 1,000 keys in buckets of different sizes, a listing of 1,000 common prefixes, and how long a
//! node with all those objects takes to start.

use crate::http::{Connection, Spec, head};
use crate::report::{Limit, Report, median};
use crate::{Scale, fill::fill, process};
use anyhow::{Context as _, Result};
use std::time::{Duration, Instant};
use testkit::{BucketConfig, Node};

const PAGES: u64 = 40;
const BUCKETS: [&str; 3] = ["list-small", "list-middle", "list-large"];

pub fn measure(scale: &Scale, report: &mut Report) -> Result<()> {
    let mut config = crate::node_config();
    config.buckets = BUCKETS.map(BucketConfig::new).to_vec();
    let mut node = Node::prepare(config)?;
    let begun = Instant::now();
    fill(&node.data_dir(), &BUCKETS.into_iter().zip(scale.keys).collect::<Vec<_>>(), key)?;
    report.note(&format!("{:?} objects laid in {:.0} s", scale.keys, begun.elapsed().as_secs_f64()));
    node.run()?;
    list(scale, &node, report)?;
    start(scale, &mut node, report)
}

/// Keys in 1,000 groups, so that a delimiter finds 1,000 common prefixes.
fn key(number: u64, of: u64) -> String {
    let group_size = (of / 1_000).max(1);
    format!("group-{:04}/object-{:08}.dat", number / group_size, number)
}

fn list(scale: &Scale, node: &Node, report: &mut Report) -> Result<()> {
    let mut connection = Connection::open(node.addr())?;
    let mut times = [vec![], vec![], vec![]];
    let mut grouped = vec![];
    // The first round warms the caches.
    for round in 0..=scale.rounds {
        let mut pages = [vec![], vec![], vec![]];
        let mut prefixes = vec![];
        for page in 0..PAGES {
            for (index, pages) in pages.iter_mut().enumerate() {
                pages.push(plain_page(&mut connection, node, scale, index, page + PAGES * round as u64)?);
            }
            let query = "delimiter=%2F&list-type=2";
            let head = head(node, 1, &Spec { query, ..Spec::new("GET", BUCKETS[1]) })?;
            prefixes.push(connection.expect_ok(&head, &[])?.as_secs_f64() * 1e3);
        }
        if round > 0 {
            times.iter_mut().zip(&pages).for_each(|(times, pages)| times.push(median(pages)));
            grouped.push(median(&prefixes));
        }
    }
    let [small, middle, large] = times.map(|times| median(&times));
    let how = format!(
        "{small:.3} ms at {}, {middle:.3} ms at {}, {large:.3} ms at {} keys",
        scale.keys[0], scale.keys[1], scale.keys[2]
    );
    let ratio = [small, middle, large].into_iter().fold(0.0, f64::max)
        / [small, middle, large].into_iter().fold(f64::MAX, f64::min);
    report.figure("LIST of 1,000 keys, slowest to fastest bucket", ratio, "x", Limit::AtMost(1.5), &how);
    let grouped = median(&grouped);
    let how = format!("{grouped:.3} ms to {middle:.3} ms");
    report.figure(
        "LIST of 1,000 common prefixes, to 1,000 keys",
        grouped / middle,
        "x",
        Limit::AtMost(3.0),
        &how,
    );
    let memory = process::memory(node.pid())?;
    report.note(&format!("memory of the node: {:.0} MiB, at its highest {:.0} MiB", memory.now, memory.peak));
    Ok(())
}

/// A page from anywhere in the bucket, in milliseconds.
fn plain_page(
    connection: &mut Connection,
    node: &Node,
    scale: &Scale,
    index: usize,
    page: u64,
) -> Result<f64> {
    let of = *scale.keys.get(index).context("a size")?;
    // A prime step visits the whole bucket in no order that a cache could follow.
    let from = page.wrapping_mul(7_368_787) % (of - 1_000);
    let query = format!("list-type=2&start-after={}", testkit::sign::encode(&key(from, of), false));
    let bucket = BUCKETS.get(index).context("a bucket")?;
    let head = head(node, index, &Spec { query: &query, ..Spec::new("GET", bucket) })?;
    Ok(connection.expect_ok(&head, &[])?.as_secs_f64() * 1e3)
}

fn start(scale: &Scale, node: &mut Node, report: &mut Report) -> Result<()> {
    let (mut orderly, mut killed) = (vec![], vec![]);
    for _ in 0..scale.rounds {
        node.sigterm()?;
        orderly.push(timed_start(node)?.as_secs_f64());
        killed.push(node.restart()?.as_secs_f64());
    }
    let objects: u64 = scale.keys.iter().sum();
    let what = format!("start with {objects} objects");
    let how = format!("{:.3} s after a kill", median(&killed));
    report.figure(&what, median(&orderly), "s", Limit::AtMost(2.0), &how);
    Ok(())
}

fn timed_start(node: &mut Node) -> Result<Duration> {
    let begun = Instant::now();
    node.run()?;
    Ok(begun.elapsed())
}
