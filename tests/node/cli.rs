//! Starting and stopping as a person or a script does it.

use crate::place::{FIRST_LINE, Place, SMALL};
use rustix::process::Signal;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

const ANY_PORT: [&str; 2] = ["--listen", "127.0.0.1:0"];

#[test]
fn a_first_start_makes_everything_and_shows_it() {
    let place = Place::empty();
    let node = place.serve(&ANY_PORT);
    assert!(node.first_line.starts_with(FIRST_LINE), "{}", node.first_line);
    let endpoint = format!("http://{}", node.address());
    node.signal(Signal::TERM);
    let (status, hints) = node.ended();
    assert_eq!(status.code(), Some(0));

    let config = place.read("s3-orchestrator.toml");
    let (id, secret) = (value(&config, "access_key_id"), value(&config, "secret_access_key"));
    assert_eq!((id.len(), secret.len()), (20, 40));
    for part in [
        format!("export AWS_ACCESS_KEY_ID={id}"),
        format!("export AWS_SECRET_ACCESS_KEY={secret}"),
        format!("aws --endpoint-url {endpoint} s3 ls s3://my-bucket/"),
        format!("endpoint={endpoint} access_key_id={id} secret_access_key={secret}"),
        format!("aws_access_key_id=\"{id}\", aws_secret_access_key=\"{secret}\""),
    ] {
        assert!(hints.contains(&part), "\"{part}\" is not in:\n{hints}");
    }
    assert!(!place.read("log").contains(secret), "the secret is in the log");
}

#[test]
fn what_a_first_start_makes_is_for_its_owner_only() {
    let place = Place::empty();
    drop(place.serve(&ANY_PORT));
    let mode = |name: &str| {
        let about = std::fs::metadata(place.path(name)).expect("what the first start made");
        about.permissions().mode() & 0o777
    };
    assert_eq!((mode("s3-orchestrator.toml"), mode("data")), (0o600, 0o700));
}

#[test]
fn a_second_start_keeps_the_credential_and_does_not_show_the_secret() {
    let place = Place::empty();
    let node = place.serve(&ANY_PORT);
    node.signal(Signal::TERM);
    node.ended();
    let config = place.read("s3-orchestrator.toml");
    let node = place.serve(&[]);
    node.signal(Signal::TERM);
    let (status, hints) = node.ended();
    assert_eq!(status.code(), Some(0));
    assert_eq!(place.read("s3-orchestrator.toml"), config);
    assert!(hints.contains(value(&config, "access_key_id")), "{hints}");
    assert!(!hints.contains(value(&config, "secret_access_key")), "{hints}");
    assert!(hints.contains("s3-orchestrator.toml"), "{hints}");
}

#[test]
fn two_first_starts_make_two_credentials() {
    let made = || {
        let place = Place::empty();
        drop(place.serve(&ANY_PORT));
        value(&place.read("s3-orchestrator.toml"), "secret_access_key").to_owned()
    };
    assert_ne!(made(), made());
}

#[test]
fn an_address_in_use_is_named_and_nothing_is_left_behind() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let place = Place::empty();
    let refused = place.run(&["serve", "--listen", &address]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains(&address) && refused.err.contains("--listen"), "{}", refused.err);
    assert!(place.names().is_empty(), "{:?}", place.names());
}

#[test]
fn a_first_start_that_cannot_open_its_store_leaves_no_configuration() {
    let place = Place::empty();
    place.write("data", "not a directory");
    let refused = place.run(&["serve", ANY_PORT[0], ANY_PORT[1]]);
    assert_eq!(refused.code, Some(1));
    assert_eq!(place.names(), ["data"]);
}

#[test]
fn a_second_node_on_the_same_data_is_refused() {
    let place = Place::with_config(SMALL);
    let first = place.serve(&[]);
    let second = place.run(&["serve"]);
    assert_eq!(second.code, Some(1), "{second:?}");
    assert!(second.err.contains("data"), "{}", second.err);
    assert_eq!(second.out, "", "the second node said that it listens");
    let fsck = place.run(&["fsck"]);
    assert_eq!(fsck.code, Some(1), "fsck ran beside a node: {fsck:?}");
    first.signal(Signal::TERM);
    assert_eq!(first.ended().0.code(), Some(0), "the first node was harmed");
    let third = place.serve(&[]);
    assert!(third.first_line.starts_with(FIRST_LINE));
}

