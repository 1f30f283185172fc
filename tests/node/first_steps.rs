//! Before there is a node: `init`, `doctor`, `check`.

use crate::place::{FIRST_LINE, Place, SMALL};
use serde_json::Value;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;

fn document(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn init_writes_a_configuration_that_starts() {
    let place = Place::empty();
    let made =
        place.run(&["init", "--listen", "127.0.0.1:0", "--bucket", "my-files", "--quota", "5GB", "--json"]);
    assert_eq!(made.code, Some(0), "{made:?}");
    let made = document(&made.out);
    assert_eq!(
        (&made["bucket"], &made["configuration"]),
        (&"my-files".into(), &"s3-orchestrator.toml".into())
    );
    let text = place.read("s3-orchestrator.toml");
    for part in
        ["name = \"my-files\"\n", "quota = \"5GB\"\n", made["secret_access_key"].as_str().expect("a secret")]
    {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    let mode = std::fs::metadata(place.path("s3-orchestrator.toml")).expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let check = place.run(&["check", "--json"]);
    assert_eq!(document(&check.out)["good"], true, "{check:?}");
    assert!(place.serve(&[]).first_line.starts_with(FIRST_LINE));
}

#[test]
fn init_never_replaces_a_file_and_asks_only_on_a_terminal() {
    let place = Place::empty();
    let made = place.run(&["init", "--config", "a.toml"]);
    assert_eq!(made.code, Some(0), "{made:?}");
    assert!(
        made.out.contains("secret_access_key ") && made.out.contains("serve --config a.toml"),
        "{}",
        made.out
    );
    let before = place.read("a.toml");
    let again = place.run(&["init", "--config", "a.toml"]);
    assert!(again.code == Some(1) && again.err.contains("a.toml is there already"), "{again:?}");
    assert_eq!(place.read("a.toml"), before);
    for wrong in [&["--bucket", "Bad_Name"][..], &["--listen", "nowhere"], &["--quota", "lots"]] {
        let mut args = vec!["init", "--config", "b.toml"];
        args.extend_from_slice(wrong);
        assert_eq!(place.run(&args).code, Some(2), "{wrong:?}");
    }
    assert_eq!(place.names(), ["a.toml"]);
}

#[test]
fn init_asks_on_a_terminal_until_the_answers_are_right() {
    let place = Place::empty();
    // script(1) gives its command a terminal.
    let command = format!("{} init", crate::asked::BINARY);
    let mut script = std::process::Command::new("script");
    script.args(["-qec", &command, "/dev/null"]).current_dir(place.path(""));
    let piped = script.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut child = piped.spawn().expect("script, of the package bsdutils");
    let answers = "\nnowhere\n127.0.0.1:0\nBad_\nmy-files\n";
    child.stdin.take().expect("a pipe").write_all(answers.as_bytes()).expect("answers");
    let asked = crate::place::Finished::from(child.wait_with_output().expect("script"));
    assert_eq!(asked.code, Some(0), "{asked:?}");
    for part in ["Data directory [data]: ", "\"nowhere\" is not an address", "bad bucket name \"Bad_\""] {
        assert!(asked.out.contains(part), "{part} is not in {}", asked.out);
    }
    let text = place.read("s3-orchestrator.toml");
    assert!(text.contains("listen = \"127.0.0.1:0\"") && text.contains("name = \"my-files\""), "{text}");
}

#[test]
fn check_tells_every_mistake_in_json_too() {
    let place = Place::with_config(&SMALL.replace("listen", "lisen"));
    let check = place.run(&["check", "--json"]);
    assert_eq!(check.code, Some(1), "{check:?}");
    let verdict = document(&check.out);
    assert_eq!(verdict["good"], false);
    let problem = &verdict["problems"][0];
    assert_eq!(
        (&problem["severity"], &problem["line"], &problem["column"]),
        (&"error".into(), &3.into(), &1.into())
    );
}

fn verdict(document: &Value, name: &str) -> Vec<String> {
    let checks = document["checks"].as_array().cloned().unwrap_or_default();
    let named = checks.iter().filter(|check| check["name"] == name);
    named.map(|check| check["verdict"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn doctor_finds_nothing_where_a_node_can_work() {
    let place = Place::with_config(SMALL);
    let doctor = place.run(&["doctor", "--json"]);
    assert_eq!(doctor.code, Some(0), "{doctor:?}");
    let found = document(&doctor.out);
    for name in [
        "configuration",
        "data-directory",
        "disk-sync",
        "unnamed-files",
        "room",
        "clock",
        "open-files",
        "port",
    ] {
        assert_eq!(verdict(&found, name).len(), 1, "{name}: {found}");
        assert_ne!(verdict(&found, name), ["error"], "{name}: {found}");
    }
    assert_eq!(verdict(&found, "fuse-device").len(), 1);
    assert_eq!(place.names(), ["s3-orchestrator.toml"], "doctor left something behind");
    let text = place.run(&["doctor"]).out;
    assert!(text.contains("ok       port: 127.0.0.1:0 is free\n"), "{text}");
}

#[test]
fn doctor_says_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let place = Place::with_config(&SMALL.replace("127.0.0.1:0", &address));
    std::fs::create_dir(place.path("data")).expect("a directory");
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(place.path("data"), open).expect("chmod");
    let doctor = place.run(&["doctor", "--json"]);
    assert_eq!(doctor.code, Some(1), "{doctor:?}");
    let found = document(&doctor.out);
    assert_eq!(
        (verdict(&found, "port"), verdict(&found, "data-directory")),
        (vec!["error".to_owned()], vec!["warning".to_owned()])
    );
    let text = place.run(&["doctor"]).out;
    let first = format!("ERROR    port: cannot listen on {address}: ");
    assert!(text.starts_with(&first) && text.contains("         -> end what listens there"), "{text}");
    place.write("s3-orchestrator.toml", "nonsense");
    let doctor = place.run(&["doctor", "--json"]);
    assert_eq!(
        (doctor.code, verdict(&document(&doctor.out), "configuration")),
        (Some(1), vec!["error".to_owned()])
    );
}

#[test]
fn doctor_tries_each_backend() {
    let there = "[[backends]]\nname = \"there\"\nkind = \"disk\"\npath = \"disk\"\n";
    let away = there.replace("there", "away").replace("path = \"disk\"", "path = \"no\"");
    let place = Place::with_config(&format!("{SMALL}{there}{away}"));
    std::fs::create_dir(place.path("disk")).expect("a directory");
    let doctor = place.run(&["doctor", "--json"]);
    assert_eq!(doctor.code, Some(1), "{doctor:?}");
    assert_eq!(verdict(&document(&doctor.out), "backend"), ["error", "good"], "{}", doctor.out);
    assert!(doctor.out.contains("s3-orchestrator probe away"), "{}", doctor.out);
    let left = std::fs::read_dir(place.path("disk")).expect("the directory").count();
    assert_eq!(left, 0, "doctor left something behind");
}

#[test]
fn doctor_does_not_mind_a_running_node() {
    let place = Place::empty();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    drop(listener);
    assert_eq!(place.run(&["init", "--listen", &address]).code, Some(0));
    let _node = place.serve(&[]);
    let found = document(&place.run(&["doctor", "--json"]).out);
    assert_eq!(verdict(&found, "port"), ["good"], "{found}");
}
