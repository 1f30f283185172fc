//! What commands print: text for people, or one JSON document. Never a colour: nothing here knows
//! whether anybody looks.

use super::Trouble;
use serde::Serialize;
use serde_json::json;
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

/// With --json, what went wrong is a document too, beside the words on standard error.
pub fn told<T>(as_json: bool, outcome: anyhow::Result<T>) -> anyhow::Result<T> {
    if let Err(error) = &outcome
        && as_json
        && !is_enough(error)
    {
        let code = error.downcast_ref::<Trouble>().map_or("failed".into(), Trouble::code);
        json(&json!({ "error": { "code": code, "message": format!("{error:#}") } }))?;
    }
    outcome
}

/// One of many documents, a line each.
pub fn json_line<T: Serialize>(document: &T) -> anyhow::Result<()> {
    text(&(serde_json::to_string(document)? + "\n"))
}
