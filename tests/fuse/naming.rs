//! Names that are made, moved and removed through the mount.

use crate::rig::Rig;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;

fn errno(result: std::io::Result<()>) -> i32 {
    result.unwrap_err().raw_os_error().unwrap()
}

#[test]
fn directories_are_markers_and_stay_when_they_are_emptied() {
    let rig = Rig::writable();
    fs::create_dir(rig.path("d")).unwrap();
    assert_eq!(rig.keys(), ["d/"]);
    assert_eq!(rig.get("d/").unwrap(), "");
    assert_eq!(errno(fs::create_dir(rig.path("d"))), libc::EEXIST);
    rig.put("p/q/f", "x");
    fs::remove_file(rig.path("p/q/f")).unwrap();
    assert_eq!(rig.keys(), ["d/", "p/q/"]);
    assert_eq!(errno(fs::remove_dir(rig.path("p"))), libc::ENOTEMPTY);
    fs::remove_dir(rig.path("p/q")).unwrap();
    assert_eq!(rig.keys(), ["d/", "p/"]);
    fs::remove_dir(rig.path("p")).unwrap();
    fs::remove_dir(rig.path("d")).unwrap();
    assert_eq!(rig.keys(), Vec::<String>::new());
    assert_eq!(errno(fs::remove_dir(rig.path("d"))), libc::ENOENT);
    rig.put("f", "x");
    assert_eq!(errno(fs::remove_dir(rig.path("f"))), libc::ENOTDIR);
    assert_eq!(errno(fs::create_dir(rig.path("f/x"))), libc::ENOTDIR);
    rig.run("mkdir -p a/b/c && echo x > a/b/c/f && rm -r a");
    assert_eq!(rig.keys(), ["f"]);
    rig.finish();
}

#[test]
fn files_move_onto_others_in_one_step() {
    let rig = Rig::writable();
    rig.put("a", "from a");
    rig.put("d/b", "from b");
    let number = fs::metadata(rig.path("a")).unwrap().ino();
    let mut open = File::open(rig.path("d/b")).unwrap();
    fs::rename(rig.path("a"), rig.path("d/b")).unwrap();
    assert_eq!(rig.get("d/b").unwrap(), "from a");
    assert_eq!(rig.get("a"), None);
    assert_eq!(fs::metadata(rig.path("d/b")).unwrap().ino(), number);
    assert_eq!(fs::read(rig.path("d/b")).unwrap(), b"from a");
    let mut old = String::new();
    open.read_to_string(&mut old).unwrap();
    assert_eq!(old, "from b");
    rig.put("c", "c");
    rig.run("mv -n c d/b; test -e c");
    assert_eq!(errno(fs::rename(rig.path("c"), rig.path("d"))), libc::EISDIR);
    assert_eq!(errno(fs::rename(rig.path("d"), rig.path("c"))), libc::ENOTDIR);
    assert_eq!(errno(fs::rename(rig.path("none"), rig.path("c"))), libc::ENOENT);
    rig.run(
        "python3 -c 'import os,ctypes; l=ctypes.CDLL(None,use_errno=True); \
        import sys; sys.exit(l.renameat2(-100,b\"c\",-100,b\"d/b\",2))'",
    );
    assert_eq!((rig.get("c").unwrap(), rig.get("d/b").unwrap()), ("from a".into(), "c".into()));
    assert_eq!(rig.run("cat c d/b"), "from ac");
    rig.finish();
}

