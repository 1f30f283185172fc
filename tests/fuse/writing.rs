//! Files that are written through the mount: nobody sees one before it is whole.

use crate::rig::Rig;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use testkit::Node;

fn errno(result: std::io::Result<impl std::fmt::Debug>) -> Option<i32> {
    result.unwrap_err().raw_os_error()
}

#[test]
fn a_new_file_appears_whole_when_it_is_closed() {
    let rig = Rig::writable();
    let mut file = File::create(rig.path("new.txt")).unwrap();
    file.write_all(b"first ").unwrap();
    assert_eq!(rig.get("new.txt"), None);
    assert_eq!(rig.names(""), Vec::<String>::new());
    assert!(!rig.shell("cat new.txt").0);
    // Whoever makes it sees it.
    assert_eq!(fs::metadata(rig.path("new.txt")).unwrap().len(), 6);
    let number = file.metadata().unwrap().ino();
    file.write_all(b"second").unwrap();
    drop(file);
    assert_eq!(rig.get("new.txt").unwrap(), "first second");
    assert_eq!(fs::metadata(rig.path("new.txt")).unwrap().ino(), number);
    assert_eq!(rig.run("cat new.txt"), "first second");
    assert_eq!(rig.names(""), ["new.txt"]);
    assert_eq!(rig.head("new.txt").header("content-type"), Some("text/plain"));
    for (size, name) in [(0, "none"), (16 << 10, "small"), ((16 << 10) + 1, "larger"), (3_000_000, "large")] {
        let body: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
        fs::write(rig.path(name), &body).unwrap();
        assert!(rig.get(name).unwrap() == body, "{name}");
        assert!(fs::read(rig.path(name)).unwrap() == body, "{name}");
    }
    rig.finish();
}

#[test]
fn an_overwritten_file_is_the_old_one_for_everybody_until_close() {
    let rig = Rig::writable();
    rig.put("x", "old content");
    let mut reader = File::open(rig.path("x")).unwrap();
    let mut file = File::create(rig.path("x")).unwrap();
    file.write_all(b"new").unwrap();
    assert_eq!(rig.get("x").unwrap(), "old content");
    assert_eq!(fs::read(rig.path("x")).unwrap(), b"old content");
    assert_eq!(rig.run("cat x"), "old content");
    drop(file);
    assert_eq!(rig.get("x").unwrap(), "new");
    assert_eq!(fs::read(rig.path("x")).unwrap(), b"new");
    assert_eq!(rig.run("cat x"), "new");
    let mut found = String::new();
    reader.read_to_string(&mut found).unwrap();
    assert_eq!(found, "old content");
    rig.finish();
}

#[test]
fn what_is_not_committed_may_be_written_in_any_order() {
    let rig = Rig::writable();
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(rig.path("f")).unwrap();
    let mut wanted = vec![0; 400_000];
    for (offset, byte, size) in [(300_000, 3, 1000), (0, 1, 10), (399_000, 9, 1000), (5, 5, 200_000)] {
        let piece = vec![byte; size];
        file.write_all_at(&piece, offset as u64).unwrap();
        wanted[offset..offset + size].copy_from_slice(&piece);
    }
    let mut found = vec![0; 400_000];
    file.read_exact_at(&mut found, 0).unwrap();
    assert!(found == wanted);
    file.set_len(350_000).unwrap();
    file.set_len(360_000).unwrap();
    wanted.truncate(350_000);
    wanted.resize(360_000, 0);
    assert_eq!(file.metadata().unwrap().len(), 360_000);
    drop(file);
    assert!(rig.get("f").unwrap() == wanted);
    rig.finish();
}

#[test]
fn fsync_commits_early_and_writing_goes_on() {
    let rig = Rig::writable();
    let mut file = File::create(rig.path("log")).unwrap();
    file.write_all(b"one\n").unwrap();
    file.sync_all().unwrap();
    assert_eq!(rig.get("log").unwrap(), "one\n");
    file.write_all(b"two\n").unwrap();
    assert_eq!(rig.get("log").unwrap(), "one\n");
    drop(file);
    assert_eq!(rig.get("log").unwrap(), "one\ntwo\n");
    assert_eq!(fs::read(rig.path("log")).unwrap(), b"one\ntwo\n");
    rig.finish();
}

