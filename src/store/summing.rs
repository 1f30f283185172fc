//! The digests of a file in the making, computed beside its writes as far as it comes in order.

use backend::NewFile;
use parking_lot::{Condvar, Mutex};
use std::io;
use types::{Checksum, ETag};

use crate::ingest::Sums;
use crate::md5::Md5;
use crate::parts::{self, GROUP_BYTES, Parts, STEP_BYTES};

/// Of a file's bytes up to `until`.
pub struct Digests {
    kind: Kind,
    until: u64,
}

/// A file up to `GROUP_BYTES` has the MD5 of its bytes, a larger one that of its parts.
enum Kind {
    Whole(Md5, Sums),
    Parts(Parts),
}

/// What was written before is hashed while more is written. The file is read for it, out of the page cache: so
/// nothing waits in memory, however far the hashing falls behind.
pub struct Summing(Mutex<State>, Condvar);

struct State {
    /// At rest; none while a step is being hashed.
    digests: Option<Digests>,
    /// How far the file was written without a gap.
    written: u64,
    /// Something before that was written again: all is hashed at the end.
    spoiled: bool,
    /// Somebody hashes, or is about to.
    followed: bool,
    /// The end has come.
    wanted: bool,
}

impl Digests {
    fn new() -> Self {
        Self { kind: Kind::Whole(Md5::new(), Sums::default()), until: 0 }
    }

    /// How far it can go in one step, of a file that is written up to `written` and may grow.
    fn next(&self, written: u64) -> Option<u64> {
        let step = match &self.kind {
            Kind::Whole(..) if self.until < GROUP_BYTES => STEP_BYTES as u64,
            _ => GROUP_BYTES,
        };
        Some(self.until + step).filter(|until| *until <= written)
    }

    /// Every call but the last ends where `next` says.
    fn hash(&mut self, file: &NewFile, until: u64, buffer: &mut Vec<u8>) -> io::Result<()> {
        while self.until < until {
            if self.until == GROUP_BYTES
                && let Kind::Whole(..) = self.kind
            {
                let mut parts = Parts::default();
                parts.hash(file, GROUP_BYTES, buffer)?;
                self.kind = Kind::Parts(parts);
            }
            let end = until.min(self.until - self.until % GROUP_BYTES + GROUP_BYTES);
            match &mut self.kind {
                Kind::Parts(parts) => parts.hash(file, end, buffer)?,
                Kind::Whole(md5, sums) => parts::hash(file, self.until, end, buffer, md5, sums)?,
            }
            self.until = end;
        }
        Ok(())
    }

    /// With the checksums of chunks at the end.
    pub fn finish(self) -> (ETag, Checksum, Vec<u32>) {
        match self.kind {
            Kind::Whole(md5, sums) => (ETag::single(md5.finish()), sums.checksum.finish(), sums.chunks),
            Kind::Parts(parts) => parts.finish(),
        }
    }
}

impl Summing {
    pub fn new() -> Self {
        let digests = Some(Digests::new());
        let state = State { digests, written: 0, spoiled: false, followed: false, wanted: false };
        Self(Mutex::new(state), Condvar::new())
    }

    /// Before bytes from `offset` on change.
    pub fn changes(&self, offset: u64) {
        let mut state = self.0.lock();
        state.spoiled |= offset < state.written;
    }

    /// The bytes from `offset` to `end` were written. Whether somebody is to follow now.
    pub fn wrote(&self, offset: u64, end: u64) -> bool {
        let mut state = self.0.lock();
        if offset <= state.written {
            state.written = state.written.max(end);
        }
        let follow = !state.followed && state.next().is_some();
        state.followed |= follow;
        follow
    }

    /// Hashes what was written, and returns when it has caught up.
    pub fn follow(&self, file: &NewFile) {
        let mut buffer = Vec::new();
        while let Some((mut digests, until)) = self.begin_step() {
            let hashed = digests.hash(file, until, &mut buffer);
            let mut state = self.0.lock();
            // What could not be read is read again at the end, and then the error is heard.
            state.spoiled |= hashed.is_err();
            state.digests = Some(digests);
            self.1.notify_all();
        }
    }

    fn begin_step(&self) -> Option<(Digests, u64)> {
        let mut state = self.0.lock();
        let Some(until) = state.next() else {
            state.followed = false;
            return None;
        };
        Some((state.digests.take()?, until))
    }

