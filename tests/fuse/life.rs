//! How mounts begin and end.

use crate::rig::{Rig, detach};
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use testkit::Node;

#[test]
fn a_stop_unmounts_also_what_is_in_use() {
    let mut rig = Rig::read_only();
    rig.put("a", "x");
    let _open = File::open(rig.path("a")).unwrap();
    let root = rig.root();
    rig.stop_and_restart();
    assert_eq!(fs::read(root.join("a")).unwrap(), b"x");
}

#[test]
fn a_mount_that_a_crash_left_is_replaced() {
    let mut rig = Rig::read_only();
    rig.put("a", vec![1; 500_000]);
    let mut open = File::open(rig.path("a")).unwrap();
    open.read_exact(&mut [0; 10]).unwrap();
    rig.kill_and_restart();
    assert_eq!(fs::read(rig.path("a")).unwrap().len(), 500_000);
    drop(open);
    rig.finish();
}

#[test]
fn a_place_that_is_not_empty_is_refused_unless_wanted() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("mine"), "1").unwrap();
    let config = |more: &str| {
        let mut config = Rig::config();
        let path = dir.path().display();
        config.more.push(format!("[[mounts]]\nbucket = \"test-bucket\"\npath = \"{path}\"\n{more}"));
        config
    };
    let refused = Node::start(config("")).err().unwrap();
    assert!(format!("{refused:#}").contains("not empty"), "{refused:#}");
    let mut node = Node::start(config("nonempty = true")).unwrap();
    assert_eq!(crate::rig::names(dir.path()), Vec::<String>::new());
    assert!(node.sigterm().unwrap().success());
    assert_eq!(crate::rig::names(dir.path()), ["mine"]);
    detach(dir.path());
}

#[test]
fn somebody_else_may_unmount() {
    let rig = Rig::read_only();
    rig.put("a", "x");
    detach(&rig.root());
    rig.put("b", "y");
    assert_eq!(rig.get("a").unwrap(), "x");
    rig.finish();
}

/// nobody's number on every system.
const NOBODY: u32 = 65_534;

/// As udev makes it; a container may have it for root only.
struct Everybody(fs::Permissions);

impl Everybody {
    fn may_open_the_device() -> Self {
        let before = fs::metadata("/dev/fuse").unwrap().permissions();
        fs::set_permissions("/dev/fuse", fs::Permissions::from_mode(0o666)).unwrap();
        Self(before)
    }
}

impl Drop for Everybody {
    fn drop(&mut self) {
        fs::set_permissions("/dev/fuse", self.0.clone()).unwrap();
    }
}

#[test]
fn an_ordinary_user_mounts_with_the_helper() {
    if Command::new("fusermount3").arg("-V").output().is_err() {
        return eprintln!("fusermount3 is not installed: not tried");
    }
    let _everybody = Everybody::may_open_the_device();
    let dir = tempfile::tempdir().unwrap();
    let (binary, mount) = (dir.path().join("node"), dir.path().join("mnt"));
    fs::create_dir(&mount).unwrap();
    // The build may lie where others may not look.
    fs::copy(Rig::config().binary, dir.path().join("s3-orchestrator")).unwrap();
    let as_nobody = format!("setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups");
    let script = format!("#!/bin/sh\nexec {as_nobody} {}/s3-orchestrator \"$@\"\n", dir.path().display());
    fs::write(&binary, script).unwrap();
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
    let mut config = testkit::NodeConfig { binary, ..Rig::config() };
    let place = mount.display();
    config
        .more
        .push(format!("[[mounts]]\nbucket = \"test-bucket\"\npath = \"{place}\"\nread_only = false\n"));
    let mut node = Node::prepare(config).unwrap();
    let home = node.config_path().parent().unwrap().to_owned();
    let owned = Command::new("chown").args(["-R", &NOBODY.to_string()]).arg(&home).arg(dir.path()).status();
    assert!(owned.unwrap().success());
    node.run().unwrap();
    let line =
        "cd mnt && echo hello > a && cat a && mkdir d && mv a d/b && ls d && test $(stat -c %u d) = 65534";
    let shell = format!("cd {} && exec {as_nobody} sh -c '{line}'", dir.path().display());
    let ran = Command::new("sh").args(["-c", &shell]).output().unwrap();
    let said = String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned();
    let stopped = node.sigterm();
    detach(&mount);
    assert_eq!(said, "hello\nb\n", "{}", node.log_tail());
    assert!(stopped.unwrap().success());
    assert!(!fs::read_to_string("/proc/self/mountinfo").unwrap().contains(&place.to_string()));
}
