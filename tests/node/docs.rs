//! Documents that can rot, held against what they describe.

use crate::place::Place;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A manual page with its escapes undone.
fn page(name: &str) -> String {
    read(name).replace("\\-", "-").replace("\\(dq", "\"")
}

/// The `--flags` of a text.
fn flags(text: &str) -> BTreeSet<String> {
    let flag = |c: char| c.is_ascii_lowercase() || c == '-';
    let words = text.split(|c| !flag(c));
    let long = words.filter(|w| w.strip_prefix("--").is_some_and(|rest| !rest.is_empty()));
    long.map(str::to_owned).collect()
}

fn help() -> String {
    fn of(place: &Place, command: &[&str]) -> String {
        let help = place.run(&[command, &["--help"]].concat());
        assert_eq!(help.code, Some(0), "{command:?}");
        let below = commands_of(&help.out);
        let deeper = below.iter().map(|name| of(place, &[command, &[name]].concat()));
        deeper.fold(help.out.clone(), |text, more| text + &more)
    }
    of(&Place::empty(), &[])
}

/// The subcommands that `--help` lists, without `help` itself.
fn commands() -> Vec<String> {
    commands_of(&Place::empty().run(&["--help"]).out)
}

fn commands_of(help: &str) -> Vec<String> {
    let listed = help.lines().skip_while(|l| *l != "Commands:").skip(1);
    // A description that goes on in the next line stands further to the right.
    let first = |l: &&str| !l.starts_with("   ");
    let names = listed.take_while(|l| l.starts_with("  ")).filter(first);
    let names = names.filter_map(|l| l.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

#[test]
fn the_manual_page_has_the_flags_of_help_and_no_others() {
    assert_eq!(flags(&page("man/s3-orchestrator.1")), flags(&help()));
}

#[test]
fn the_manual_page_has_every_command() {
    let page = page("man/s3-orchestrator.1");
    let described: BTreeSet<_> = page.lines().filter_map(|l| l.strip_prefix(".B ")).collect();
    let commands = commands();
    assert!(commands.len() >= 3, "{commands:?}");
    for command in commands {
        assert!(described.contains(command.as_str()), "{command} is not in the manual");
    }
}

#[test]
fn the_examples_of_configurations_are_good() {
    let manual = page("man/s3-orchestrator.toml.5");
    let example = manual.split(".SH EXAMPLE\n.nf\n").nth(1).and_then(|rest| rest.split("\n.fi").next());
    let sample = read("packaging/s3-orchestrator.toml");
    for text in [example.expect("an example in the manual"), &sample] {
        let place = Place::with_config(text);
        let output = place.command(&["check"]).env("APP1_SECRET", "good-enough-secret").output();
        let output = output.expect("running the binary");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// `#key = value` and `#[table]` without their sign; prose has a space after it.
fn uncommented(line: &str) -> Option<&str> {
    let rest = line.trim_start().strip_prefix('#')?;
    let key = rest.split_once(" = ").map(|(key, _)| key);
    let is_key = |key: &str| key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    (rest.starts_with('[') || key.is_some_and(is_key)).then_some(rest)
}

/// In the sample, every line that begins with `#key = ` is a default or an example that may be
/// uncommented.
#[test]
fn the_sample_is_still_good_with_everything_in_it_uncommented() {
    let sample = read("packaging/s3-orchestrator.toml");
    let lines: Vec<_> = sample.lines().map(|line| uncommented(line).unwrap_or(line)).collect();
    assert!(lines.join("\n") != sample.trim_end(), "the sample has no commented settings");
    let place = Place::with_config(&lines.join("\n"));
    let output = place.command(&["check"]).env("APP1_SECRET", "good-enough-secret").output();
    let output = output.expect("running the binary");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn make_has_every_target_that_the_documents_name() {
    let makefile = read("Makefile");
    let targets: BTreeSet<_> = makefile.lines().filter_map(|l| l.split_once(':')).map(|(t, _)| t).collect();
    for name in ["README.md", "ARCHITECTURE.md"] {
        let text = read(name);
        let indented = text.lines().filter(|l| l.starts_with("    "));
        for word in text.split('`').chain(indented).filter_map(|code| code.trim().strip_prefix("make ")) {
            let target = word.split_whitespace().next().unwrap_or_default();
            assert!(targets.contains(target), "{name} says make {target}");
        }
    }
}

#[test]
fn paths_that_the_documents_name_exist() {
    for name in ["README.md", "ARCHITECTURE.md"] {
        let text = read(name);
        for (at, code) in text.split('`').enumerate() {
            let is_code = at % 2 == 1;
            let rooted = ["src/", "s3api/", "tests/", "packaging/", "man/", "scripts/", ".ci/"];
            let is_path = rooted.iter().any(|r| code.starts_with(r)) && !code.contains([' ', '*', '\n']);
            assert!(!is_code || !is_path || root().join(code).exists(), "{name} names {code}");
        }
    }
}

#[test]
fn links_between_documents_lead_somewhere() {
    for name in ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"] {
        let text = read(name);
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|t| !t.contains("://") && !t.starts_with('#')) {
            let file = target.split('#').next().unwrap_or_default();
            assert!(root().join(file).exists(), "{name} links to {target}");
        }
    }
}

#[test]
fn what_the_unit_starts_is_what_the_manual_describes() {
    let unit = read("packaging/s3-orchestrator.service");
    let start = unit.lines().find_map(|l| l.strip_prefix("ExecStart=")).expect("ExecStart");
    let known = flags(&help());
    for flag in flags(start) {
        assert!(known.contains(&flag), "the unit uses {flag}");
    }
}
