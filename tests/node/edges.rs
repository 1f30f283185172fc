//! The map of rooms, held against the manifests: Cargo refuses cycles, this refuses a new edge.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Which room may name which. A room that is not here may not exist.
const ROOMS: &[(&str, &str, &[&str])] = &[
    ("types", "src/types", &[]),
    ("meta", "src/meta", &["types"]),
    ("backend", "src/backend", &["types"]),
    ("store", "src/store", &["types", "meta", "backend"]),
    ("s3api", "s3api", &["types", "store"]),
    ("fuse", "fuse", &["types", "store"]),
    ("s3-orchestrator", "src/node", &["types", "meta", "backend", "store", "s3api", "fuse"]),
    ("testkit", "tests/testkit", &["types"]),
];

/// Crates that have one home, because of their weight or because of the knowledge they stand for.
/// Testkit is a client: it may speak HTTP and sign.
const HOMES: &[(&str, &[&str])] = &[
    ("rocksdb", &["meta"]),
    ("aws-sdk-s3", &["backend"]),
    ("hyper", &["s3api", "s3-orchestrator", "testkit"]),
    ("hyper-util", &["s3api", "s3-orchestrator", "testkit"]),
    ("http", &["s3api", "s3-orchestrator", "testkit"]),
    ("hyper-rustls", &["s3-orchestrator"]),
    ("opentelemetry-otlp", &["s3-orchestrator"]),
    ("prometheus-client", &["s3-orchestrator"]),
    ("tokio-rustls", &["s3api"]),
    ("aws-sigv4", &["s3api", "testkit"]),
    ("quick-xml", &["s3api"]),
    ("fuser", &["fuse"]),
    ("clap", &["s3-orchestrator"]),
    ("toml", &["s3-orchestrator"]),
    ("tracing-subscriber", &["s3-orchestrator"]),
    ("tikv-jemallocator", &["s3-orchestrator"]),
];

/// Types do no I/O, know no async and no serialisation.
const NOT_IN_TYPES: &[&str] = &["tokio", "serde", "serde_json", "rustix", "libc", "tracing"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn manifest(folder: &str) -> toml::Table {
    let path = root().join(folder).join("Cargo.toml");
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.parse().unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The crates that `[dependencies]` names. What only tests need is not part of the map.
fn dependencies(manifest: &toml::Table) -> Vec<String> {
    let table = manifest.get("dependencies").and_then(toml::Value::as_table);
    table.into_iter().flat_map(|t| t.keys().cloned()).collect()
}

fn all() -> BTreeMap<&'static str, Vec<String>> {
    ROOMS.iter().map(|(room, folder, _)| (*room, dependencies(&manifest(folder)))).collect()
}

#[test]
fn every_member_of_the_workspace_is_on_the_map() {
    let workspace = manifest("");
    let members = workspace["workspace"]["members"].as_array().expect("members");
    let mut members: Vec<_> = members.iter().filter_map(toml::Value::as_str).collect();
    let mut folders: Vec<_> = ROOMS.iter().map(|(_, folder, _)| *folder).collect();
    members.sort_unstable();
    folders.sort_unstable();
    assert_eq!(members, folders);
}

#[test]
fn folders_hold_the_packages_that_the_map_says() {
    for (room, folder, _) in ROOMS {
        assert_eq!(manifest(folder)["package"]["name"].as_str(), Some(*room), "{folder}");
    }
}

#[test]
fn no_room_names_another_beyond_the_map() {
    let rooms: Vec<_> = ROOMS.iter().map(|(room, _, _)| *room).collect();
    for (room, _, may_name) in ROOMS {
        for dependency in &all()[room] {
            let is_room = rooms.contains(&dependency.as_str());
            let allowed = may_name.contains(&dependency.as_str());
            assert!(!is_room || allowed, "{room} names {dependency}: not on the map");
        }
    }
}

#[test]
fn heavy_crates_stay_in_their_homes() {
    for (room, dependencies) in all() {
        for (name, homes) in HOMES {
            let named = dependencies.iter().any(|d| d == name);
            assert!(!named || homes.contains(&room), "{room} names {name}; its home is {homes:?}");
        }
    }
}

#[test]
fn types_are_only_nouns() {
    for dependency in &all()["types"] {
        assert!(!NOT_IN_TYPES.contains(&dependency.as_str()), "types names {dependency}");
    }
}

#[test]
fn the_workspace_has_one_binary() {
    for (room, folder, _) in ROOMS {
        let has_binary = manifest(folder).contains_key("bin");
        assert_eq!(has_binary, *room == "s3-orchestrator", "{room}");
    }
}

#[test]
fn every_room_takes_part_in_the_lints() {
    for (room, folder, _) in ROOMS {
        let lints = manifest(folder).get("lints").and_then(|l| l.get("workspace")?.as_bool());
        assert_eq!(lints, Some(true), "{room}");
    }
}
