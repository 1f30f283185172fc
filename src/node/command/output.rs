//! What commands print: text for people, or one JSON document. Never a colour: nothing here knows
//! whether anybody looks.

use serde::Serialize;
use std::io::{self, ErrorKind, Write as _};

/// Fails too when a reader has seen enough (`| head`); `is_enough` tells that apart.
pub fn text(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    Ok(out.write_all(text.as_bytes()).and_then(|()| out.flush())?)
}

/// Whether a command ended because nobody reads on, which is no failure.
pub fn is_enough(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

pub fn json<T: Serialize>(document: &T) -> anyhow::Result<()> {
    text(&(serde_json::to_string_pretty(document)? + "\n"))
}

/// One of many documents, a line each.
pub fn json_line<T: Serialize>(document: &T) -> anyhow::Result<()> {
    text(&(serde_json::to_string(document)? + "\n"))
}
