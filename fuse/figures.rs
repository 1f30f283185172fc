//! What a mount was asked for and how it went, counted as it happens.
//!
//! A counter costs a request nothing that it would notice; names for monitoring are given above.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::errno::{Answer, Errno};

/// Upper bounds: from a record in memory to a commit that waits for a disk in trouble.
pub const BOUNDS: [Duration; 14] = [
    Duration::from_micros(50),
    Duration::from_micros(100),
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2_500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(2),
    Duration::from_secs(10),
    Duration::from_secs(30),
];

macro_rules! operations {
    ($($operation:ident $name:literal),* $(,)?) => {
        /// By the name that FUSE gives to the request.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Operation { $($operation),* }

        const OPERATIONS: &[(Operation, &str)] = &[$((Operation::$operation, $name)),*];
    };
}

operations! {
    Lookup "lookup",
    GetAttr "getattr",
    SetAttr "setattr",
    Mkdir "mkdir",
    Unlink "unlink",
    Rmdir "rmdir",
    Rename "rename",
    Create "create",
    Open "open",
    Read "read",
    Write "write",
    Flush "flush",
    Fsync "fsync",
    Release "release",
    GetXattr "getxattr",
    ListXattr "listxattr",
    SetXattr "setxattr",
    RemoveXattr "removexattr",
    ReadDir "readdir",
    StatFs "statfs",
}

macro_rules! errors {
    ($($error:ident $name:literal),* $(,)?) => {
        /// What a mount answers; the last stands for all others.
        const ERRORS: &[(Errno, &str)] = &[$((Errno::$error, $name)),*];
    };
}

errors! {
    NOENT "ENOENT",
    EXIST "EEXIST",
    NOTEMPTY "ENOTEMPTY",
    NOTDIR "ENOTDIR",
    ISDIR "EISDIR",
    STALE "ESTALE",
    ACCESS "EACCES",
    PERM "EPERM",
    ROFS "EROFS",
    OPNOTSUPP "EOPNOTSUPP",
    NODATA "ENODATA",
    INVAL "EINVAL",
    NAMETOOLONG "ENAMETOOLONG",
    XDEV "EXDEV",
    BADF "EBADF",
    BUSY "EBUSY",
    FBIG "EFBIG",
    DQUOT "EDQUOT",
    NOSPC "ENOSPC",
    AGAIN "EAGAIN",
    TIMEDOUT "ETIMEDOUT",
    IO "EIO",
}

pub const GOOD: &str = "OK";
const OTHER: &str = "other";
/// Good ones, each error, all other errors.
const OUTCOMES: usize = ERRORS.len() + 2;
const BUCKETS: usize = BOUNDS.len() + 1;

#[derive(Debug, Default)]
pub struct Figures {
    of: [OfOperation; OPERATIONS.len()],
    in_flight: AtomicU64,
}

#[derive(Debug)]
struct OfOperation {
    outcomes: [AtomicU64; OUTCOMES],
    buckets: [AtomicU64; BUCKETS],
    micros: AtomicU64,
}

impl Default for OfOperation {
    fn default() -> Self {
        Self {
            outcomes: std::array::from_fn(|_| AtomicU64::new(0)),
            buckets: std::array::from_fn(|_| AtomicU64::new(0)),
            micros: AtomicU64::new(0),
        }
    }
}

/// One kind of request, as it was asked for so far.
#[derive(Debug, Clone)]
pub struct Asked {
    pub operation: &'static str,
    /// By errno, or `OK`; only those that happened.
    pub answers: Vec<(&'static str, u64)>,
    /// How many took how long: up to each of the [`BOUNDS`], then longer.
    pub buckets: [u64; BUCKETS],
    pub total: Duration,
}

impl Figures {
    pub fn began(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    pub fn ended(&self, operation: Operation, answer: Answer<()>, took: Duration) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        let Some(of) = self.of.get(operation as usize) else { return };
        let count = |counters: &[AtomicU64], at: usize| {
            if let Some(counter) = counters.get(at) {
                counter.fetch_add(1, Ordering::Relaxed);
            }
        };
        count(&of.outcomes, outcome(answer));
        count(&of.buckets, BOUNDS.partition_point(|bound| *bound < took));
        of.micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Requests that have no answer yet.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Those that were asked for at all.
    pub fn asked(&self) -> Vec<Asked> {
        let all = OPERATIONS.iter().zip(&self.of);
        all.filter_map(|((_, operation), of)| of.asked(operation)).collect()
    }
}

impl OfOperation {
    fn asked(&self, operation: &'static str) -> Option<Asked> {
        let names = [GOOD].into_iter().chain(ERRORS.iter().map(|(_, name)| *name)).chain([OTHER]);
        let counted = names.zip(&self.outcomes).map(|(name, count)| (name, count.load(Ordering::Relaxed)));
        let answers: Vec<_> = counted.filter(|(_, count)| *count > 0).collect();
        let buckets = std::array::from_fn(|at| self.buckets.get(at).map_or(0, |b| b.load(Ordering::Relaxed)));
        let total = Duration::from_micros(self.micros.load(Ordering::Relaxed));
        (!answers.is_empty()).then_some(Asked { operation, answers, buckets, total })
    }
}

fn outcome(answer: Answer<()>) -> usize {
    let Err(error) = answer else { return 0 };
    ERRORS.iter().position(|(known, _)| *known == error).map_or(OUTCOMES - 1, |at| at + 1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn requests_are_counted_by_what_they_came_to() {
        let figures = Figures::default();
        let fates = [Ok(()), Err(Errno::TIMEDOUT), Err(Errno::IO), Err(Errno::IO), Err(Errno::MLINK)];
        for fate in fates {
            figures.began();
            figures.ended(Operation::StatFs, fate, Duration::from_micros(100));
        }
        figures.began();
        figures.ended(Operation::Lookup, Ok(()), Duration::from_secs(31));
        figures.began();
        let [lookup, statfs] = &figures.asked()[..] else { panic!("{:?}", figures.asked()) };
        assert_eq!((lookup.operation, statfs.operation, figures.in_flight()), ("lookup", "statfs", 1));
        assert_eq!(statfs.answers, [("OK", 1), ("ETIMEDOUT", 1), ("EIO", 2), ("other", 1)]);
        assert_eq!((statfs.buckets[0], statfs.buckets[1], statfs.total.as_micros()), (0, 5, 500));
        assert_eq!((*lookup.buckets.last().unwrap(), lookup.total.as_secs()), (1, 31));
    }

    #[test]
    fn each_operation_has_its_place() {
        for (at, (operation, _)) in OPERATIONS.iter().enumerate() {
            assert_eq!(*operation as usize, at);
        }
    }
}