    /// Of all `size` bytes of a file that nobody writes to any more. Blocks.
    pub fn finish(&self, file: &NewFile, size: u64) -> io::Result<Digests> {
        let digests = {
            let mut state = self.0.lock();
            state.wanted = true;
            while state.digests.is_none() {
                self.1.wait(&mut state);
            }
            let found = state.digests.replace(Digests::new());
            let spoiled = std::mem::replace(&mut state.spoiled, true);
            found.filter(|digests| !spoiled && digests.until <= size)
        };
        let mut digests = digests.unwrap_or_else(Digests::new);
        digests.hash(file, size, &mut Vec::new())?;
        Ok(digests)
    }
}

impl State {
    /// How far can be hashed now.
    fn next(&self) -> Option<u64> {
        let digests = self.digests.as_ref().filter(|_| !self.spoiled && !self.wanted)?;
        digests.next(self.written)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use backend::{Local, SyncRule};
    use types::BlobId;

    const BYTES: usize = 3 * STEP_BYTES + 12_345;

    struct File {
        file: NewFile,
        summing: Summing,
        followed: bool,
        _dir: tempfile::TempDir,
    }

    impl File {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let sync = SyncRule { file: false, directory: false };
            let file = Local::open(&dir.path().join("blobs"), sync).unwrap().stage(BlobId(7)).unwrap();
            Self { file, summing: Summing::new(), followed: false, _dir: dir }
        }

        fn write(&mut self, bytes: &[u8], offset: usize) {
            let (from, to) = (offset as u64, (offset + bytes.len()) as u64);
            self.summing.changes(from);
            self.file.write_at(bytes, from).unwrap();
            if self.summing.wrote(from, to) {
                self.summing.follow(&self.file);
                self.followed = true;
            }
        }

        fn check(self, wanted: &[u8]) {
            let digests = self.summing.finish(&self.file, wanted.len() as u64).unwrap();
            let (found_etag, checksum, chunks) = digests.finish();
            assert_eq!(found_etag, etag(wanted), "{} bytes", wanted.len());
            let mut sums = Sums::default();
            sums.update(wanted);
            assert_eq!(chunks, sums.chunks);
            assert_eq!(checksum, sums.checksum.finish());
        }
    }

    fn bytes() -> Vec<u8> {
        (0..BYTES).map(|at| (at * 7 % 251) as u8).collect()
    }

    #[test]
    fn what_is_written_in_order_is_hashed_meanwhile() {
        let (mut file, wanted) = (File::new(), bytes());
        for (number, piece) in wanted.chunks(100_000).enumerate() {
            file.write(piece, number * 100_000);
        }
        assert!(file.followed);
        let state = file.summing.0.lock();
        assert!(!state.spoiled && state.digests.as_ref().unwrap().until >= 2 * STEP_BYTES as u64);
        drop(state);
        file.check(&wanted);
    }

    fn md5(bytes: &[u8]) -> [u8; 16] {
        let mut md5 = Md5::new();
        md5.update(bytes);
        md5.finish()
    }

    /// Of a large file as `aws s3 cp` makes it.
    fn etag(bytes: &[u8]) -> ETag {
        if bytes.len() as u64 <= GROUP_BYTES {
            return ETag::single(md5(bytes));
        }
        let parts: Vec<_> = bytes.chunks(8 << 20).map(md5).collect();
        ETag { md5: md5(&parts.concat()), parts: Some(u16::try_from(parts.len()).unwrap()) }
    }

    #[test]
    fn a_large_file_has_the_etag_of_its_parts() {
        let group = usize::try_from(GROUP_BYTES).unwrap();
        for len in [group, group + 1, 2 * group + (21 << 20) + 5] {
            let wanted: Vec<_> = (0..len).map(|at| (at % 251) as u8).collect();
            let (first, second) = wanted.split_at(len / 2);
            let halves = [(0, first), (len / 2, second)];
            for order in [[0, 1], [1, 0]] {
                let mut file = File::new();
                for (from, half) in order.map(|which| halves[which]) {
                    half.chunks(1 << 20)
                        .enumerate()
                        .for_each(|(at, piece)| file.write(piece, from + (at << 20)));
                }
                file.check(&wanted);
            }
        }
    }

    #[test]
    fn gaps_and_second_thoughts_are_hashed_at_the_end() {
        let (mut file, mut wanted) = (File::new(), bytes());
        file.write(&wanted[..1_000_000], 0);
        file.write(&wanted[1_200_000..], 1_200_000);
        file.write(&wanted[1_000_000..1_200_000], 1_000_000);
        file.check(&wanted);
        let mut file = File::new();
        file.write(&wanted, 0);
        file.write(&[9; 10], 500);
        wanted[500..510].fill(9);
        file.summing.changes(700_000);
        file.file.set_len(700_000).unwrap();
        wanted.truncate(700_000);
        file.check(&wanted);
    }
}
