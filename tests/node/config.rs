//! Configurations as `check` and `serve` judge them: each mistake with its place and what would be right.

use crate::place::{Place, SMALL};

/// What is wrong, and lines that must be printed: `LINE:` and a part of the message.
const BAD: &[(&str, &str, &[&str])] = &[
    (
        "unknown key",
        "dta_dir = \"x\"\n[s3]\nlisten = \"127.0.0.1:0\"",
        &["1:1: error: unknown key `dta_dir`", "did you mean `data_dir`?"],
    ),
    (
        "unknown key in a table",
        "[s3]\nlisen = \"127.0.0.1:0\"",
        &["2:1: error: unknown key `lisen` in [s3]; did you mean `listen`?"],
    ),
    (
        "unknown table",
        "[s3]\n[bucket]\nname = \"a\"",
        &["2:2: error: unknown key `bucket`", "did you mean `buckets`?"],
    ),
    (
        "key of another table",
        "listen = \"127.0.0.1:0\"",
        &["1:1: error: unknown key `listen`", "it belongs in [s3]"],
    ),
    ("not TOML", "[s3]\nlisten = ", &["2:10: error:"]),
    ("twice", "[s3]\nlisten = \"127.0.0.1:0\"\nlisten = \"127.0.0.1:0\"", &["3:1: error: duplicate key"]),
    (
        "number for text",
        "data_dir = 7",
        &["1:12: error: `data_dir` must be a string; this is of type integer"],
    ),
    (
        "text for truth",
        "[s3]\nsigv2_presigned = \"yes\"",
        &["2:19: error: `sigv2_presigned` must be true or false"],
    ),
    (
        "text for a count",
        "[s3]\nmax_connections = \"many\"",
        &["2:19: error: `max_connections` must be a whole number"],
    ),
    (
        "no connections",
        "[s3]\nmax_connections = 0",
        &["2:19: error: `max_connections` must be more than zero"],
    ),
    ("number for a table", "s3 = 3", &["1:6: error: `s3` must be a table, [s3]"]),
    (
        "table for a list",
        "[buckets]\nname = \"abc\"",
        &["1:1: error: `buckets` must be a list of tables, [[buckets]]"],
    ),
    ("size", "[s3]\nmax_object_size = \"5 parsecs\"", &["2:19: error: \"5 parsecs\" is not a size"]),
    ("too large", "[s3]\nmax_object_size = \"6TiB\"", &["2:19: error: `max_object_size` is at most 5TiB"]),
    (
        "negative size",
        "[s3]\nmax_object_size = -1",
        &["2:19: error: `max_object_size` must be more than zero"],
    ),
    ("duration", "[s3]\nmultipart_expiry = \"24 hours!\"", &["2:20: error: \"24 hours!\" is not a duration"]),
    (
        "duration without unit",
        "[s3]\nmultipart_expiry = 24",
        &["2:20: error: `multipart_expiry` must be a duration such as"],
    ),
    ("address", "[s3]\nlisten = \"nine thousand\"", &["2:10: error: \"nine thousand\" is not an address"]),
    (
        "url",
        "[s3]\nexternal_url = \"s3.example.org\"",
        &["2:16: error: \"s3.example.org\" is not an endpoint"],
    ),
    (
        "durability",
        "durability = \"powerloss\"",
        &["1:14: error: `durability` takes", "did you mean \"power-loss\"?"],
    ),
    ("no buckets", "data_dir = \"x\"", &["1:1: error: no bucket is configured"]),
    (
        "bucket name",
        "[[buckets]]\nname = \"Bad_Name\"",
        &["2:8: error: bad bucket name \"Bad_Name\": a bucket name has only lower-case"],
    ),
    ("bucket without name", "\n[[buckets]]\nanonymous = [\"read\"]", &["2:1: error: `name` is missing"]),
    (
        "bucket twice",
        "[[buckets]]\nname = \"abc\"\n[[buckets]]\nname = \"abc\"",
        &["4:8: error: duplicate bucket \"abc\": line 2 has it"],
    ),
    (
        "anonymous",
        "[[buckets]]\nname = \"abc\"\nanonymous = [\"raed\"]",
        &["3:14: error: `anonymous` takes \"read\", \"write\"; did you mean \"read\"?"],
    ),
    (
        "copies",
        "[[buckets]]\nname = \"abc\"\ncopies = 2",
        &["3:10: error: `copies` asks for 2 backends, 1 is configured"],
    ),
    (
        "acknowledge",
        "[[buckets]]\nname = \"abc\"\nacknowledge = 2",
        &["3:15: error: `acknowledge` asks for 2 replicas, `copies` makes only 1"],
    ),
    (
        "placement",
        "[[buckets]]\nname = \"abc\"\nplacement = \"spraed\"",
        &["3:13: error: `placement` takes \"pack\", \"spread\"; did you mean \"spread\"?"],
    ),
    (
        "a disk without a path",
        "[[backends]]\nname = \"usb\"\nkind = \"disk\"\nendpoint = \"https://s3.example.org\"",
        &[
            "1:1: error: `path` is missing",
            "4:12: error: `endpoint` is not a key of a backend of kind \"disk\"",
        ],
    ),
    (
        "a disk in the data directory",
        "data_dir = \"/var/lib/x\"\n[[backends]]\nname = \"usb\"\nkind = \"disk\"\npath = \"/var/lib/x/usb\"",
        &["5:8: error: `path` and `data_dir` lie within each other"],
    ),
    (
        "a provider without its account",
        "[[backends]]\nname = \"b2\"\nkind = \"s3\"\nendpoint = \"s3.example.org\"",
        &[
            "1:1: error: `bucket` is missing",
            "`access_key_id` is missing",
            "`secret_access_key` or `secret_access_key_file` is missing",
            "4:12: error: `endpoint` begins with https://",
        ],
    ),
    (
        "what a provider lacks",
        "[[backends]]\nname = \"b2\"\nkind = \"s3\"\nlacks = [\"listv2\"]\nlayout = \"flat\"",
        &["4:10: error: `lacks` takes", "did you mean \"list-v2\"?", "5:10: error: `layout` takes"],
    ),
    (
        "two backends at one place",
        "[[backends]]\nname = \"a\"\nkind = \"disk\"\npath = \"/mnt/a\"\n\
         [[backends]]\nname = \"b\"\nkind = \"disk\"\npath = \"/mnt/a\"",
        &["5:1: error: the backend of line 1 is at the same place"],
    ),
    (
        "two backends of one name",
        "[[backends]]\nname = \"a\"\nkind = \"embedded\"\n[[backends]]\nname = \"a\"\nkind = \"disk\"\npath = \"/x\"",
        &["5:8: error: duplicate backend \"a\": line 1 has it"],
    ),
    (
        "unknown kind",
        "[[backends]]\nname = \"b2\"\nkind = \"embeded\"",
        &["3:8: error: `kind` takes", "did you mean \"embedded\"?"],
    ),
    (
        "two embedded",
        "[[backends]]\nname = \"a\"\nkind = \"embedded\"\n[[backends]]\nname = \"b\"\nkind = \"embedded\"",
        &["4:1: error: a node has one embedded backend"],
    ),
    (
        "monthly limits",
        "[[backends]]\nname = \"a\"\nkind = \"embedded\"\nmonthly_calls = 5",
        &["4:17: error: `monthly_calls` is not a key of a backend of kind \"embedded\""],
    ),
    (
        "key of another kind",
        "[[backends]]\nname = \"a\"\nkind = \"embedded\"\nregion = \"x\"",
        &["4:10: error: `region` is not a key of a backend of kind \"embedded\""],
    ),
    (
        "mount of no bucket",
        "[[mounts]]\nbucket = \"abc\"\npath = \"/mnt/abc\"",
        &["2:10: error: there is no bucket \"abc\""],
    ),
    (
        "mount",
        "[[mounts]]\nprefix = \"/a\"\nfile_mode = \"rw\"\nuid = -1",
        &[
            "1:1: error: `bucket` is missing",
            "1:1: error: `path` is missing",
            "2:10: error: \"/a\" is not a path",
            "3:13: error: `file_mode` takes an octal mode",
            "4:7: error: `uid` must be a whole number",
        ],
    ),
    ("admin", "[admin]\nlisten = \"9001\"", &["2:10: error: \"9001\" is not an address"]),
    ("log level", "[log]\nlevel = \"verbose\"", &["2:9: error: `level` takes"]),
];

