//! `s3-orchestrator locate`: one object and its bytes.

use super::{Ask, Global, Run, words};
use crate::admin::locate::{Location, Piece, Request, Wanted};
use std::fmt::Write as _;
use std::process::ExitCode;

/// Show the record of an object, where its copies lie and why, and how they are.
///
/// The copy that would be read now comes first of each piece.
#[derive(Debug, clap::Args)]
#[command(visible_alias = "explain")]
pub struct LocateArgs {
    /// The object; the key begins behind the first slash.
    #[arg(value_name = "BUCKET/KEY", value_parser = parse_object)]
    object: Object,
    #[command(flatten)]
    ask: Ask,
}

#[derive(Debug, Clone)]
struct Object {
    bucket: String,
    key: String,
}

fn parse_object(text: &str) -> Result<Object, String> {
    let text = text.strip_prefix("s3://").unwrap_or(text);
    match text.split_once('/') {
        Some((bucket, key)) if !bucket.is_empty() && !key.is_empty() => {
            Ok(Object { bucket: bucket.to_owned(), key: key.to_owned() })
        }
        _ => Err("an object is written BUCKET/KEY".to_owned()),
    }
}

impl Run for LocateArgs {
    fn run(&self, _: &Global) -> anyhow::Result<ExitCode> {
        let Object { bucket, key } = self.object.clone();
        self.ask.show("locate", &Request { bucket, key }, text)
    }
}

fn text(location: &Location) -> String {
    let mut text = format!("{}/{}\n", location.bucket, location.key);
    let mut line = |name: &str, value: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {name:<13} {value}");
    };
    line("size", &format!("{} ({} bytes)", words::size(location.size), location.size));
    line("modified", &location.modified);
    line("etag", &location.etag);
    if let Some(sum) = &location.checksum {
        line("checksum", &format!("{} {} ({})", sum.algorithm, sum.value, sum.kind));
    }
    if let Some(content_type) = &location.content_type {
        line("content type", content_type);
    }
    for (name, value) in &location.user_metadata {
        line("metadata", &format!("{name}: {value}"));
    }
    let Wanted { copies, acknowledge, placement } = &location.wanted;
    let asked = words::count(*copies as u64, "copy");
    line("wanted", &format!("{asked}, {acknowledge} before the answer, placed by {placement}"));
    line("version", &location.version.to_string());
    line("blob", &location.blob);
    if location.being_read {
        line("being read", "yes");
    }
    location.pieces.iter().for_each(|piece| self::piece(&mut text, piece));
    text
}

fn piece(text: &mut String, piece: &Piece) {
    let name = piece.part.map_or("bytes".to_owned(), |number| format!("part {number}"));
    let shared = match piece.references {
        0 | 1 => String::new(),
        more => format!(", shared by {more}"),
    };
    for replica in &piece.replicas {
        let size = words::size(piece.size);
        let _ = writeln!(text, "  {name:<13} {size} on {}: {}{shared}", replica.backend, replica.place);
        let verified =
            replica.verified.as_ref().map_or("not verified yet".to_owned(), |at| format!("verified {at}"));
        let _ = writeln!(text, "  {:<13} {}, {verified}: {}", "", replica.health, replica.why);
    }
    for backend in &piece.on_their_way {
        let _ = writeln!(text, "  {name:<13} being written to {backend}");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_key_may_have_slashes() {
        for text in ["b/k/x/", "s3://b/k/x/"] {
            let object = parse_object(text).unwrap();
            assert_eq!((object.bucket.as_str(), object.key.as_str()), ("b", "k/x/"));
        }
        for bad in ["", "b", "b/", "/k"] {
            assert!(parse_object(bad).is_err(), "{bad}");
        }
    }
}
