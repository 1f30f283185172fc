//! Programs that people use, in the mount.

use crate::rig::Rig;

fn installed(program: &str) -> bool {
    std::process::Command::new("which").arg(program).output().is_ok_and(|found| found.status.success())
}

#[test]
fn coreutils_and_shells_work() {
    let rig = Rig::writable();
    rig.run("echo hello > a && echo again > a && echo more >> a");
    assert_eq!(rig.get("a").unwrap(), "again\nmore\n");
    rig.run("touch t && touch t && test -f t");
    assert_eq!(rig.get("t").unwrap(), "");
    rig.run(
        "cp /etc/services cp1 && cp -p /etc/services cp2 && cmp cp1 /etc/services && cmp cp2 /etc/services",
    );
    rig.run("test $(stat -c %Y cp2) = $(stat -c %Y /etc/services)");
    rig.run("dd if=/dev/urandom of=dd bs=64k count=20 status=none && dd if=dd of=dd2 bs=4k status=none && cmp dd dd2");
    rig.run("dd if=/dev/zero of=dd3 bs=64k count=2 seek=1 status=none && test $(stat -c %s dd3) = 196608");
    rig.run("(echo one; echo two) > sub && sed -i s/one/1/ sub");
    assert_eq!(rig.get("sub").unwrap(), "1\ntwo\n");
    rig.run("mv sub moved && install -m 755 /etc/services inst && test -x inst");
    rig.run("mkdir d && cp -a /etc/services d/ && cp -a d e && diff -r d e");
    rig.run("tar -C / -cf x.tar etc/services && tar -xf x.tar && cmp etc/services /etc/services");
    rig.run("(ls; ls) > listing; (echo x; /bin/echo y) >> listing; tail -1 listing | grep -q y");
    rig.run("rm -r etc d e && rm -f *");
    assert_eq!(rig.keys(), Vec::<String>::new());
    rig.finish();
}

#[test]
fn rsync_keeps_a_tree() {
    if !installed("rsync") {
        return eprintln!("rsync is not installed: not tried");
    }
    let rig = Rig::writable();
    let from = tempfile::tempdir().unwrap();
    for name in ["a", "b c", "d/e"] {
        let path = from.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, name.repeat(20_000)).unwrap();
    }
    let from = from.path().display();
    rig.run(&format!("rsync -a {from}/ tree/ && diff -r {from} tree"));
    // The second time nothing is to be done: sizes and times are the same.
    assert_eq!(rig.run(&format!("rsync -ai {from}/ tree/ | grep -c '^>f' || true")), "0\n");
    rig.run(&format!("echo more >> {from}/a && rsync -a {from}/ tree/ && cmp {from}/a tree/a"));
    rig.finish();
}

#[test]
fn git_clones_into_it() {
    if !installed("git") {
        return eprintln!("git is not installed: not tried");
    }
    let rig = Rig::writable();
    let from = tempfile::tempdir().unwrap();
    let path = from.path().display();
    rig.run(&format!(
        "cd {path} && git init -q . && git config user.email a@b && git config user.name a && \
         for n in $(seq 40); do echo $n > f$n; done && git add . && git commit -qm one"
    ));
    rig.run(&format!("git clone -q {path} clone && cd clone && git status --porcelain && git log --oneline"));
    assert_eq!(rig.run("cd clone && git status --porcelain"), "");
    assert_eq!(rig.get("clone/f7").unwrap(), "7\n");
    rig.finish();
}

#[test]
fn a_database_is_read() {
    if !installed("sqlite3") {
        return eprintln!("sqlite3 is not installed: not tried");
    }
    let rig = Rig::writable();
    let made = tempfile::tempdir().unwrap();
    let path = made.path().join("x.db");
    rig.run(&format!("sqlite3 {} 'create table t(a); insert into t values(7);'", path.display()));
    rig.put("x.db", std::fs::read(&path).unwrap());
    assert_eq!(rig.run("sqlite3 'file:x.db?immutable=1' 'select a from t'"), "7\n");
    rig.finish();
}

#[test]
fn editors_save_by_rename_or_by_writing_anew() {
    let rig = Rig::writable();
    rig.put("f", "old");
    // As vim does with `backupcopy=no`, and most others: a copy beside it, synced, under the old name.
    rig.run("echo new > .f.swp && sync .f.swp && mv f f~ && mv .f.swp f && rm f~");
    assert_eq!(rig.get("f").unwrap(), "new\n");
    // As vim does with `backupcopy=yes`, and nano.
    rig.run("cp -p f f~ && echo newer > f && sync f && rm f~");
    assert_eq!(rig.get("f").unwrap(), "newer\n");
    assert_eq!(rig.keys(), ["f"]);
    rig.finish();
}

/// What does not work says so, and leaves what was there.
#[test]
fn what_is_not_supported_fails_clearly() {
    let rig = Rig::writable();
    rig.put("f", "0123456789");
    for (line, why) in [
        ("echo X | dd of=f conv=notrunc bs=1 seek=3 status=none", "Operation not supported"),
        ("truncate -s 4 f", "Operation not supported"),
        ("ln f g", "Operation not permitted"),
        ("ln -s f g", "Operation not permitted"),
        ("mkfifo g", "Operation not permitted"),
        ("mknod g c 1 3", "Operation not permitted"),
    ] {
        let (good, text) = rig.shell(line);
        assert!(!good && text.contains(why), "{line}: {text}");
    }
    assert_eq!((rig.get("f").unwrap().as_ref(), rig.keys().len()), (&b"0123456789"[..], 1));
    // An archive with links: the rest of it is there.
    let archive = tempfile::tempdir().unwrap();
    let path = archive.path().display();
    rig.run(&format!("cd {path} && mkdir d && echo x > d/x && ln -s x d/link && tar -cf a.tar d"));
    let (good, text) = rig.shell(&format!("tar -xf {path}/a.tar"));
    assert!(!good && text.contains("d/link"), "{text}");
    assert_eq!(rig.get("d/x").unwrap(), "x\n");
    if installed("sqlite3") {
        rig.run(&format!("sqlite3 {path}/x.db 'create table t(a)' && cp {path}/x.db ."));
        let (good, text) = rig.shell("sqlite3 x.db 'insert into t values(1)'");
        assert!(!good, "{text}");
        assert_eq!(rig.run("sqlite3 'file:x.db?immutable=1' 'select count(*) from t'"), "0\n");
    }
    rig.finish();
}
