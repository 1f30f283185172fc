//! Random changes from both faces, held against a plain directory and against what S3 lists.
//!
//! The plain directory says what POSIX does: the same calls must succeed and fail in the mount. What S3 does is
//! done to it by hand: a directory that has no marker goes with its last key.

use crate::rig::Rig;
use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use testkit::{Rng, Seed};

const NAMES: [&str; 3] = ["a", "b", "c"];
const STEPS: usize = 600;

struct World {
    rig: Rig,
    plain: tempfile::TempDir,
    /// Directories that an object marks.
    marked: BTreeSet<String>,
    rng: Rng,
}

impl World {
    fn path(&mut self) -> String {
        let depth = 1 + self.rng.below(3);
        (0..depth).map(|_| NAMES[self.rng.below(3) as usize]).collect::<Vec<_>>().join("/")
    }

    fn both(&self, path: &str) -> [std::path::PathBuf; 2] {
        [self.rig.path(path), self.plain.path().join(path)]
    }

    fn parent(path: &str) -> Option<&str> {
        path.rsplit_once('/').map(|(parent, _)| parent)
    }

    /// A directory that the mount emptied stays, and says so to S3.
    fn mark_if_empty(&mut self, directory: Option<&str>) {
        if let Some(directory) = directory
            && fs::read_dir(self.plain.path().join(directory))
                .is_ok_and(|mut entries| entries.next().is_none())
        {
            self.marked.insert(directory.to_owned());
        }
    }

    /// A directory that S3 emptied goes, unless it is marked.
    fn prune(&mut self, mut directory: Option<&str>) {
        while let Some(path) = directory.filter(|path| !self.marked.contains(*path)) {
            if fs::remove_dir(self.plain.path().join(path)).is_err() {
                return;
            }
            directory = Self::parent(path);
        }
    }

    fn step(&mut self) -> String {
        let (path, other) = (self.path(), self.path());
        let body = format!("{path} {}", self.rng.below(1_000_000)).repeat(1 + self.rng.below(200) as usize);
        let is_dir = self.plain.path().join(&path).is_dir();
        match self.rng.below(9) {
            0 => self.write(&path, &body),
            1 => self.append(&path, &body),
            2 => {
                let done = self.same(&path, |path| fs::create_dir(path));
                if done {
                    self.marked.insert(path.clone());
                }
                format!("mkdir {path}")
            }
            3 => {
                if self.same(&path, |path| fs::remove_file(path)) {
                    self.mark_if_empty(Self::parent(&path));
                }
                format!("unlink {path}")
            }
            4 => {
                if self.same(&path, |path| fs::remove_dir(path)) {
                    self.marked.remove(&path);
                    self.mark_if_empty(Self::parent(&path));
                }
                format!("rmdir {path}")
            }
            5 | 6 => self.rename(&path, &other, is_dir),
            7 => self.s3_put(&path, &body),
            _ => self.s3_delete(&path),
        }
    }

    /// The same call in both: the same outcome.
    fn same(&self, path: &str, call: impl Fn(&Path) -> std::io::Result<()>) -> bool {
        let [mounted, plain] = self.both(path).map(|path| call(&path).map_err(|error| error.raw_os_error()));
        assert_eq!(mounted, plain, "{path}");
        mounted.is_ok()
    }

    fn write(&mut self, path: &str, body: &str) -> String {
        self.same(path, |path| fs::write(path, body));
        format!("write {path}")
    }

    fn append(&mut self, path: &str, body: &str) -> String {
        self.same(path, |path| OpenOptions::new().append(true).open(path)?.write_all(body.as_bytes()));
        format!("append {path}")
    }

    fn rename(&mut self, from: &str, to: &str, is_dir: bool) -> String {
        let rename = |path: &Path| {
            let root = path.to_str().unwrap().strip_suffix(from).unwrap();
            fs::rename(path, Path::new(root).join(to))
        };
        if self.same(from, rename) && from != to {
            if is_dir {
                let moved: Vec<String> = self.marked.iter().filter(|m| below(m, from)).cloned().collect();
                self.marked.remove(to);
                for old in moved {
                    self.marked.remove(&old);
                    self.marked.insert(format!("{to}{}", &old[from.len()..]));
                }
            }
            self.mark_if_empty(Self::parent(from));
        }
        format!("rename {from} to {to}")
    }

    fn s3_put(&mut self, key: &str, body: &str) -> String {
        let plain = self.plain.path().join(key);
        // What one of the two shapes cannot have is another test's matter.
        let fits = !plain.is_dir() && plain.parent().is_some_and(|parent| fs::create_dir_all(parent).is_ok());
        if fits {
            self.rig.put(key, body.to_owned());
            fs::write(plain, body).unwrap();
        }
        format!("PUT {key}")
    }

    fn s3_delete(&mut self, key: &str) -> String {
        if self.plain.path().join(key).is_file() {
            self.rig.delete(key);
            fs::remove_file(self.plain.path().join(key)).unwrap();
            self.prune(Self::parent(key));
        }
        format!("DELETE {key}")
    }

    fn check(&self) {
        let (mounted, plain) = (tree(&self.rig.root()), tree(self.plain.path()));
        assert_eq!(mounted, plain);
        let mut keys: Vec<String> =
            plain.iter().filter(|(_, body)| body.is_some()).map(|(path, _)| path.clone()).collect();
        keys.extend(self.marked.iter().map(|marked| format!("{marked}/")));
        keys.sort();
        assert_eq!(self.rig.keys(), keys);
    }
}

fn below(path: &str, directory: &str) -> bool {
    path == directory || path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
}

/// Every path, and what is in it if it is a file.
fn tree(root: &Path) -> Vec<(String, Option<Vec<u8>>)> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                found.push((name, None));
                open.push(path);
            } else {
                found.push((name, Some(fs::read(&path).unwrap())));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn a_mount_is_as_a_plain_directory_and_as_s3_lists_it() {
    let seed = Seed::new();
    let mut world = World {
        rig: Rig::writable(),
        plain: tempfile::tempdir().unwrap(),
        marked: BTreeSet::new(),
        rng: seed.rng(),
    };
    let mut done = Vec::new();
    for step in 0..STEPS {
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let said = world.step();
            if step % 5 == 0 {
                world.check();
            }
            said
        }));
        match checked {
            Ok(said) => done.push(said),
            Err(panic) => {
                let last = done.get(done.len().saturating_sub(12)..).unwrap();
                eprintln!("step {step}, after {last:#?}");
                std::panic::resume_unwind(panic);
            }
        }
    }
    world.check();
    world.rig.finish();
}