/// What is wrong with a credential. The secrets here must not be repeated.
const BAD_CREDENTIALS: &[(&str, &str)] = &[
    ("access_key_id = \"A\"", "3:1: error: `secret_access_key` or `secret_access_key_file` is missing"),
    ("secret_access_key = \"good-enough-secret\"", "3:1: error: `access_key_id` is missing"),
    (
        "access_key_id = \"A/B\"\nsecret_access_key = \"good-enough-secret\"",
        "4:17: error: an access key id has",
    ),
    ("access_key_id = \"\"\nsecret_access_key = \"good-enough-secret\"", "4:17: error: an access key id has"),
    ("access_key_id = \"A\"\nsecret_access_key = \"\"", "5:21: error: the secret is empty"),
    (
        "access_key_id = \"A\"\nsecret_access_key = \"minioadmin\"",
        "5:21: error: the secret is one that everybody knows",
    ),
    ("access_key_id = \"A\"\nsecret_access_key = \"q7z\"", "5:21: error: the secret is shorter than 8"),
    (
        "access_key_id = \"A\"\nsecret_access_key = \"two\\nlines-of-it\"",
        "5:21: error: the secret has a line end",
    ),
    (
        "access_key_id = \"A\"\nsecret_access_key = 12345678",
        "5:21: error: `secret_access_key` must be a string",
    ),
    (
        "access_key_id = \"A\"\nsecret_access_key = \"${S3O_NOT_SET}\"",
        "5:21: error: `secret_access_key`: the environment variable S3O_NOT_SET is not set",
    ),
    (
        "access_key_id = \"A\"\nsecret_access_key = \"${S3O\"",
        "5:21: error: `secret_access_key`: `${` without `}`",
    ),
    ("access_key_id = \"A\"\nsecret_access_key_file = \"nowhere\"", "5:26: error: cannot read the secret in"),
    (
        "access_key_id = \"A\"\nsecret_access_key = \"good-enough-secret\"\nsecret_access_key_file = \"x\"",
        "6:26: error: `secret_access_key` and `secret_access_key_file` exclude each other",
    ),
    (
        "access_key_id = \"A\"\nsecret_access_key = \"good-enough-secret\"\nrights = [\"raed\"]",
        "6:11: error: `rights` takes \"read\", \"write\", \"delete\"; did you mean \"read\"?",
    ),
    (
        "access_key_id = \"A\"\nsecret = \"good-enough-secret\"",
        "5:1: error: unknown key `secret` in [[buckets.credentials]]; ",
    ),
];