#[test]
fn sigterm_and_sigint_stop_the_node_in_good_order() {
    for signal in [Signal::TERM, Signal::INT] {
        let place = Place::with_config(SMALL);
        let node = place.serve(&[]);
        let address = node.address().to_owned();
        node.signal(signal);
        assert_eq!(node.ended().0.code(), Some(0), "{signal:?}");
        assert!(TcpStream::connect(address).is_err(), "the address is still taken");
        let fsck = place.run(&["fsck"]);
        assert_eq!(fsck.code, Some(0), "{fsck:?}");
    }
}

#[test]
fn idle_connections_do_not_hold_up_the_end_and_half_requests_do_so_for_a_bounded_time() {
    let text = SMALL.replace("[[buckets]]", "shutdown_grace = \"1s\"\n[[buckets]]");
    let place = Place::with_config(&text);
    let node = place.serve(&[]);
    let _idle = TcpStream::connect(node.address()).expect("a connection");
    let mut half = TcpStream::connect(node.address()).expect("a connection");
    half.write_all(b"PUT /app1-files/x HTTP/1.1\r\nHost: x\r\nContent-Le").expect("half a request");
    std::thread::sleep(Duration::from_millis(200));
    let began = std::time::Instant::now();
    node.signal(Signal::TERM);
    assert_eq!(node.ended().0.code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[test]
fn a_new_node_answers_and_says_no_to_strangers() {
    let place = Place::with_config(SMALL);
    let node = place.serve(&[]);
    let mut socket = TcpStream::connect(node.address()).expect("a connection");
    let request =
        format!("GET /app1-files/x HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", node.address());
    socket.write_all(request.as_bytes()).expect("a request");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    assert!(answer.contains("<Code>AccessDenied</Code>"), "{answer}");
}

#[test]
fn logs_are_json_by_default_and_text_on_request() {
    let place = Place::with_config(SMALL);
    let stop = |args: &[&str]| {
        let node = place.serve(args);
        node.signal(Signal::TERM);
        node.ended();
        place.read("log")
    };
    let log = stop(&[]);
    assert!(!log.is_empty());
    for line in log.lines() {
        let parsed: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
        assert!(parsed["timestamp"].is_string(), "{line}");
    }
    let log = stop(&["--log", "text"]);
    assert!(log.contains(" INFO "), "{log}");
}

#[test]
fn fsck_of_an_unused_node_finds_nothing() {
    let place = Place::with_config(SMALL);
    let node = place.serve(&[]);
    node.signal(Signal::TERM);
    node.ended();
    let fsck = place.run(&["fsck"]);
    assert_eq!(fsck.code, Some(0), "{fsck:?}");
    assert!(fsck.out.contains("0 differences"), "{}", fsck.out);
    let json = place.run(&["fsck", "--json"]);
    let parsed: serde_json::Value = serde_json::from_str(json.out.trim()).expect("a line of JSON");
    assert_eq!(parsed["summary"]["differences"], 0, "{}", json.out);
}

#[test]
fn fsck_does_not_make_a_store_where_there_is_none() {
    let place = Place::with_config(SMALL);
    let fsck = place.run(&["fsck"]);
    assert_eq!(fsck.code, Some(1), "{fsck:?}");
    assert_eq!(place.names(), ["s3-orchestrator.toml"]);
}

#[test]
fn a_wrong_command_line_is_exit_code_2() {
    let place = Place::empty();
    for args in
        [&["serve", "--bogus"][..], &["polish"], &[], &["check", "a", "b"], &["serve", "--listen", "x"]]
    {
        assert_eq!(place.run(args).code, Some(2), "{args:?}");
    }
    let version = place.run(&["--version"]);
    assert_eq!(version.out, format!("s3-orchestrator {}\n", env!("CARGO_PKG_VERSION")));
    assert!(place.names().is_empty());
}

/// The value of `key = "..."`.
fn value<'a>(config: &'a str, key: &str) -> &'a str {
    let line = config.lines().find_map(|l| l.trim().strip_prefix(key)?.strip_prefix(" = "));
    line.expect("the key is there").trim_matches('"')
}
