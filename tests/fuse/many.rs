//! Directories of many files.

use crate::fill::fill;
use crate::rig::Rig;
use std::collections::HashSet;
use std::fs;
use std::time::{Duration, Instant};

const FILES: u64 = 100_000;
/// What one rename moves at most.
const MAX_MOVED: u64 = 1 << 17;
const BUCKET: &str = "test-bucket";

fn name(number: u64, _: u64) -> String {
    format!("all/object-{number:08}.dat")
}

fn rig(files: u64) -> Rig {
    Rig::prepared(&["read_only = false"], Rig::config(), |node| {
        fill(&node.data_dir(), &[(BUCKET, files)], name).unwrap();
    })
}

#[test]
fn a_hundred_thousand_files_are_listed_each_once_and_renamed_at_once() {
    let rig = rig(FILES);
    let list = |directory: &str| {
        let entries = fs::read_dir(rig.path(directory)).unwrap();
        let (mut names, mut bytes) = (HashSet::new(), 0);
        for entry in entries {
            let entry = entry.unwrap();
            bytes += entry.metadata().unwrap().len();
            assert!(names.insert(entry.file_name()), "{:?} twice", entry.file_name());
        }
        assert_eq!((names.len() as u64, bytes), (FILES, FILES * 8));
    };
    list("all");
    list("all");
    assert_eq!(fs::read(rig.path("all/object-00099999.dat")).unwrap(), 99_999_u64.to_le_bytes());
    assert!(fs::metadata(rig.path("all/object-00100000.dat")).is_err());
    let begun = Instant::now();
    rig.run("perl -e 'rename(\"all\", \"other\") or die $!'");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!(rig.names(""), ["other"]);
    list("other");
    assert_eq!(rig.get("other/object-00000007.dat").unwrap(), 7_u64.to_le_bytes().to_vec());
    assert_eq!(rig.get("all/object-00000007.dat"), None);
    rig.finish();
}

#[test]
fn a_tree_that_is_too_large_for_one_commit_is_not_renamed() {
    let rig = rig(MAX_MOVED + 1);
    // In a process of its own: the watchdog looks at the test's.
    let rename = || rig.run("perl -e 'rename(\"all\", \"other\"); print $!+0'");
    assert_eq!(rename(), libc::EXDEV.to_string());
    assert_eq!(rig.names(""), ["all"]);
    fs::remove_file(rig.path("all/object-00000000.dat")).unwrap();
    assert_eq!(rename(), "0");
    assert_eq!(rig.names(""), ["other"]);
    assert_eq!(rig.get("other/object-00000001.dat").unwrap(), 1_u64.to_le_bytes().to_vec());
    rig.finish();
}
