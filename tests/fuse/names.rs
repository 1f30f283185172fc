//! Keys that a file system cannot show, and keys that it can although others cannot.

use crate::rig::Rig;
use std::fs;

#[test]
fn odd_keys_are_shown_or_hidden_by_one_rule() {
    let rig = Rig::read_only();
    let long = "n".repeat(300);
    let longest = "m".repeat(1024);
    for shown in
        ["a", "ümläut", "with space", "...", ".hidden", "new\nline", "\u{1}", "ctl/\u{7f}", &long, &longest]
    {
        rig.put(shown, "x");
        assert_eq!(fs::read(rig.path(shown)).unwrap(), b"x", "{shown:?}");
    }
    for hidden in ["/lead", "x//y", "z/./y", "w/../y", "v/..", ".", "..", "u//"] {
        rig.put(hidden, "x");
    }
    let mut wanted =
        vec!["a", "ümläut", "with space", "...", ".hidden", "new\nline", "\u{1}", "ctl", &long, &longest];
    wanted.sort_unstable();
    assert_eq!(rig.names(""), wanted);
    for phantom in ["x", "z", "w", "v", "u"] {
        assert!(fs::metadata(rig.path(phantom)).is_err(), "{phantom}");
    }
    rig.put("x/seen", "1");
    assert_eq!(rig.names("x"), ["seen"]);
    rig.delete("x/seen");
    assert!(fs::metadata(rig.path("x")).is_err());
}

#[test]
fn a_directory_hides_an_object_of_its_name() {
    let rig = Rig::read_only();
    rig.put("a", "file");
    rig.put("a-b", "1");
    rig.put("a.b", "2");
    assert!(fs::metadata(rig.path("a")).unwrap().is_file());
    rig.put("a/b", "inside");
    assert!(fs::metadata(rig.path("a")).unwrap().is_dir());
    assert_eq!(rig.names(""), ["a", "a-b", "a.b"]);
    assert_eq!(rig.names("a"), ["b"]);
    assert_eq!(rig.get("a").unwrap(), "file");
    rig.delete("a/b");
    assert_eq!(fs::read(rig.path("a")).unwrap(), b"file");
    assert_eq!(rig.names(""), ["a", "a-b", "a.b"]);
}

#[test]
fn a_prefix_is_a_root() {
    let rig = Rig::with(&["prefix = \"in/side\""], Rig::config());
    rig.put("out", "0");
    rig.put("in/side/a", "1");
    rig.put("in/sideways", "2");
    assert_eq!(rig.names(""), ["a"]);
    rig.put("in/side/d/b", "3");
    assert_eq!(rig.names(""), ["a", "d"]);
    rig.delete("in/side/a");
    rig.delete("in/side/d/b");
    assert_eq!(rig.names(""), Vec::<String>::new());
}
