//! What 64 parallel uploads of 1 GiB cost the node in memory. Each announces 1 GiB and hangs up when it
//! has sent enough for the buffers to be as full as they get.

use crate::http::{Connection, Spec, head};
use crate::report::{Limit, Report};
use crate::{Scale, process};
use anyhow::{Result, anyhow, ensure};
use testkit::Node;

const UPLOADS: usize = 64;
const ANNOUNCED_BYTES: u64 = 1 << 30;

pub fn measure(scale: &Scale, report: &mut Report) -> Result<()> {
    let node = Node::start(crate::node_config())?;
    uploads(scale, &node, "64 uploads of 1 GiB, memory above idle", report)
}

pub fn uploads(scale: &Scale, node: &Node, what: &str, report: &mut Report) -> Result<()> {
    let block: Vec<u8> = (0..1 << 20).map(|at| (at * 31 % 251) as u8).collect();
    let warm = head(node, 0, &Spec { length: block.len() as u64, ..Spec::new("PUT", "test-bucket/warm") })?;
    Connection::open(node.addr())?.expect_ok(&warm, &block)?;
    let idle = process::memory(node.pid())?.now;
    process::forget_peak(node.pid())?;
    std::thread::scope(|scope| {
        let uploads: Vec<_> = (0..UPLOADS)
            .map(|number| {
                scope.spawn({
                    let block = &block;
                    move || upload(scale, node, number, block)
                })
            })
            .collect();
        uploads.into_iter().try_for_each(|upload| upload.join().map_err(|_| anyhow!("an upload panicked"))?)
    })?;
    let peak = process::memory(node.pid())?.peak;
    let sent = scale.upload_bytes >> 20;
    let how = format!("idle {idle:.0} MiB, at its highest {peak:.0} MiB; {sent} MiB of each sent");
    report.figure(what, peak - idle, "MiB", Limit::AtMost(256.0), &how);
    Ok(())
}

fn upload(scale: &Scale, node: &Node, number: usize, block: &[u8]) -> Result<()> {
    let path = format!("test-bucket/upload-{number}");
    let head = head(node, 0, &Spec { length: ANNOUNCED_BYTES, ..Spec::new("PUT", &path) })?;
    let mut connection = Connection::open(node.addr())?;
    connection.send(&head)?;
    for _ in 0..scale.upload_bytes / block.len() as u64 {
        connection.send(block)?;
    }
    if scale.upload_bytes == ANNOUNCED_BYTES {
        let (status, _) = connection.receive()?;
        ensure!(status == 200, "an upload was answered {status}");
    }
    Ok(())
}
