//! What a mount writes says of itself on its backend what a PUT of it would say.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use crate::rig::Rig;

type Said = BTreeMap<String, String>;

/// Ours of the extended attributes of a file.
fn said(path: &Path) -> Said {
    let mut buffer = vec![0; 4096];
    let len = rustix::fs::listxattr(path, &mut buffer[..]).unwrap();
    let names: Vec<String> = String::from_utf8(buffer[..len].to_vec())
        .unwrap()
        .split_terminator('\0')
        .filter(|name| name.starts_with("user.s3o."))
        .map(str::to_owned)
        .collect();
    let value = |name: &String| {
        let len = rustix::fs::getxattr(path, name.as_str(), &mut buffer[..]).unwrap();
        String::from_utf8(buffer[..len].to_vec()).unwrap()
    };
    let values: Vec<String> = names.iter().map(value).collect();
    names.into_iter().map(|name| name["user.s3o.".len()..].to_owned()).zip(values).collect()
}

/// Of every blob on a disk: which part of which key it is, and of what type.
fn described(disk: &Path) -> Vec<(String, Option<String>, Option<String>)> {
    let mut all = Vec::new();
    for shard in fs::read_dir(disk.join("blobs")).unwrap() {
        for file in fs::read_dir(shard.unwrap().path()).unwrap() {
            let mut said = said(&file.unwrap().path());
            let key = said.remove("key").unwrap_or_default();
            all.push((key, said.remove("part"), said.remove("header.content-type")));
        }
    }
    all.sort();
    all
}

#[test]
fn files_say_their_key_and_type_and_pieces_which_they_are() {
    let disk = tempfile::tempdir().unwrap();
    let mut config = Rig::config();
    config.more.push(testkit::backends::disk("other", disk.path()));
    let rig = Rig::with(&["read_only = false"], config);
    fs::create_dir(rig.path("dir")).unwrap();
    fs::write(rig.path("dir/small.txt"), "x").unwrap();
    fs::write(rig.path("dir/large.png"), vec![7; 300_000]).unwrap();
    let mut log = fs::File::options().append(true).open(rig.path("dir/small.txt")).unwrap();
    log.write_all(b"more").unwrap();
    drop(log);
    let text = || Some("text/plain".to_owned());
    let one = |key: &str, part: Option<&str>, kind| (key.to_owned(), part.map(str::to_owned), kind);
    let wanted = [
        one("dir/", None, Some("application/x-directory".to_owned())),
        one("dir/large.png", None, Some("image/png".to_owned())),
        one("dir/small.txt", None, text()),
        one("dir/small.txt", Some("2"), text()),
    ];
    assert_eq!(described(disk.path()), wanted);
    // Within a directory a new name needs no mark, and so writes nothing.
    fs::rename(rig.path("dir/large.png"), rig.path("dir/again.png")).unwrap();
    assert_eq!(described(disk.path()), wanted);
    rig.finish();
}
