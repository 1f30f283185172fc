//! Objects of 4 KiB, signed, durable against loss of power, beside a bare hyper server.

use crate::bare;
use crate::http::{Spec, head};
use crate::load::{self, Outcome, Work};
use crate::report::{Limit, Report, median, median_ratio};
use crate::served::Served;
use crate::{Scale, process, yardstick};
use anyhow::Result;
use testkit::Node;
use testkit::sign::payload_hash;

const BYTES: usize = 4096;
const BUCKET: &str = "test-bucket";
const KEYS: u64 = 1024;

pub fn measure(scale: &Scale, report: &mut Report) -> Result<()> {
    let bare = bare::start()?;
    let node = Node::start(crate::node_config())?;
    let body: Vec<u8> = (0..BYTES).map(|at| (at * 31 % 251) as u8).collect();
    let mut bench = Bench { bare, node, hash: payload_hash(&body), body, fresh: 0 };
    let (first, _) = bench.puts(KEYS)?;
    load::run(bench.node.addr(), 16, &Work { heads: &first, body: &bench.body, count: KEYS })?;
    for connections in [1, 16, 64] {
        for method in ["GET", "PUT"] {
            let name = format!("{method}-{connections}");
            if scale.only.as_ref().is_none_or(|only| *only == name) {
                bench.compare(scale, connections, method, report)?;
            }
        }
    }
    let memory = process::memory(bench.node.pid())?;
    report.note(&format!("memory of the node: {:.0} MiB, at its highest {:.0} MiB", memory.now, memory.peak));
    Ok(())
}

struct Bench {
    bare: Served,
    node: Node,
    body: Vec<u8>,
    hash: String,
    fresh: u64,
}

impl Bench {
    /// Each to a key of its own.
    fn puts(&mut self, count: u64) -> Result<(Vec<Vec<u8>>, u64)> {
        let first = self.fresh;
        self.fresh += count;
        let heads = (first..self.fresh).map(|number| {
            let path = format!("{BUCKET}/small/{number:08}");
            head(
                &self.node,
                0,
                &Spec { payload_hash: &self.hash, length: BYTES as u64, ..Spec::new("PUT", &path) },
            )
        });
        Ok((heads.collect::<Result<_>>()?, count))
    }

    fn gets(&self, count: u64) -> Result<(Vec<Vec<u8>>, u64)> {
        let heads = (0..KEYS).map(|number| {
            let path = format!("{BUCKET}/small/{number:08}");
            head(&self.node, 0, &Spec::new("GET", &path))
        });
        Ok((heads.collect::<Result<_>>()?, count))
    }

    fn compare(
        &mut self,
        scale: &Scale,
        connections: usize,
        method: &str,
        report: &mut Report,
    ) -> Result<()> {
        let count = match (method, connections) {
            ("PUT", 1) => scale.requests / 16,
            ("GET", 1) | ("PUT", 16) => scale.requests / 4,
            _ => scale.requests,
        };
        let (mut ours, mut theirs, mut medians, mut appends) = (vec![], vec![], vec![], vec![]);
        let mut last = None;
        for _ in 0..scale.rounds {
            let (heads, count) = if method == "PUT" { self.puts(count)? } else { self.gets(count)? };
            let body = if method == "PUT" { self.body.as_slice() } else { &[] };
            let work = Work { heads: &heads, body, count };
            theirs.push(load::run(self.bare.addr, connections, &work)?.per_second);
            let cpu = process::cpu_seconds(self.node.pid())?;
            let outcome = load::run(self.node.addr(), connections, &work)?;
            let cpu = (process::cpu_seconds(self.node.pid())? - cpu) / count as f64 * 1e6;
            if method == "PUT" && connections == 1 {
                appends.push(yardstick::synced_append(&self.node.data_dir(), 500)?);
            }
            ours.push(outcome.per_second);
            medians.push(outcome.percentile(50) / 1e3);
            last = Some((outcome, cpu));
        }
        let least = if method == "PUT" { 0.4 } else { 0.5 };
        let how = described(&ours, &theirs, last.as_ref());
        let what = format!("{method} 4 KiB, {connections} connections, to bare hyper");
        report.figure(&what, median_ratio(&ours, &theirs), "x", Limit::AtLeast(least), &how);
        if !appends.is_empty() {
            let (put, append) = (median(&medians), median(&appends));
            let over: Vec<f64> = medians.iter().zip(&appends).map(|(put, append)| put - append).collect();
            let how = format!("PUT {put:.3} ms, synced append {append:.3} ms");
            report.figure(
                "PUT 4 KiB, 1 connection, above a synced append",
                median(&over),
                "ms",
                Limit::AtMost(0.3),
                &how,
            );
        }
        Ok(())
    }
}

fn described(ours: &[f64], theirs: &[f64], last: Option<&(Outcome, f64)>) -> String {
    let rates = format!("{:.0}/s to {:.0}/s", median(ours), median(theirs));
    let Some((outcome, cpu)) = last else { return rates };
    let [middle, slow] = [50, 99].map(|percent| outcome.percentile(percent));
    format!("{rates}; {middle:.0} us at the median, {slow:.0} us at 99 %, {cpu:.1} us of the processor each")
}