#[test]
fn whole_trees_move_in_one_step() {
    let rig = Rig::writable();
    for number in 0..300 {
        rig.put(&format!("t/{}/f{number}", number % 5), format!("{number}"));
    }
    rig.put("t-x", "beside");
    let number = fs::metadata(rig.path("t")).unwrap().ino();
    assert_eq!(errno(fs::rename(rig.path("t"), rig.path("t/0/t"))), libc::EINVAL);
    fs::rename(rig.path("t"), rig.path("u")).unwrap();
    assert_eq!(rig.names(""), ["t-x", "u"]);
    assert_eq!(fs::metadata(rig.path("u")).unwrap().ino(), number);
    assert_eq!(rig.names("u").len(), 5);
    assert_eq!(fs::read(rig.path("u/3/f8")).unwrap(), b"8");
    assert_eq!(rig.get("u/3/f8").unwrap(), "8");
    assert_eq!(rig.get("t/3/f8"), None);
    // What comes to the old name is new, and what comes to the new one is seen.
    rig.put("t/3/f8", "again");
    assert_eq!(fs::read(rig.path("t/3/f8")).unwrap(), b"again");
    rig.put("u/3/f8", "later");
    assert_eq!(fs::read(rig.path("u/3/f8")).unwrap(), b"later");
    fs::create_dir(rig.path("empty")).unwrap();
    fs::rename(rig.path("u"), rig.path("empty")).unwrap();
    assert_eq!(fs::read(rig.path("empty/0/f0")).unwrap(), b"0");
    fs::create_dir(rig.path("v")).unwrap();
    fs::write(rig.path("v/x"), "").unwrap();
    assert_eq!(errno(fs::rename(rig.path("empty"), rig.path("v"))), libc::ENOTEMPTY);
    rig.run("rm -r empty v t");
    assert_eq!(rig.keys(), ["t-x"]);
    rig.finish();
}

#[test]
fn a_file_in_the_making_takes_the_name_that_it_has_when_it_is_whole() {
    let rig = Rig::writable();
    let mut file = File::create(rig.path("tmp")).unwrap();
    file.write_all(b"saved").unwrap();
    fs::rename(rig.path("tmp"), rig.path("final")).unwrap();
    assert_eq!(rig.keys(), Vec::<String>::new());
    drop(file);
    assert_eq!(rig.keys(), ["final"]);
    assert_eq!(rig.get("final").unwrap(), "saved");
    let mut file = File::create(rig.path("gone")).unwrap();
    file.write_all(b"x").unwrap();
    fs::remove_file(rig.path("gone")).unwrap();
    drop(file);
    assert_eq!(rig.keys(), ["final"]);
    rig.finish();
}

#[test]
fn what_is_no_file_or_directory_is_refused() {
    let rig = Rig::writable();
    rig.put("a", "x");
    for line in ["ln a b", "ln -s a b", "mkfifo b", "mknod b c 1 3"] {
        let (good, text) = rig.shell(line);
        assert!(!good && text.contains("not permitted"), "{line}: {text}");
    }
    assert_eq!(rig.keys(), ["a"]);
    rig.finish();
}

#[test]
fn mutations_through_the_mount_are_in_the_next_listing_of_both_faces() {
    let rig = Rig::writable();
    for round in 0..200 {
        let name = format!("f{round}");
        fs::write(rig.path(&name), &name).unwrap();
        assert_eq!(rig.keys(), std::slice::from_ref(&name));
        assert_eq!(rig.names(""), std::slice::from_ref(&name));
        match round % 4 {
            0 => fs::remove_file(rig.path(&name)).unwrap(),
            1 => {
                fs::rename(rig.path(&name), rig.path("moved")).unwrap();
                assert_eq!(rig.names(""), ["moved"]);
                assert_eq!(rig.get("moved").unwrap(), name.as_str());
                rig.delete("moved");
            }
            2 => {
                fs::create_dir(rig.path("d")).unwrap();
                fs::rename(rig.path(&name), rig.path("d/x")).unwrap();
                assert_eq!(rig.keys(), ["d/", "d/x"]);
                assert_eq!(rig.names("d"), ["x"]);
                fs::remove_file(rig.path("d/x")).unwrap();
                fs::remove_dir(rig.path("d")).unwrap();
            }
            _ => rig.delete(&name),
        }
        assert_eq!(rig.names(""), Vec::<String>::new(), "round {round}");
    }
    rig.finish();
}
