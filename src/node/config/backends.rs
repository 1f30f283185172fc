//! `[[backends]]`: this version has one kind, `embedded`, and one of it.

use super::keys;
use super::reader::{Reader, Section};

const KINDS: &[&str] = &["embedded", "disk", "s3"];
/// Keys that the embedded backend has; all others are of other kinds.
const OF_EMBEDDED: &[&str] = &["name", "kind", "quota"];

/// The quota of the embedded backend, in bytes.
pub fn read<'a>(reader: &mut Reader<'a>, top: &Section<'a>) -> Option<u64> {
    let sections = reader.tables(top, "backends", "[[backends]]", keys::BACKENDS);
    let mut quota = None;
    let mut embedded = 0;
    for section in &sections {
        name(reader, section);
        match kind(reader, section).as_deref() {
            Some("embedded") => {
                embedded += 1;
                quota = quota.or(read_embedded(reader, section));
            }
            Some(other) => {
                let message = format!("backends of kind \"{other}\" are not supported in this version");
                reader.problems.error(&section.span_of("kind"), message);
            }
            None => {}
        }
        if embedded > 1 {
            let message = "a node has one embedded backend: this is the second";
            reader.problems.error(&section.span, message);
        }
    }
    quota
}

fn name<'a>(reader: &mut Reader<'a>, section: &Section<'a>) {
    if let Some(name) = reader.required(section, "name")
        && name.value.is_empty()
    {
        reader.problems.error(&name.span, "the name of a backend is empty");
    }
}

fn kind<'a>(reader: &mut Reader<'a>, section: &Section<'a>) -> Option<String> {
    if !section.has("kind") {
        reader.problems.error(&section.span, "`kind` is missing");
    }
    reader.word(section, "kind", KINDS)
}

fn read_embedded<'a>(reader: &mut Reader<'a>, section: &Section<'a>) -> Option<u64> {
    for key in keys::BACKENDS {
        if section.has(key) && !OF_EMBEDDED.contains(key) {
            let message = match key.starts_with("monthly_") {
                true => format!("`{key}` is not supported in this version"),
                false => format!("`{key}` is not a key of a backend of kind \"embedded\""),
            };
            reader.problems.error(&section.span_of(key), message);
        }
    }
    reader.size(section, "quota")
}