fn refused(text: &str) -> String {
    let place = Place::empty();
    place.write("node.toml", text);
    let checked = place.run(&["check", "--config", "node.toml"]);
    assert_eq!(checked.code, Some(1), "{text}\n{checked:?}");
    assert_eq!(checked.out, "", "{text}");
    let served = place.run(&["serve", "--config", "node.toml"]);
    assert_eq!(served.code, Some(1), "{text}\n{served:?}");
    assert_eq!(served.err, checked.err, "check and serve disagree on {text}");
    assert_eq!(place.names(), ["node.toml"], "something was created for {text}");
    checked.err
}

#[test]
fn each_mistake_has_its_place_and_what_would_be_right() {
    for (what, text, parts) in BAD {
        let err = refused(text);
        for part in *parts {
            assert!(err.contains(part), "{what}: \"{part}\" is not in:\n{err}");
        }
        assert!(err.lines().all(|line| line.starts_with("node.toml:")), "{what}: {err}");
    }
}

#[test]
fn bad_credentials_are_refused_and_no_secret_is_repeated() {
    for (lines, part) in BAD_CREDENTIALS {
        let text = format!("[[buckets]]\nname = \"abc\"\n[[buckets.credentials]]\n{lines}\n");
        let err = refused(&text);
        assert!(err.contains(part), "\"{part}\" is not in:\n{err}");
        for secret in ["good-enough-secret", "minioadmin", "q7z", "12345678", "lines-of-it"] {
            assert!(!err.contains(secret), "a secret was printed:\n{err}");
        }
    }
}

