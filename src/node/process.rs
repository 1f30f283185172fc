//! What the process asks of the system for itself.

use rustix::fs::Mode;
use rustix::process::{DumpableBehavior, Resource, getrlimit, set_dumpable_behavior, setrlimit, umask};

/// Files of the node are for its user alone, and a crash leaves no core file with secrets in it.
pub fn keep_private() {
    umask(Mode::RWXG | Mode::RWXO);
    // Refused only by kernels that do not know it: then core files are the administrator's affair.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

/// Raises the limit of open files to what the system allows, and returns it: a connection, a blob
/// that is read and a RocksDB table take one each. `None`: unlimited.
pub fn raise_open_files() -> Option<u64> {
    let mut limit = getrlimit(Resource::Nofile);
    let before = limit.current;
    limit.current = limit.maximum;
    match setrlimit(Resource::Nofile, limit) {
        Ok(()) => limit.maximum,
        Err(_) => before,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_open_files_is_raised_to_the_hard_one() {
        let raised = raise_open_files();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(raised, limit.maximum);
        assert_eq!(limit.current, limit.maximum);
    }
}