#[test]
fn appending_moves_no_old_byte_and_makes_one_object() {
    let rig = Rig::writable();
    let mut wanted: Vec<u8> = (0..1_000_000).map(|at| (at % 253) as u8).collect();
    rig.put("log", wanted.clone());
    for round in 0..5 {
        let more = vec![round; 100_000 + usize::from(round)];
        let mut file = OpenOptions::new().append(true).open(rig.path("log")).unwrap();
        file.write_all(&more).unwrap();
        assert!(rig.get("log").unwrap() == wanted, "before close");
        drop(file);
        wanted.extend(more);
        assert!(rig.get("log").unwrap() == wanted, "round {round}");
        assert!(fs::read(rig.path("log")).unwrap() == wanted, "round {round}");
    }
    let on_disk: u64 = testkit::fsck::files_under(&rig.node.blobs_dir())
        .iter()
        .map(|path| fs::metadata(path).unwrap().len())
        .sum();
    assert_eq!(on_disk, wanted.len() as u64);
    rig.run("echo a >> new; echo b >> new; echo c >> new");
    assert_eq!(rig.get("new").unwrap(), "a\nb\nc\n");
    rig.delete("log");
    rig.finish();
}

#[test]
fn who_appends_at_the_same_time_loses_nothing() {
    let rig = Rig::writable();
    rig.put("log", "0\n");
    let open = || OpenOptions::new().append(true).open(rig.path("log")).unwrap();
    let (mut one, mut other) = (open(), open());
    one.write_all(b"one\n").unwrap();
    other.write_all(b"other\n").unwrap();
    drop(one);
    drop(other);
    assert_eq!(rig.get("log").unwrap(), "0\none\nother\n");
    rig.finish();
}

#[test]
fn writing_inside_an_object_is_refused_at_once() {
    let rig = Rig::writable();
    rig.put("x", "0123456789");
    let mut file = OpenOptions::new().read(true).write(true).open(rig.path("x")).unwrap();
    assert_eq!(errno(file.write_all_at(b"X", 3)), Some(libc::EOPNOTSUPP));
    assert_eq!(errno(file.set_len(4)), Some(libc::EOPNOTSUPP));
    let mut found = String::new();
    file.read_to_string(&mut found).unwrap();
    assert_eq!(found, "0123456789");
    file.seek(SeekFrom::End(0)).unwrap();
    drop(file);
    let etag = rig.head("x").etag();
    assert_eq!(rig.get("x").unwrap(), "0123456789");
    // Opened and closed: nothing happened.
    drop(OpenOptions::new().write(true).open(rig.path("x")).unwrap());
    assert_eq!(rig.head("x").etag(), etag);
    rig.finish();
}

#[test]
fn truncating_by_path_is_a_change_at_once() {
    let rig = Rig::writable();
    rig.put("x", "0123456789");
    rig.run("truncate -s 10 x");
    assert_eq!(rig.get("x").unwrap(), "0123456789");
    assert!(!rig.shell("truncate -s 5 x").0);
    rig.run("truncate -s 0 x");
    assert_eq!(rig.get("x").unwrap(), "");
    assert_eq!(fs::metadata(rig.path("x")).unwrap().len(), 0);
    // truncate(2), without a handle.
    rig.put("y", "0123456789");
    rig.run("perl -e 'truncate(\"y\", 0) or die $!'");
    assert_eq!(rig.get("y").unwrap(), "");
    assert_eq!(fs::read(rig.path("y")).unwrap(), b"");
    rig.finish();
}

