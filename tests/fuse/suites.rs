//! Suites that others wrote for file systems. `scripts/test-deps.sh` installs them.

use crate::rig::Rig;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

/// What a mount has; links, devices, FIFOs, sockets and flags it has not.
const GROUPS: [&str; 10] = [
    "chmod::",
    "chown::",
    "ftruncate::",
    "mkdir::",
    "open::",
    "rename::",
    "rmdir::",
    "truncate::",
    "unlink::",
    "utimensat::",
];
/// A case, and why it fails here.
const DIFFERENCES: &str = include_str!("pjdfstest.txt");
/// They pass, and each failed once beside other tests on a busy machine: not judged.
const UNSTEADY: [&str; 1] = ["open::etxtbsy"];
/// So many cases pass at least: a run that skips them all has shown nothing.
const MIN_PASSED: usize = 80;

fn tool(name: &str) -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let tools = std::env::var_os("S3O_TOOLS").map(PathBuf::from);
    let path = tools.or_else(|| Some(cache?.join("s3-orchestrator/tools")))?.join("bin").join(name);
    path.exists().then_some(path)
}

fn differences() -> BTreeMap<&'static str, &'static str> {
    let lines = DIFFERENCES.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let pair = |line: &'static str| line.split_once(' ').map(|(name, why)| (name, why.trim()));
    lines.map(|line| pair(line).unwrap_or_else(|| panic!("no reason: {line}"))).collect()
}

fn configuration() -> String {
    let mut text =
        "[features]\nutimensat = {}\nutime_now = {}\n\n[settings]\nnaptime = 0.01\nexpected_failures = [\n"
            .to_owned();
    for name in differences().keys() {
        writeln!(text, "  \"{name}\",").unwrap();
    }
    text + "]\n\n[dummy_auth]\nentries = [[\"nobody\", \"nogroup\"], [\"daemon\", \"daemon\"]]\n"
}

/// How many cases end with a word, and the names of those.
fn ended<'a>(output: &'a str, word: &str) -> Vec<&'a str> {
    let name = |line: &'a str| line.strip_suffix(word)?.split_whitespace().next();
    output.lines().filter(|line| !line.starts_with(char::is_whitespace)).filter_map(name).collect()
}

#[test]
fn pjdfstest_finds_the_expected_differences_and_no_others() {
    let Some(tool) = tool("pjdfstest") else { return eprintln!("pjdfstest is not installed: not tried") };
    let rig = Rig::with(&["read_only = false\nallow_other = true"], Rig::config());
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("pjdfstest.toml");
    std::fs::write(&file, configuration()).unwrap();
    let mut command = Command::new(tool);
    command.arg("-c").arg(&file).arg("-p").arg(rig.root()).args(GROUPS).env("NO_COLOR", "1");
    let ran = command.output().unwrap();
    let output = String::from_utf8_lossy(&ran.stdout).into_owned();
    let (mut failed, passed) = (ended(&output, "FAILED"), ended(&output, "ok"));
    failed.retain(|name| !UNSTEADY.contains(name));
    let better = ended(&output, "PASSED UNEXPECTEDLY");
    let unknown: Vec<_> =
        differences().into_keys().filter(|name| !output.lines().any(|line| line.starts_with(name))).collect();
    assert!(failed.is_empty(), "they fail: {failed:#?}\n{output}");
    assert!(better.is_empty(), "they pass now, and are to leave the list: {better:#?}");
    assert!(unknown.is_empty(), "the list names what is no case: {unknown:#?}");
    assert!(passed.len() >= MIN_PASSED, "{output}");
    rig.finish();
}

/// Everything that it does to one file, which is not yet committed: written, cut and grown in any order.
#[test]
fn fsx_finds_a_file_in_the_making_right() {
    let Some(tool) = tool("fsx") else { return eprintln!("fsx is not installed: not tried") };
    let rig = Rig::writable();
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("fsx.toml");
    // The kernel does not map a file whose pages it does not keep, for sharing.
    let weights = "[weights]\nmapread = 0.0\nmapwrite = 0.0\n";
    std::fs::write(&file, weights).unwrap();
    for seed in 1..=3 {
        let mut command = Command::new(&tool);
        command.arg("-f").arg(&file).args(["-S", &seed.to_string(), "-N", "2000"]).arg(rig.path("fsx"));
        let ran = command.current_dir(home.path()).output().unwrap();
        let text = String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned();
        assert!(ran.status.success(), "seed {seed}: {text}");
        let _ = std::fs::remove_file(rig.path("fsx"));
    }
    rig.finish();
}
