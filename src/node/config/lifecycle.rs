//! `[[buckets.lifecycle]]`: how long objects of a bucket live.

use super::keys;
use super::reader::{Reader, Section};
use store::ExpiryRule;

pub fn read_lifecycle<'a>(reader: &mut Reader<'a>, bucket: &Section<'a>) -> Vec<ExpiryRule> {
    let sections = reader.tables(bucket, "lifecycle", "[[buckets.lifecycle]]", keys::LIFECYCLE);
    let mut rules = Vec::with_capacity(sections.len());
    for section in &sections {
        rules.extend(rule(reader, section));
    }
    rules
}

fn rule<'a>(reader: &mut Reader<'a>, section: &Section<'a>) -> Option<ExpiryRule> {
    let prefix = reader.text(section, "prefix").map(|text| text.value).unwrap_or_default();
    let tags = tags(reader, section);
    if !section.has("expire_after") {
        reader.problems.error(&section.span, "`expire_after` is missing");
    }
    if !section.has("prefix") && !section.has("tags") {
        let message = "this rule ends every object of the bucket: it has neither `prefix` nor `tags`";
        reader.problems.warning(&section.span, message);
    }
    let age = reader.duration(section, "expire_after")?;
    Some(ExpiryRule { prefix, tags, age })
}

fn tags<'a>(reader: &mut Reader<'a>, section: &Section<'a>) -> Vec<(String, String)> {
    let texts = reader.texts(section, "tags").unwrap_or_default();
    let mut tags = Vec::with_capacity(texts.len());
    for at in &texts {
        let tag = match at.value.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
            _ => Err(format!("a tag is written \"NAME=VALUE\", not \"{}\"", at.value)),
        };
        tags.extend(reader.parsed(at, tag));
    }
    tags
}
