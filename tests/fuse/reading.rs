//! What a read-only mount shows of objects, and what it refuses.

use crate::rig::Rig;
use std::fs::{self, File};
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::process::Command;
use std::time::Duration;

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()[7]).collect()
}

#[test]
fn objects_are_files_in_directories() {
    let rig = Rig::read_only();
    rig.put("a.txt", "hello");
    rig.put("dir/b.txt", "world!");
    rig.put("dir/deeper/c", "");
    rig.put("empty/", "");
    assert_eq!(rig.names(""), ["a.txt", "dir", "empty"]);
    assert_eq!(rig.names("dir"), ["b.txt", "deeper"]);
    assert_eq!(rig.names("empty"), Vec::<String>::new());
    assert_eq!(fs::read(rig.path("dir/b.txt")).unwrap(), b"world!");
    assert_eq!(fs::read(rig.path("dir/deeper/c")).unwrap(), b"");
    let file = fs::metadata(rig.path("a.txt")).unwrap();
    assert_eq!((file.len(), file.mode(), file.nlink(), file.blocks()), (5, 0o100_644, 1, 1));
    let dir = fs::metadata(rig.path("dir")).unwrap();
    assert_eq!((dir.is_dir(), dir.mode()), (true, 0o40755));
    assert_eq!(fs::metadata(rig.path("nothing")).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(fs::metadata(rig.path("a.txt/x")).unwrap_err().kind(), ErrorKind::NotADirectory);
}

#[test]
fn every_byte_of_every_size_is_read_back_from_anywhere() {
    let rig = Rig::read_only();
    for size in [0, 1, 4095, 16 << 10, (16 << 10) + 1, 128 << 10, (128 << 10) + 1, 3_000_000] {
        let (key, body) = (format!("size-{size}"), pattern(size));
        rig.put(&key, body.clone());
        assert!(fs::read(rig.path(&key)).unwrap() == body, "{size} bytes");
        let file = File::open(rig.path(&key)).unwrap();
        for offset in [0, 1, 4096, 131_071, 131_072, 200_000, size.saturating_sub(3), size, size + 10] {
            let mut buffer = vec![0; 70_000];
            let got = file.read_at(&mut buffer, offset as u64).unwrap();
            let wanted = body.get(offset..).unwrap_or_default();
            let wanted = &wanted[..wanted.len().min(buffer.len())];
            assert!(&buffer[..got] == wanted, "{size} bytes at {offset}: {got}");
        }
        let mut end = file;
        end.seek(SeekFrom::End(0)).unwrap();
        assert_eq!(end.read(&mut [0; 10]).unwrap(), 0);
    }
}

#[test]
fn multipart_objects_are_one_file() {
    let rig = Rig::read_only();
    let client = rig.client();
    let parts = [pattern(5 << 20), pattern((5 << 20) + 77), pattern(1000)];
    rig.runtime.block_on(async {
        let begun = client.create_upload("multi").await.unwrap();
        let id = begun.xml().unwrap().text_of("UploadId").to_owned();
        let mut named = Vec::new();
        for (number, part) in (1..).zip(&parts) {
            let sent = client.put_part("multi", &id, number, part.clone()).await.unwrap();
            named.push((number, sent.etag()));
        }
        assert!(client.complete("multi", &id, &named, &[]).await.unwrap().is_success());
    });
    assert!(fs::read(rig.path("multi")).unwrap() == parts.concat());
}

#[test]
fn times_modes_and_owners_come_from_metadata() {
    let rig = Rig::read_only();
    let headers = [
        ("x-amz-meta-mtime", "1700000000.250000000"),
        ("x-amz-meta-mode", "100600"),
        ("x-amz-meta-uid", "1234"),
        ("x-amz-meta-gid", "4321"),
    ];
    rig.put_with("kept", "x", &headers);
    let kept = fs::metadata(rig.path("kept")).unwrap();
    assert_eq!((kept.mtime(), kept.mtime_nsec()), (1_700_000_000, 250_000_000));
    assert_eq!((kept.mode(), kept.uid(), kept.gid()), (0o100_600, 1234, 4321));
}

#[test]
fn a_read_only_mount_refuses_every_change() {
    let rig = Rig::read_only();
    rig.put("a", "x");
    let refused = |result: std::io::Result<()>| {
        assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::EROFS));
    };
    refused(fs::write(rig.path("a"), "y"));
    refused(fs::write(rig.path("new"), "y"));
    refused(fs::remove_file(rig.path("a")));
    refused(fs::create_dir(rig.path("d")));
    refused(fs::rename(rig.path("a"), rig.path("b")));
    refused(File::open(rig.path("a")).unwrap().set_permissions(fs::Permissions::from_mode(0o600)));
    assert_eq!(rig.get("a").unwrap(), "x");
}

