//! Complete of 10,000 parts, and CopyObject of 5 GB: both are metadata, so their objects exist as records
//! only. Nobody reads them.

use crate::http::{Connection, Spec, head};
use crate::report::{Limit, Report, median};
use crate::{Scale, process};
use anyhow::{Result, anyhow, ensure};
use meta::{
    BlobPart, CHUNK_BYTES, Draft, EMBEDDED, Meta, MetaError, NewBlob, Order, PartRecord, Place, Target, Txn,
    UploadRecord,
};
use std::fmt::Write as _;
use std::path::Path;
use testkit::Node;
use types::{
    Algorithm, BlobId, BucketId, BucketName, Checksum, ETag, Key, ObjectHeaders, Timestamp, UploadId,
    WriteConditions,
};

const BUCKET: &str = "test-bucket";
const PARTS: u16 = 10_000;
const PART_BYTES: u64 = 5 << 20;
const LARGE_BYTES: u64 = 5_000_000_000;
const SMALL_BYTES: u64 = 5_000;
const COPIES: usize = 40;

pub fn measure(scale: &Scale, report: &mut Report) -> Result<()> {
    let mut node = Node::prepare(crate::node_config())?;
    let uploads = lay(&node.data_dir(), scale.rounds + 1)?;
    node.run()?;
    let mut connection = Connection::open(node.addr())?;
    let small = vec![7; usize::try_from(SMALL_BYTES)?];
    let put = head(&node, 0, &Spec { length: SMALL_BYTES, ..Spec::new("PUT", "test-bucket/small") })?;
    connection.expect_ok(&put, &small)?;
    complete(&node, &mut connection, &uploads, report)?;
    copy(scale, &node, &mut connection, report)?;
    let memory = process::memory(node.pid())?;
    report.note(&format!("memory of the node: {:.0} MiB, at its highest {:.0} MiB", memory.now, memory.peak));
    Ok(())
}

fn lay(data_dir: &Path, uploads: usize) -> Result<Vec<UploadId>> {
    let options = meta::Options { path: data_dir.join("meta"), sync: false, block_cache_bytes: 64 << 20 };
    let meta = Meta::open(&options)?;
    let bucket = meta.bucket(&BucketName::new(BUCKET).map_err(|e| anyhow!("{e}"))?, now())?.id;
    let mut ids = Vec::new();
    for number in 0..uploads {
        let id = UploadId { sequence: meta.next_id()?, secret: 0x5eed };
        meta.commit_and_wait(Order::Shared, move |txn| lay_upload(txn, bucket, id, number))?;
        ids.push(id);
    }
    meta.commit_and_wait(Order::Shared, move |txn| {
        let blob = lay_blob(txn, LARGE_BYTES)?;
        lay_object(txn, bucket, "large", blob, LARGE_BYTES)?;
        lay_composite(txn, bucket)
    })?;
    meta.close()?;
    Ok(ids)
}

/// The uploads must not have expired.
fn now() -> Timestamp {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    Timestamp(since.as_millis() as u64)
}

fn upload_key(number: usize) -> String {
    format!("upload-{number}")
}

fn key(text: &str) -> Result<Key, MetaError> {
    Key::new(text).map_err(|error| MetaError::Damaged(error.to_string()))
}

fn part_etag(number: u16) -> ETag {
    ETag::single((u128::from(number) << 64 | 0xfeed).to_be_bytes())
}

fn part_checksum() -> Checksum {
    let mut hasher = types::checksum::Hasher::new(Algorithm::Crc64Nvme);
    hasher.update(b"any");
    hasher.finish()
}

fn lay_blob(txn: &mut Txn<'_>, size: u64) -> Result<BlobId, MetaError> {
    let id = BlobId(txn.next_id()?);
    let sums = (0..size.div_ceil(CHUNK_BYTES)).map(|chunk| chunk as u32).collect();
    txn.add_blob(NewBlob {
        id,
        bucket: BucketId(1),
        size,
        sums,
        written: now(),
        targets: vec![Target::new(EMBEDDED, Place::File)],
        inline: None,
        unfinished: None,
        wants_more: false,
        named: None,
    });
    Ok(id)
}

fn lay_upload(txn: &mut Txn<'_>, bucket: BucketId, id: UploadId, number: usize) -> Result<(), MetaError> {
    let record = UploadRecord { initiated: now(), checksum: None, headers: ObjectHeaders::default() };
    txn.add_upload(bucket, &key(&upload_key(number))?, id, &record);
    for number in 1..=PARTS {
        let blob = lay_blob(txn, PART_BYTES)?;
        let (etag, checksum) = (part_etag(number), Some(part_checksum()));
        let part = PartRecord { blob, size: PART_BYTES, etag, modified: now(), checksum };
        txn.write_part(bucket, id, number, &part)?;
    }
    Ok(())
}

