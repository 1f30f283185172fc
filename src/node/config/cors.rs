//! `[[buckets.cors]]`: which pages of other origins may use a bucket.

use super::keys;
use super::reader::{At, Reader, Section};
use s3api::CorsRule;
use s3api::cors::METHODS;

pub fn read_cors<'a>(reader: &mut Reader<'a>, bucket: &Section<'a>) -> Vec<CorsRule> {
    let sections = reader.tables(bucket, "cors", "[[buckets.cors]]", keys::CORS);
    sections.iter().map(|section| rule(reader, section)).collect()
}

fn rule<'a>(reader: &mut Reader<'a>, section: &Section<'a>) -> CorsRule {
    for key in ["origins", "methods"] {
        if !section.has(key) {
            reader.problems.error(&section.span, format!("`{key}` is missing"));
        }
    }
    CorsRule {
        origins: list(reader, section, "origins", check_origin),
        methods: reader.words(section, "methods", &METHODS).unwrap_or_default(),
        headers: list(reader, section, "headers", |text| check_header(text, true)),
        expose: list(reader, section, "expose_headers", |text| check_header(text, false)),
        max_age_seconds: reader.duration(section, "max_age").map(|age| age.as_secs()),
    }
}

fn list<'a>(
    reader: &mut Reader<'a>,
    section: &Section<'a>,
    key: &str,
    check: impl Fn(&str) -> Result<String, String>,
) -> Vec<String> {
    let texts = reader.texts(section, key).unwrap_or_default();
    let mut list = Vec::with_capacity(texts.len());
    for at in &texts {
        let At { value, .. } = at;
        let checked = check(value);
        list.extend(reader.parsed(at, checked));
    }
    list
}

fn check_origin(text: &str) -> Result<String, String> {
    let path = text.split_once("://").map_or("", |(_, rest)| rest);
    if text == "*" || (!path.is_empty() && !path.contains('/') && text.matches('*').count() <= 1) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "\"{text}\" is not an origin: write \"https://app.example.org\", without a path, with one * at most, or \"*\""
    ))
}

fn check_header(text: &str, pattern: bool) -> Result<String, String> {
    let stars = text.matches('*').count();
    let name = text.replace('*', "x");
    let fit = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if text.is_empty() || !fit || stars > usize::from(pattern) {
        return Err(format!("\"{text}\" is not the name of a header"));
    }
    Ok(if pattern { text.to_ascii_lowercase() } else { text.to_owned() })
}
