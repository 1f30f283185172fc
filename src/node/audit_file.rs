//! The audit log's own file, which may be moved away while the node writes it.

use parking_lot::Mutex;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Clone)]
pub struct AuditFile(Arc<Inner>);

struct Inner {
    path: PathBuf,
    file: Mutex<File>,
}

impl AuditFile {
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(Arc::new(Inner { path: path.to_owned(), file: Mutex::new(open(path)?) })))
    }

    /// After the file was moved away. Where the new one cannot be had, the old one goes on.
    pub fn reopen(&self) -> io::Result<()> {
        let fresh = open(&self.0.path)?;
        *self.0.file.lock() = fresh;
        Ok(())
    }

    /// A line in one piece, so that those of several threads do not mix.
    pub fn write(&self, line: &[u8]) -> io::Result<()> {
        self.0.file.lock().write_all(line)
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_file_that_was_moved_away_is_left_alone_after_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let (path, moved) = (dir.path().join("audit.log"), dir.path().join("audit.log.1"));
        let file = AuditFile::open(&path).unwrap();
        let write = |text: &str| file.write(text.as_bytes()).unwrap();
        write("one\n");
        std::fs::rename(&path, &moved).unwrap();
        write("two\n");
        file.reopen().unwrap();
        write("three\n");
        assert_eq!(std::fs::read_to_string(&moved).unwrap(), "one\ntwo\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "three\n");
        std::fs::remove_dir_all(dir.path()).unwrap();
        assert!(file.reopen().is_err());
        write("goes on\n");
    }
}
