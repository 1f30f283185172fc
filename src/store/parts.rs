//! The ETag of a large file: MD5s of its parts, as `aws s3 cp` and others upload such files.
//!
//! One MD5 over all of it would take longer than everything else about the file. Those of parts can be had eight at a time.

use backend::NewFile;
use meta::CHUNK_BYTES;
use std::array;
use std::io;
use types::{Checksum, ETag};

use crate::ingest::Sums;
use crate::md5::Md5;
use crate::md5_lanes::{LANES, Md5Lanes};

/// The part size of `aws s3 cp`.
const PART_BYTES: u64 = 8 << 20;
/// Parts that are hashed together.
pub const GROUP_BYTES: u64 = LANES as u64 * PART_BYTES;
/// Of each part at a time: a chunk, so that its checksum is of the same look at it.
const PIECE_BYTES: usize = CHUNK_BYTES as usize;
/// Of one stream at a time: a whole number of chunks, and still in a core's cache.
pub const STEP_BYTES: usize = 4 * PIECE_BYTES;

/// The digests of what was hashed so far.
#[derive(Default)]
pub struct Parts {
    md5s: Vec<[u8; 16]>,
    chunks: Vec<u32>,
    checksum: Option<Checksum>,
}

impl Parts {
    /// The parts up to `end`: the next whole group, or what the file ends with.
    pub fn hash(&mut self, file: &NewFile, end: u64, buffer: &mut Vec<u8>) -> io::Result<()> {
        let from = self.md5s.len() as u64 * PART_BYTES;
        let whole = end.saturating_sub(from) / PART_BYTES;
        if whole > 0 {
            let (md5s, sums) = lanes(file, from, whole, buffer)?;
            for (md5, sums) in md5s.into_iter().zip(sums) {
                self.push(md5, sums, PART_BYTES)?;
            }
        }
        let rest = from + whole * PART_BYTES;
        if rest < end {
            let (md5, sums) = one(file, rest, end, buffer)?;
            self.push(md5, sums, end - rest)?;
        }
        Ok(())
    }

    fn push(&mut self, md5: [u8; 16], sums: Sums, bytes: u64) -> io::Result<()> {
        let next = sums.checksum.finish();
        let whole = match &self.checksum {
            Some(before) => before.combine(&next, bytes).ok_or_else(|| io::Error::other("no CRC"))?,
            None => next,
        };
        self.checksum = Some(whole);
        self.chunks.extend(sums.chunks);
        self.md5s.push(md5);
        Ok(())
    }

    pub fn finish(self) -> (ETag, Checksum, Vec<u32>) {
        let mut all = Md5::new();
        self.md5s.iter().for_each(|part| all.update(part));
        // The number is for people; it ends at 512 GiB.
        let etag =
            ETag { md5: all.finish(), parts: Some(u16::try_from(self.md5s.len()).unwrap_or(u16::MAX)) };
        (etag, self.checksum.unwrap_or_else(|| Sums::default().checksum.finish()), self.chunks)
    }
}

/// Of `count` parts; lanes without one go along with the first.
fn lanes(
    file: &NewFile,
    from: u64,
    count: u64,
    buffer: &mut Vec<u8>,
) -> io::Result<([[u8; 16]; LANES], Vec<Sums>)> {
    buffer.resize(LANES * PIECE_BYTES, 0);
    let mut all: Vec<Sums> = (0..count).map(|_| Sums::default()).collect();
    let mut lanes = Md5Lanes::new();
    for offset in (0..PART_BYTES).step_by(PIECE_BYTES) {
        let pieces = buffer.chunks_exact_mut(PIECE_BYTES);
        for ((part, sums), piece) in (0..count).zip(&mut all).zip(pieces) {
            file.read_all_at(piece, from + part * PART_BYTES + offset)?;
            sums.update(piece);
        }
        let lane = |lane: usize| if (lane as u64) < count { lane * PIECE_BYTES } else { 0 };
        lanes.update(array::from_fn(|at| &buffer[lane(at)..][..PIECE_BYTES]));
    }
    Ok((lanes.finish(), all))
}

fn one(file: &NewFile, from: u64, end: u64, buffer: &mut Vec<u8>) -> io::Result<([u8; 16], Sums)> {
    let (mut md5, mut sums) = (Md5::new(), Sums::default());
    hash(file, from, end, buffer, &mut md5, &mut sums)?;
    Ok((md5.finish(), sums))
}

/// In order. `end` ends a chunk, or the file.
pub fn hash(
    file: &NewFile,
    from: u64,
    end: u64,
    buffer: &mut Vec<u8>,
    md5: &mut Md5,
    sums: &mut Sums,
) -> io::Result<()> {
    for at in (from..end).step_by(STEP_BYTES) {
        buffer.resize(usize::try_from(end - at).unwrap_or(STEP_BYTES).min(STEP_BYTES), 0);
        file.read_all_at(buffer, at)?;
        md5.update(buffer);
        sums.update(buffer);
    }
    Ok(())
}
