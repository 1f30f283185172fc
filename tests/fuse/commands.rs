//! Mounts that come and go with commands of the running node.

use crate::rig::{Rig, detach, names};
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Output};
use testkit::Node;

/// A place that is left as it was found.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::Builder::new().prefix("s3o-mnt-").tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn text(&self) -> String {
        self.path().display().to_string()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        detach(self.path());
    }
}

fn start() -> (Rig, Place) {
    (Rig::with(&[], Rig::config()), Place::new())
}

fn ask(node: &Node, command: &str, arguments: &[&str]) -> Output {
    node.command(command).args(arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

fn good(node: &Node, command: &str, arguments: &[&str]) -> String {
    let output = ask(node, command, arguments);
    assert!(output.status.success(), "{command} {arguments:?}: {}", said(&output));
    said(&output)
}

fn refused(node: &Node, command: &str, arguments: &[&str], why: &str) {
    let output = ask(node, command, arguments);
    let text = said(&output);
    assert!(output.status.code() == Some(1) && text.contains(why), "{command} {arguments:?}: {text}");
}

fn document(node: &Node, command: &str, arguments: &[&str]) -> serde_json::Value {
    let text = good(node, command, &[arguments, &["--json"]].concat());
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn a_mount_comes_and_goes_while_the_node_runs() {
    let (rig, place) = start();
    let (node, dir) = (&rig.node, place.text());
    rig.put("photos/a", "x");
    assert_eq!(good(node, "mounts", &[]), "  nothing is mounted\n");
    let text = good(node, "mount", &["test-bucket", &dir, "-o", "rw,prefix=photos,uid=7,file_mode=0640"]);
    assert!(text.contains("test-bucket/photos/ is mounted on") && text.contains("writable"), "{text}");
    assert_eq!(names(place.path()), ["a"]);
    let attributes = fs::metadata(place.path().join("a")).unwrap();
    assert_eq!((attributes.uid(), attributes.mode() & 0o777), (7, 0o640));
    fs::write(place.path().join("b"), "written").unwrap();
    assert_eq!(rig.get("photos/b").unwrap(), "written");
    let shown = &document(node, "mounts", &[])["mounts"][0];
    let text = |name: &str| shown[name].as_str().unwrap_or_default().to_owned();
    assert_eq!(
        (text("bucket"), text("prefix"), text("path")),
        ("test-bucket".into(), "photos/".into(), dir.clone())
    );
    assert_eq!(
        (&shown["read_only"], &shown["lasting"], &shown["hidden"]),
        (&false.into(), &false.into(), &().into())
    );
    assert!(good(node, "status", &[]).contains("\nMounts:\n"), "status does not show the mount");
    assert_eq!(document(node, "status", &[])["mounts"][0]["path"], dir.as_str());
    assert_eq!(good(node, "umount", &[&dir]), format!("{dir} is unmounted\n"));
    assert_eq!(names(place.path()), Vec::<String>::new());
    assert_eq!(good(node, "mounts", &[]), "  nothing is mounted\n");
    rig.finish();
}

#[test]
fn it_is_read_only_unless_asked_and_ends_with_the_node() {
    let (mut rig, place) = start();
    rig.put("a", "x");
    good(&rig.node, "mount", &["test-bucket", &place.text()]);
    let refused = fs::write(place.path().join("b"), "").unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::EROFS));
    assert!(rig.node.sigterm().unwrap().success());
    assert_eq!(names(place.path()), Vec::<String>::new());
    rig.node.run().unwrap();
    assert_eq!(good(&rig.node, "mounts", &[]), "  nothing is mounted\n");
}

#[test]
fn what_cannot_be_mounted_has_a_reason() {
    let (rig, place) = start();
    let (node, dir) = (&rig.node, place.text());
    refused(node, "mount", &["other", &dir], "there is no bucket other");
    refused(node, "mount", &["test-bucket", "/nowhere/at/all"], "cannot mount on /nowhere/at/all");
    refused(node, "mount", &["test-bucket", &dir, "-o", "shiny"], "\"shiny\" is not an option");
    refused(node, "mount", &["test-bucket", &dir, "-o", "prefix=a//b"], "not a path below the bucket");
    refused(node, "umount", &[&dir], "nothing mounted on");
    fs::write(place.path().join("mine"), "").unwrap();
    refused(node, "mount", &["test-bucket", &dir], "not empty");
    good(node, "mount", &["test-bucket", &dir, "-o", "nonempty"]);
    refused(node, "mount", &["test-bucket", &dir], "mounted there already");
    good(node, "umount", &[&dir]);
    assert_eq!(names(place.path()), ["mine"]);
}

#[test]
fn what_is_open_outlives_its_mount() {
    let (rig, place) = start();
    let (node, dir) = (&rig.node, place.text());
    rig.put("a", vec![5; 300_000]);
    good(node, "mount", &["test-bucket", &dir, "-o", "rw"]);
    let mut open = File::open(place.path().join("a")).unwrap();
    let mut written = File::create(place.path().join("w")).unwrap();
    written.write_all(b"half").unwrap();
    let text = good(node, "umount", &[&dir]);
    assert!(text.contains("still open"), "{text}");
    assert_eq!(rig.get("w").unwrap(), "half", "what is being written is committed first");
    assert!(good(node, "mounts", &[]).contains("unmounted, in use"));
    let mut bytes = Vec::new();
    open.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, vec![5; 300_000]);
    good(node, "mount", &["test-bucket", &dir]);
    assert_eq!(names(place.path()), ["a", "w"]);
    drop((open, written));
    good(node, "umount", &[&dir]);
    rig.finish();
}

