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

/// Manual pages and completions, as a package has them.
fn generated() -> Place {
    let place = Place::empty();
    let made = place.run(&["generate", "."]);
    assert_eq!(made.code, Some(0), "{}", made.err);
    place
}

/// Every command, commands of commands too, as its words.
fn every_command(place: &Place, above: &[String]) -> Vec<Vec<String>> {
    let words: Vec<_> = above.iter().map(String::as_str).chain(["--help"]).collect();
    let below = commands_of(&place.run(&words).out).into_iter();
    let below = below.map(|name| [above, &[name]].concat());
    below.flat_map(|words| [vec![words.clone()], every_command(place, &words)].concat()).collect()
}

#[test]
fn each_command_has_a_manual_page_with_the_flags_of_its_help() {
    let place = generated();
    let commands = every_command(&place, &[]);
    assert!(commands.len() >= 20, "{commands:?}");
    for words in &commands {
        let asked: Vec<_> = words.iter().map(String::as_str).chain(["--help"]).collect();
        let text = place.read(&format!("man1/s3-orchestrator-{}.1", words.join("-"))).replace("\\-", "-");
        assert_eq!(flags(&text), flags(&place.run(&asked).out), "{words:?}");
        let first = format!("s3-orchestrator-{}(1)", words[0]);
        assert!(place.read("man1/s3-orchestrator.1").replace("\\-", "-").contains(&first), "{first}");
    }
    let pages = fs::read_dir(place.path("man1")).expect("pages").count();
    assert_eq!(pages, commands.len() + 1, "a page of something that is no command");
}

#[test]
fn completions_know_every_command() {
    let place = generated();
    for name in
        ["completions/s3-orchestrator", "completions/_s3-orchestrator", "completions/s3-orchestrator.fish"]
    {
        let text = place.read(name);
        for command in commands() {
            assert!(text.contains(&command), "{command} is not in {name}");
        }
    }
}

/// From warnings on: what is a matter of taste is not looked at.
#[test]
fn manual_pages_are_without_fault() {
    let place = generated();
    let by_hand = fs::read_dir(root().join("man")).expect("man").map(|e| e.expect("an entry").path());
    let made = fs::read_dir(place.path("man1")).expect("man1").map(|e| e.expect("an entry").path());
    // Some only say which other page is meant.
    let is_page = |path: &PathBuf| {
        path.extension().is_some_and(|e| e != "in") && !fs::read(path).expect("a page").starts_with(b".so ")
    };
    let pages: Vec<_> = by_hand.chain(made).filter(is_page).collect();
    let lint =
        std::process::Command::new("mandoc").args(["-T", "lint", "-W", "warning"]).args(&pages).output();
    let Ok(lint) = lint else { return eprintln!("mandoc is not installed: the manual is not checked") };
    assert!(lint.status.success(), "{}", String::from_utf8_lossy(&lint.stdout));
}

#[test]
fn the_examples_of_configurations_are_good() {
    let manual = page("man/s3-orchestrator.toml.5");
    let example = manual.split(".SH EXAMPLE\n.nf\n").nth(1).and_then(|rest| rest.split("\n.fi").next());
    let sample = read("packaging/config.toml");
    for text in [example.expect("an example in the manual"), &sample] {
        check_with_secrets(text);
    }
}

/// With the secrets that the documents speak of.
fn check_with_secrets(text: &str) {
    let place = Place::with_config(text);
    fs::create_dir(place.path("secrets")).expect("a directory");
    place.write("secrets/app1", "good-enough-secret");
    let output = place.command(&["check"]).env("APP1_SECRET", "good-enough-secret").output();
    let output = output.expect("running the binary");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
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
    let sample = read("packaging/config.toml");
    let lines: Vec<_> = sample.lines().map(|line| uncommented(line).unwrap_or(line)).collect();
    assert!(lines.join("\n") != sample.trim_end(), "the sample has no commented settings");
    check_with_secrets(&lines.join("\n"));
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