#[test]
fn an_access_key_exists_once_in_all_buckets() {
    let bucket = |name: &str| {
        format!(
            "[[buckets]]\nname = \"{name}\"\n[[buckets.credentials]]\naccess_key_id = \"AKID\"\nsecret_access_key = \"a/test+secret\"\n"
        )
    };
    let err = refused(&(bucket("abc") + &bucket("def")));
    assert!(err.contains("node.toml:9:17: error: duplicate access key \"AKID\": line 4 has it"), "{err}");
}

#[test]
fn all_mistakes_come_at_once_in_the_order_of_the_file() {
    let err = refused("durability = 1\n[s3]\nlisen = 1\n[[buckets]]\nname = \"X\"\nquota = \"x\"\n");
    let places: Vec<_> =
        err.lines().filter(|l| l.contains(" error: ")).map(|l| l.split(": ").next()).collect();
    let expected = ["node.toml:1:14", "node.toml:3:1", "node.toml:5:8", "node.toml:6:9"];
    assert_eq!(places, expected.map(Some), "{err}");
}

#[test]
fn a_good_configuration_is_good() {
    let place = Place::with_config(SMALL);
    let checked = place.run(&["check"]);
    assert_eq!((checked.code, checked.out.as_str()), (Some(0), "s3-orchestrator.toml: ok\n"));
    let named = place.run(&["check", "--config", "./s3-orchestrator.toml"]);
    assert_eq!((named.code, named.out.as_str()), (Some(0), "./s3-orchestrator.toml: ok\n"));
    assert_eq!(place.names(), ["s3-orchestrator.toml"], "check created something");
}

#[test]
fn variables_and_secret_files_are_read() {
    let text = SMALL.replace("a/test+secret", "${S3O_TEST_SECRET}");
    let place = Place::with_config(&text);
    let mut command = place.command(&["check"]);
    let output = command.env("S3O_TEST_SECRET", "from-the-environment").output();
    assert!(output.expect("running the binary").status.success());

    let text = SMALL.replace("secret_access_key = \"a/test+secret\"", "secret_access_key_file = \"secret\"");
    place.write("s3-orchestrator.toml", &text);
    place.write("secret", "from-a-file\n");
    assert_eq!(place.run(&["check"]).code, Some(0));
    place.write("secret", "minioadmin\n");
    assert_eq!(place.run(&["check"]).code, Some(1));
}

#[test]
fn a_secret_file_lies_beside_the_configuration_not_beside_the_caller() {
    let place = Place::empty();
    std::fs::create_dir(place.path("etc")).expect("a folder");
    let text = SMALL.replace("secret_access_key = \"a/test+secret\"", "secret_access_key_file = \"secret\"");
    place.write("etc/node.toml", &text);
    place.write("etc/secret", "from-a-file\n");
    assert_eq!(place.run(&["check", "--config", "etc/node.toml"]).code, Some(0));
}

#[test]
fn a_missing_configuration_is_an_error_with_its_name() {
    let place = Place::empty();
    let named = place.run(&["check", "--config", "nowhere.toml"]);
    assert_eq!(named.code, Some(1));
    assert!(named.err.starts_with("nowhere.toml: error: "), "{}", named.err);
    let default = place.run(&["check"]);
    assert_eq!(default.code, Some(1));
    assert!(default.err.contains("./s3-orchestrator.toml"), "{}", default.err);
    assert_eq!(place.run(&["serve", "--config", "nowhere.toml"]).code, Some(1));
    assert!(place.names().is_empty());
}

#[test]
fn secrets_that_everybody_can_read_are_warned_about() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::with_config(SMALL);
    let set = |mode| {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(place.path("s3-orchestrator.toml"), permissions).expect("chmod");
    };
    set(0o644);
    let checked = place.run(&["check"]);
    assert_eq!(checked.code, Some(0));
    assert!(checked.err.contains("1:1: warning: everybody on this machine can read"), "{}", checked.err);
    set(0o600);
    assert_eq!(place.run(&["check"]).err, "");
}