fn lay_object(
    txn: &mut Txn<'_>,
    bucket: BucketId,
    name: &str,
    blob: BlobId,
    size: u64,
) -> Result<(), MetaError> {
    let draft = Draft {
        blob,
        inline: false,
        size,
        etag: part_etag(1),
        modified: now(),
        checksum: None,
        headers: ObjectHeaders::default(),
    };
    txn.write_object(bucket, &key(name)?, draft, &WriteConditions::default())?;
    Ok(())
}

/// The same 5 GB as a client of 8 MiB parts leaves them.
fn lay_composite(txn: &mut Txn<'_>, bucket: BucketId) -> Result<(), MetaError> {
    const CLIENT_PART_BYTES: u64 = 8 << 20;
    let mut parts = Vec::new();
    let mut left = LARGE_BYTES;
    while left > 0 {
        let size = left.min(CLIENT_PART_BYTES);
        let number = parts.len() as u16 + 1;
        parts.push(BlobPart { number, blob: lay_blob(txn, size)?, size, checksum: Some(part_checksum()) });
        left -= size;
    }
    let blob = BlobId(txn.next_id()?);
    txn.add_composite(blob, bucket, parts);
    lay_object(txn, bucket, "large-in-parts", blob, LARGE_BYTES)
}

fn manifest() -> String {
    let mut xml = String::from("<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    for number in 1..=PARTS {
        let etag = testkit::sign::hex(&part_etag(number).md5);
        let _ = write!(xml, "<Part><ETag>\"{etag}\"</ETag><PartNumber>{number}</PartNumber></Part>");
    }
    xml.push_str("</CompleteMultipartUpload>");
    xml
}

/// An upload that is not there is refused when its XML was read: that is the yardstick.
fn complete(
    node: &Node,
    connection: &mut Connection,
    uploads: &[UploadId],
    report: &mut Report,
) -> Result<()> {
    let manifest = manifest();
    let (mut whole, mut reading) = (vec![], vec![]);
    for (number, id) in uploads.iter().enumerate() {
        let path = format!("{BUCKET}/{}", upload_key(number));
        // As clients see it: the bucket's number, which is the first, then the upload's.
        let query = |id: UploadId| format!("uploadId={:08x}{id}", 1);
        let unknown = UploadId { secret: !id.secret, ..*id };
        let post = |query: &str| {
            head(node, 0, &Spec { query, length: manifest.len() as u64, ..Spec::new("POST", &path) })
        };
        let (took, status, _) = connection.timed(&post(&query(unknown))?, manifest.as_bytes())?;
        ensure!(status == 404, "an unknown upload was answered {status}");
        reading.push(took.as_secs_f64() * 1e3);
        whole.push(connection.expect_ok(&post(&query(*id))?, manifest.as_bytes())?.as_secs_f64() * 1e3);
    }
    let above: Vec<f64> =
        whole.iter().zip(&reading).skip(1).map(|(whole, reading)| whole - reading).collect();
    let how = format!("{:.0} ms, reading the XML {:.0} ms", median(&whole), median(&reading));
    let what = "Complete of 10,000 parts, above reading its XML";
    report.figure(what, median(&above), "ms", Limit::AtMost(250.0), &how);
    Ok(())
}

fn copy(scale: &Scale, node: &Node, connection: &mut Connection, report: &mut Report) -> Result<()> {
    const SOURCES: [&str; 3] = ["small", "large", "large-in-parts"];
    let mut times = [vec![], vec![], vec![]];
    for round in 0..=scale.rounds {
        let mut copies = [vec![], vec![], vec![]];
        for copy in 0..COPIES {
            for (source, copies) in SOURCES.iter().zip(&mut copies) {
                let path = format!("{BUCKET}/copies/{source}-{round}-{copy}");
                let from = format!("/{BUCKET}/{source}");
                let headers = [("x-amz-copy-source", from.as_str())];
                let head = head(node, 0, &Spec { headers: &headers, ..Spec::new("PUT", &path) })?;
                copies.push(connection.expect_ok(&head, &[])?.as_secs_f64() * 1e3);
            }
        }
        if round > 0 {
            times.iter_mut().zip(&copies).for_each(|(times, copies)| times.push(median(copies)));
        }
    }
    let [small, large, in_parts] = times.map(|times| median(&times));
    let how = format!("{large:.3} ms to {small:.3} ms; of 8 MiB parts {in_parts:.3} ms");
    report.figure("CopyObject of 5 GB, to one of 5 KB", large / small, "x", Limit::AtMost(1.5), &how);
    Ok(())
}