#[test]
fn modes_owners_and_times_are_metadata_and_no_new_version() {
    let rig = Rig::writable();
    rig.put("x", "content");
    let before = rig.head("x");
    fs::set_permissions(rig.path("x"), fs::Permissions::from_mode(0o600)).unwrap();
    rig.run("touch -d @1700000000.25 x; chown 12:34 x");
    let after = rig.head("x");
    assert_eq!(after.etag(), before.etag());
    assert_eq!(after.header("last-modified"), before.header("last-modified"));
    assert_eq!(after.header("x-amz-meta-mtime"), Some("1700000000.250000000"));
    assert_eq!(after.header("x-amz-meta-mode"), Some("100600"));
    assert_eq!((after.header("x-amz-meta-uid"), after.header("x-amz-meta-gid")), (Some("12"), Some("34")));
    let shown = fs::metadata(rig.path("x")).unwrap();
    assert_eq!((shown.mtime(), shown.mtime_nsec(), shown.mode()), (1_700_000_000, 250_000_000, 0o100_600));
    assert_eq!((shown.uid(), shown.gid()), (12, 34));
    // Of a directory too, also of one that only keys below it make.
    rig.put("d/f", "");
    rig.run("chmod 700 d; touch -d @1600000000 d");
    assert_eq!(fs::metadata(rig.path("d")).unwrap().mode(), 0o40700);
    assert!(rig.keys().contains(&"d/".to_owned()));
    rig.finish();
}

