//! The ETag of a large file: MD5s of its parts, as `aws s3 cp` and others upload such files.
//!
//! One MD5 over all of it would take longer than everything else about the file. Those of parts can be had eight at a time.

use backend::NewFile;
use std::array;
use std::io;
use types::ETag;

use crate::md5::Md5;
use crate::md5_lanes::{LANES, Md5Lanes};

/// The part size of `aws s3 cp`.
const PART_BYTES: u64 = 8 << 20;
/// Parts that are hashed together.
pub const GROUP_BYTES: u64 = LANES as u64 * PART_BYTES;
/// Of each part at a time, so that all lanes stay in a core's cache.
const PIECE_BYTES: usize = 32 << 10;

#[derive(Default)]
pub struct Parts(Vec<[u8; 16]>);

impl Parts {
    /// The parts up to `end`: the next whole group, or what the file ends with.
    pub fn hash(&mut self, file: &NewFile, end: u64, buffer: &mut Vec<u8>) -> io::Result<()> {
        let from = self.0.len() as u64 * PART_BYTES;
        let whole = end.saturating_sub(from) / PART_BYTES;
        if whole > 0 {
            let digests = lanes(file, from, whole, buffer)?;
            self.0.extend(digests.into_iter().zip(0..whole).map(|(digest, _)| digest));
        }
        let rest = from + whole * PART_BYTES;
        if rest < end {
            self.0.push(one(file, rest, end, buffer)?);
        }
        Ok(())
    }

    pub fn etag(&self) -> ETag {
        let mut all = Md5::new();
        self.0.iter().for_each(|part| all.update(part));
        // The number is for people; it ends at 512 GiB.
        ETag { md5: all.finish(), parts: Some(u16::try_from(self.0.len()).unwrap_or(u16::MAX)) }
    }
}

/// Of `count` parts; lanes without one go along with the first.
fn lanes(file: &NewFile, from: u64, count: u64, buffer: &mut Vec<u8>) -> io::Result<[[u8; 16]; LANES]> {
    buffer.resize(LANES * PIECE_BYTES, 0);
    let mut lanes = Md5Lanes::new();
    for offset in (0..PART_BYTES).step_by(PIECE_BYTES) {
        for (part, piece) in (0..count).zip(buffer.chunks_exact_mut(PIECE_BYTES)) {
            file.read_all_at(piece, from + part * PART_BYTES + offset)?;
        }
        let lane = |lane: usize| if (lane as u64) < count { lane * PIECE_BYTES } else { 0 };
        lanes.update(array::from_fn(|at| &buffer[lane(at)..][..PIECE_BYTES]));
    }
    Ok(lanes.finish())
}

fn one(file: &NewFile, from: u64, end: u64, buffer: &mut Vec<u8>) -> io::Result<[u8; 16]> {
    let mut md5 = Md5::new();
    for at in (from..end).step_by(LANES * PIECE_BYTES) {
        let size = (end - at).min((LANES * PIECE_BYTES) as u64);
        buffer.resize(usize::try_from(size).unwrap_or_default(), 0);
        file.read_all_at(buffer, at)?;
        md5.update(buffer);
    }
    Ok(md5.finish())
}