#[test]
fn hidden_keys_are_listed_with_their_reason() {
    let (rig, place) = start();
    for key in ["a", "a/b", "x//y", "deep/./z", "good"] {
        rig.put(key, "1");
    }
    good(&rig.node, "mount", &["test-bucket", &place.text()]);
    let text = good(&rig.node, "mounts", &["--hidden"]);
    let expected = format!(
        "\n{} hides 3 keys: empty 1, dots 1, nul 0, shadowed 1\n  shadowed  a\n  dots      deep/./z\n  empty     x//y\n",
        place.text()
    );
    assert!(text.ends_with(&expected), "{text}");
    let shown = document(&rig.node, "mounts", &["--hidden"]);
    assert_eq!(shown["mounts"][0]["hidden"]["keys"][2]["key"], "x//y");
    assert_eq!(shown["mounts"][0]["hidden"]["or_more"], false);
}

/// As mount(8) calls it for a line of fstab.
/// What of the configuration is new, gone, changed or not to be had, while a mount that stays is in use.
#[test]
fn mounts_of_the_configuration_follow_a_reload() {
    let (rig, stays) = start();
    let (node, comes, changes) = (&rig.node, Place::new(), Place::new());
    rig.put("a", "x");
    let before = fs::read_to_string(node.config_path()).unwrap();
    let section = |place: &Place, more: &str| {
        format!("\n[[mounts]]\nbucket = \"test-bucket\"\npath = \"{}\"\n{more}", place.text())
    };
    let reload = |mounts: &[String]| {
        fs::write(node.config_path(), before.clone() + &mounts.concat()).unwrap();
        good(node, "reload", &[])
    };
    reload(&[section(&stays, ""), section(&changes, "")]);
    let mut open = File::open(stays.path().join("a")).unwrap();
    assert!(fs::write(changes.path().join("b"), "x").is_err(), "it is for reading only");

    let nowhere = "\n[[mounts]]\nbucket = \"test-bucket\"\npath = \"/nonexistent\"\n".to_owned();
    let said = reload(&[
        section(&stays, ""),
        section(&changes, "read_only = false\n"),
        section(&comes, ""),
        nowhere,
    ]);
    assert!(said.contains("cannot mount on /nonexistent"), "{said}");
    assert_eq!(names(comes.path()), ["a"]);
    fs::write(changes.path().join("b"), "written").unwrap();
    let mut text = String::new();
    open.read_to_string(&mut text).unwrap();
    assert_eq!(text, "x");
    drop(open);

    // Somebody else's umount is made good.
    detach(stays.path());
    reload(&[section(&stays, "")]);
    assert_eq!(names(stays.path()), ["a", "b"]);
    assert_eq!(document(node, "mounts", &[])["mounts"].as_array().map(Vec::len), Some(1));
    reload(&[]);
    assert_eq!(good(node, "mounts", &[]), "  nothing is mounted\n");
}

#[test]
fn the_helper_mounts_by_a_line_of_fstab() {
    let (rig, place) = start();
    rig.put("a", "x");
    let home = tempfile::tempdir().unwrap();
    let helper = home.path().join("mount.s3-orchestrator");
    std::os::unix::fs::symlink(Rig::config().binary, &helper).unwrap();
    let options = format!("rw,config={},_netdev,nofail,wait=5", rig.node.config_path().display());
    let output = Command::new(&helper).args(["test-bucket", &place.text(), "-o", &options]).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    fs::write(place.path().join("b"), "y").unwrap();
    assert_eq!(rig.get("b").unwrap(), "y");
    // umount(8) alone is enough; the node notices.
    assert!(Command::new("umount").arg(place.path()).status().unwrap().success());
    assert_eq!(good(&rig.node, "mounts", &[]), "  nothing is mounted\n");
    rig.finish();
}