#[test]
fn extended_attributes_show_objects_and_set_metadata() {
    let rig = Rig::writable();
    let headers =
        [("x-amz-meta-color", "green"), ("x-amz-tagging", "team=a"), ("content-type", "text/x-odd")];
    rig.put_with("x", "content", &headers);
    let python = |code: &str| rig.run(&format!("python3 -c 'import os; {code}'"));
    let shown = python("[print(n, os.getxattr(\"x\", n).decode()) for n in os.listxattr(\"x\")]");
    let etag = rig.head("x").etag().replace('"', "");
    for line in [
        &format!("user.s3.etag {etag}\n"),
        "user.s3.content-type text/x-odd\n",
        "user.s3.tag.team a\n",
        "user.color green\n",
        "user.s3.checksum CRC64NVME:",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    python("os.setxattr(\"x\", \"user.shape\", b\"round\"); os.removexattr(\"x\", \"user.color\")");
    let head = rig.head("x");
    assert_eq!((head.header("x-amz-meta-shape"), head.header("x-amz-meta-color")), (Some("round"), None));
    // Not here at all, so that `ls -l` does not ask of each name.
    for name in ["security.selinux", "system.posix_acl_access"] {
        let (good, text) = rig.shell(&format!("python3 -c 'import os; os.getxattr(\"x\", \"{name}\")'"));
        assert!(!good && text.contains("Operation not supported"), "{name}: {text}");
    }
    assert!(!rig.shell("python3 -c 'import os; os.setxattr(\"x\", \"user.s3.etag\", b\"x\")'").0);
    rig.put("a", "");
    rig.put("a/b", "");
    rig.put("q//r", "");
    let hidden = python("print(os.getxattr(\".\", \"user.s3.hidden\").decode())");
    assert!(hidden.contains("shadowed=1"), "{hidden}");
    rig.finish();
}

#[test]
fn a_full_quota_is_said_and_nothing_is_lost() {
    let config = Rig::config().bucket(testkit::BucketConfig::new("test-bucket").quota("1MB"));
    let rig = Rig::with(&["read_only = false"], config);
    rig.put("kept", vec![1; 600_000]);
    let mut file = File::create(rig.path("big")).unwrap();
    let refused = (0..10).map(|_| file.write_all(&[2; 100_000])).find_map(Result::err);
    assert_eq!(refused.unwrap().raw_os_error(), Some(libc::EDQUOT));
    drop(file);
    rig.run("rm -f big");
    fs::write(rig.path("kept"), vec![3; 900_000]).unwrap();
    assert_eq!(rig.get("kept").unwrap().len(), 900_000);
    let mut file = File::create(rig.path("kept")).unwrap();
    let refused = (0..20).map(|_| file.write_all(&[2; 100_000])).find_map(Result::err);
    assert!(refused.is_some());
    drop(file);
    rig.finish();
}

#[test]
fn a_crash_leaves_nothing_of_what_was_not_committed() {
    let mut rig = Rig::writable();
    rig.put("old", "before");
    let mut new = File::create(rig.path("new")).unwrap();
    new.write_all(&vec![1; 1_000_000]).unwrap();
    let mut over = File::create(rig.path("old")).unwrap();
    over.write_all(&vec![2; 1_000_000]).unwrap();
    rig.kill_and_restart();
    assert!(new.write_all(b"x").is_err());
    drop((new, over));
    assert_eq!(rig.get("new"), None);
    assert_eq!(fs::read(rig.path("old")).unwrap(), b"before");
    assert_eq!(rig.names(""), ["old"]);
    rig.finish();
}

#[test]
fn a_stop_keeps_what_was_written() {
    let mut rig = Rig::writable();
    let mut file = File::create(rig.path("half")).unwrap();
    file.write_all(b"so far").unwrap();
    rig.stop_and_restart();
    drop(file);
    assert_eq!(rig.get("half").unwrap(), "so far");
    rig.finish();
}

#[test]
fn an_exclusive_name_is_taken_also_before_it_is_committed() {
    let rig = Rig::writable();
    let first = File::create_new(rig.path("lock")).unwrap();
    assert_eq!(File::create_new(rig.path("lock")).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert!(!rig.shell("set -o noclobber; : > lock").0);
    drop(first);
    assert_eq!(File::create_new(rig.path("lock")).unwrap_err().kind(), ErrorKind::AlreadyExists);
    rig.finish();
}

/// What a process has written by system calls, the node's answers to the kernel included.
fn written_by(process: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{process}/io")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("wchar: ")).unwrap();
    line.parse().unwrap()
}

/// So that the node does not write them itself, at some moment after its start.
fn lay_reserves(node: &Node) {
    for name in ["ballast", "start-reserve"] {
        fs::write(node.data_dir().join(name), b"").unwrap();
    }
}

#[test]
fn a_large_file_is_written_once() {
    let rig = Rig::prepared(&["read_only = false"], Rig::config(), lay_reserves);
    let body: Vec<u8> = (0..32 << 20).map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let before = written_by(rig.node.pid());
    fs::write(rig.path("large"), &body).unwrap();
    let written = written_by(rig.node.pid()) - before;
    assert!(written < body.len() as u64 * 5 / 4, "{written} bytes for {}", body.len());
    assert!(rig.get("large").unwrap() == body);
    assert!(fs::read(rig.path("large")).unwrap() == body);
    // As if it had come over S3: the same ETag, and one blob that the kernel may read by itself.
    let etag = rig.put("same", body).etag();
    assert_eq!(rig.head("large").etag(), etag);
    rig.finish();
}

/// As git does with its locks. Nothing waits for the end of a file that was closed empty, and so its commit meets what
/// comes next.
#[test]
fn a_file_closed_empty_is_gone_when_unlinked_and_goes_along_when_renamed() {
    const ROUNDS: usize = 1000;
    let rig = Rig::writable();
    let (lock, kept) = (rig.path("lock"), rig.path("kept"));
    let make = || OpenOptions::new().write(true).create_new(true).open(&lock);
    for round in 0..ROUNDS {
        make().unwrap_or_else(|error| panic!("round {round}: {error}"));
        fs::remove_file(&lock).unwrap();
        assert!(!lock.exists(), "round {round}");
        make().unwrap_or_else(|error| panic!("round {round}, after unlink: {error}"));
        fs::rename(&lock, &kept).unwrap();
        assert!(!lock.exists() && kept.exists(), "round {round}");
        make().unwrap_or_else(|error| panic!("round {round}, after rename: {error}"));
        fs::remove_file(&lock).unwrap();
        if round % 10 == 0 {
            assert_eq!(rig.keys(), ["kept"], "round {round}");
        }
        fs::remove_file(&kept).unwrap();
    }
    assert!(rig.keys().is_empty());
    rig.finish();
}

/// As `aws s3 cp` uploads it.
fn put_in_parts(rig: &Rig, key: &str, body: &[u8]) -> String {
    let client = rig.client();
    rig.runtime.block_on(async {
        let begun = client.create_upload(key).await.unwrap();
        let id = begun.xml().unwrap().text_of("UploadId").to_owned();
        let mut named = Vec::new();
        for (number, part) in (1..).zip(body.chunks(8 << 20)) {
            let sent = client.put_part(key, &id, number, part.to_vec()).await.unwrap();
            named.push((number, sent.etag()));
        }
        assert!(client.complete(key, &id, &named, &[]).await.unwrap().is_success());
    });
    rig.head(key).etag()
}

#[test]
fn a_file_beyond_64_mib_has_the_etag_of_its_parts() {
    let rig = Rig::writable();
    let body: Vec<u8> =
        (0..(73 << 20) + 5).map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let etag = put_in_parts(&rig, "by-s3", &body);
    assert!(etag.ends_with("-10\""), "{etag}");
    fs::write(rig.path("by-mount"), &body).unwrap();
    assert_eq!(rig.head("by-mount").etag(), etag);
    assert!(rig.get("by-mount").unwrap() == body);
    rig.finish();
}

#[test]
fn a_file_that_was_committed_by_fsync_is_written_on_and_anew() {
    let rig = Rig::writable();
    let mut wanted: Vec<u8> = (0..700_000).map(|at| (at % 241) as u8).collect();
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(rig.path("f")).unwrap();
    file.write_all_at(&wanted, 0).unwrap();
    file.sync_all().unwrap();
    let committed = wanted.clone();
    assert!(rig.get("f").unwrap() == committed);
    // Behind it, inside, before its end, beyond its end; what was committed stays as it is until the next commit.
    let mut write = |bytes: &[u8], offset: usize| {
        file.write_all_at(bytes, offset as u64).unwrap();
        wanted.resize(wanted.len().max(offset + bytes.len()), 0);
        wanted[offset..offset + bytes.len()].copy_from_slice(bytes);
        let mut found = vec![0; wanted.len()];
        file.read_exact_at(&mut found, 0).unwrap();
        assert!(found == wanted, "at {offset}");
        wanted.clone()
    };
    write(&[1; 300_000], 700_000);
    assert!(rig.get("f").unwrap() == committed);
    let behind = write(&[2; 5], 1_000_000);
    file.sync_all().unwrap();
    assert!(rig.get("f").unwrap() == behind);
    write(&[3; 100_000], 650_000);
    assert!(rig.get("f").unwrap() == behind);
    let inside = write(&[4; 10], 1_200_000);
    file.sync_all().unwrap();
    assert!(rig.get("f").unwrap() == inside);
    file.set_len(400_000).unwrap();
    assert!(rig.get("f").unwrap() == inside);
    drop(file);
    assert!(rig.get("f").unwrap() == inside[..400_000]);
    assert!(fs::read(rig.path("f")).unwrap() == inside[..400_000]);
    rig.finish();
}

#[test]
fn a_log_that_is_synced_line_by_line_has_each_line_once() {
    let rig = Rig::writable();
    rig.put("log", vec![b'.'; 100_000]);
    for size in [20, 30_000] {
        let mut wanted = rig.get("log").unwrap().to_vec();
        let mut log = OpenOptions::new().append(true).open(rig.path("log")).unwrap();
        for line in 0..5 {
            let line = vec![b'0' + line; size];
            log.write_all(&line).unwrap();
            log.sync_all().unwrap();
            wanted.extend(line);
            assert!(rig.get("log").unwrap() == wanted);
        }
        drop(log);
        assert!(rig.get("log").unwrap() == wanted);
    }
    rig.finish();
}

#[test]
fn a_directory_in_which_somebody_writes_is_not_empty() {
    let rig = Rig::writable();
    rig.run("mkdir d e");
    let mut file = File::create(rig.path("d/new")).unwrap();
    file.write_all(b"x").unwrap();
    assert_eq!(errno(fs::rename(rig.path("e"), rig.path("d"))), Some(libc::ENOTEMPTY));
    assert_eq!(errno(fs::remove_dir(rig.path("d"))), Some(libc::ENOTEMPTY));
    drop(file);
    assert_eq!(rig.keys(), ["d/", "d/new", "e/"]);
    rig.finish();
}
