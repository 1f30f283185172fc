//! What the files of a checkpoint hold. Tables never change once they are written, so each is read once in
//! a node's life.

use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use types::hex::hex;

use super::manifest::File;

const READ_BYTES: usize = 1 << 20;
/// Tables; the rest is small, and written on.
const TABLE: &str = ".sst";

/// The sums of tables by name, inode, size and time.
#[derive(Debug, Default)]
pub struct Sums(HashMap<Known, String>);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Known {
    name: String,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Sums {
    /// The files of a checkpoint, in order of their names. Blocks.
    pub fn files(&mut self, dir: &Path) -> io::Result<Vec<File>> {
        let mut files = Vec::new();
        let mut still = HashMap::new();
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            let about = entry.metadata()?;
            let name = entry.file_name().into_string();
            let name =
                name.map_err(|name| io::Error::other(format!("{}: not a name of ours", name.display())))?;
            let modified = (about.mtime(), about.mtime_nsec());
            let known = Known { name: name.clone(), inode: about.ino(), size: about.len(), modified };
            let sum = match self.0.remove(&known) {
                Some(sum) => sum,
                None => sum_of(&entry.path())?,
            };
            if name.ends_with(TABLE) {
                still.insert(known, sum.clone());
            }
            files.push(File { name, size: about.len(), sum });
        }
        self.0 = still;
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(files)
    }
}

pub fn sum_of(path: &Path) -> io::Result<String> {
    let mut file = std::fs::File::open(path)?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; READ_BYTES]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(&hash.finalize())),
            read => hash.update(buffer.get(..read).unwrap_or_default()),
        }
    }
}