#[test]
fn a_handle_reads_the_version_that_it_opened() {
    let rig = Rig::read_only();
    let (old, new) = (pattern(1_000_000), vec![7; 500_000]);
    rig.put("x", old.clone());
    let mut before = File::open(rig.path("x")).unwrap();
    let mut start = vec![0; 1000];
    before.read_exact(&mut start).unwrap();
    rig.put("x", new.clone());
    let mut gone = File::open(rig.path("x")).unwrap();
    rig.delete("x");
    std::thread::sleep(std::time::Duration::from_secs(1));
    let mut rest = Vec::new();
    before.read_to_end(&mut rest).unwrap();
    start.extend(rest);
    assert!(start == old);
    let mut all = Vec::new();
    gone.read_to_end(&mut all).unwrap();
    assert!(all == new);
    assert_eq!(File::open(rig.path("x")).unwrap_err().kind(), ErrorKind::NotFound);
    drop((before, gone));
    rig.finish();
}

#[test]
fn numbers_are_the_same_after_a_restart() {
    let mut rig = Rig::read_only();
    rig.put("d/f", "x");
    let numbers = |rig: &Rig| ["d", "d/f"].map(|name| fs::metadata(rig.path(name)).unwrap().ino());
    let before = numbers(&rig);
    rig.stop_and_restart();
    assert_eq!(numbers(&rig), before);
}

#[test]
fn a_hundred_thousand_files_are_listed_once_each() {
    let config = testkit::NodeConfig { durability: Some("process-crash".to_owned()), ..Rig::config() };
    let rig = Rig::with(&[""], config);
    const FILES: usize = 100_000;
    let client = rig.client();
    rig.runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for lane in 0..32 {
            let client = client.clone();
            tasks.spawn(async move {
                for number in (lane..FILES).step_by(32) {
                    client.put(&format!("many/f{number:06}"), "").await.unwrap();
                }
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap();
        }
    });
    let names = rig.names("many");
    assert_eq!(names.len(), FILES);
    assert!(names.iter().enumerate().all(|(number, name)| *name == format!("f{number:06}")));
    let listed = Command::new("ls").arg("-l").arg(rig.path("many")).output().unwrap();
    assert!(listed.status.success());
    assert_eq!(listed.stdout.iter().filter(|byte| **byte == b'\n').count(), FILES + 1);
}

#[test]
fn the_file_system_says_what_room_there_is() {
    let config = Rig::config().bucket(testkit::BucketConfig::new("test-bucket").quota("10MB"));
    let rig = Rig::with(&[""], config);
    rig.put("a", vec![0; 1_000_000]);
    let room = |rig: &Rig| {
        let text = Command::new("stat").args(["-f", "-c", "%S %b %f %l %c %d"]).arg(rig.root()).output();
        let text = String::from_utf8(text.unwrap().stdout).unwrap();
        text.split_whitespace().map(|n| n.parse::<u64>().unwrap()).collect::<Vec<_>>()
    };
    let [block, total, free, name, files, free_files] = room(&rig)[..] else { panic!() };
    assert!((9_900_000..=10_010_000).contains(&(total * block)), "{total}");
    assert!((8_900_000..=9_000_000).contains(&(free * block)), "{free}");
    assert_eq!((name, files - free_files), (1024, 1));
    rig.delete("a");
    assert!(room(&rig)[2] * block > 9_900_000);
}

/// What a process has read by system calls.
fn read_by(process: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{process}/io")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap();
    line.parse().unwrap()
}

/// How much the node reads while all of a file is read.
fn read_for(rig: &Rig, name: &str, body: &[u8]) -> u64 {
    let before = read_by(rig.node.pid());
    assert!(fs::read(rig.path(name)).unwrap() == body);
    read_by(rig.node.pid()) - before
}

fn the_kernel_reads_by_itself(mut rig: Rig) {
    let body = vec![7; 8 << 20];
    rig.put("by-s3", body.clone());
    fs::write(rig.path("by-mount"), &body).unwrap();
    for name in ["by-s3", "by-mount"] {
        let read = read_for(&rig, name, &body);
        assert!(read < 1 << 20, "{name}: the node read {read} bytes");
    }
    // A release that comes when the next open is under way takes nothing away from it.
    let again: u64 = (0..200).map(|_| read_for(&rig, "by-s3", &body)).sum();
    assert!(again < 8 << 20, "the node read {again} bytes in 200 opens");
    // A node that has not seen the bytes yet reads them first.
    rig.stop_and_restart();
    assert!(read_for(&rig, "by-s3", &body) >= 8 << 20);
    let by_itself = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        fs::write("/proc/sys/vm/drop_caches", "1").unwrap();
        read_for(&rig, "by-s3", &body) < 1 << 20
    });
    assert!(by_itself);
    rig.finish();
}

#[test]
fn the_kernel_reads_large_files_of_the_data_directory_by_itself() {
    the_kernel_reads_by_itself(Rig::writable());
}

#[test]
fn the_kernel_reads_large_files_of_another_disk_by_itself() {
    let disk = tempfile::tempdir().unwrap();
    let mut config = Rig::config();
    config.more.push(testkit::backends::disk("other", disk.path()));
    the_kernel_reads_by_itself(Rig::with(&["read_only = false"], config));
}
