//! `[[webhooks]]`: who is told what.

use super::keys;
use super::reader::{At, Reader, Section};
use super::s3::checked;
use super::secret::read_named_secret;
use s3api::Secret;
use std::collections::HashSet;
use std::time::Duration;
use types::BucketName;

#[derive(Debug, Clone)]
pub struct Webhook {
    /// What its queue is found by after a restart: the URL where nothing else is given.
    pub name: String,
    pub url: String,
    pub events: Wanted,
    pub bucket: Option<BucketName>,
    pub prefix: String,
    pub secret: Secret,
    pub timeout: Duration,
    /// PEM; `None`: those that the system knows.
    pub ca: Option<Vec<u8>>,
}

impl Webhook {
    pub fn is_same_as(&self, other: &Self) -> bool {
        let told = |w: &Self| {
            (w.name.clone(), w.url.clone(), w.events, w.bucket.clone(), w.prefix.clone(), w.timeout)
        };
        told(self) == told(other) && self.ca == other.ca && self.secret.expose() == other.secret.expose()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    pub created: bool,
    pub removed: bool,
    pub trouble: bool,
}

const EVENTS: &[&str] = &["created", "removed", "trouble"];

/// `buckets`: those that the file has.
pub fn read<'a>(reader: &mut Reader<'a>, top: &Section<'a>, buckets: &[BucketName]) -> Vec<Webhook> {
    let sections = reader.tables(top, "webhooks", "[[webhooks]]", keys::WEBHOOKS);
    let mut names = HashSet::new();
    let mut webhooks = Vec::new();
    for section in &sections {
        let Some(webhook) = webhook(reader, section, buckets) else { continue };
        if !names.insert(webhook.name.clone()) {
            let message = format!("another webhook is called \"{}\": give this one a `name`", webhook.name);
            reader.problems.error(&section.span, message);
        }
        webhooks.push(webhook);
    }
    webhooks
}

fn webhook<'a>(reader: &mut Reader<'a>, section: &Section<'a>, buckets: &[BucketName]) -> Option<Webhook> {
    if !section.has("url") {
        reader.problems.error(&section.span, "`url` is missing");
    }
    let url = checked(reader, section, "url", parse_url);
    let name = reader.text(section, "name").map(|at| at.value);
    let events = wanted(reader, section);
    let bucket = bucket(reader, section, buckets);
    let prefix = reader.text(section, "prefix").map(|at| at.value).unwrap_or_default();
    let timeout = reader.duration(section, "timeout").unwrap_or(Duration::from_secs(10));
    let ca = ca(reader, section);
    let secret = read_named_secret(reader, section, "secret", "secret_file");
    let url = url?;
    Some(Webhook {
        name: name.unwrap_or_else(|| url.clone()),
        url,
        events,
        bucket,
        prefix,
        secret: secret?,
        timeout,
        ca,
    })
}

fn wanted<'a>(reader: &mut Reader<'a>, section: &Section<'a>) -> Wanted {
    let Some(words) = reader.words(section, "events", EVENTS) else {
        return Wanted { created: true, removed: true, trouble: true };
    };
    let has = |word: &str| words.iter().any(|w| w == word);
    Wanted { created: has("created"), removed: has("removed"), trouble: has("trouble") }
}

fn bucket<'a>(reader: &mut Reader<'a>, section: &Section<'a>, buckets: &[BucketName]) -> Option<BucketName> {
    let text = reader.text(section, "bucket")?;
    let known = buckets.iter().find(|name| name.as_str() == text.value).cloned();
    reader.parsed(&text, known.ok_or_else(|| format!("there is no bucket \"{}\" in this file", text.value)))
}

fn ca<'a>(reader: &mut Reader<'a>, section: &Section<'a>) -> Option<Vec<u8>> {
    let At { value, span } = reader.text(section, "ca")?;
    let file = reader.dir.join(&value);
    let pem = std::fs::read(&file).map_err(|error| format!("cannot read {}: {error}", file.display()));
    reader.parsed(&At { value, span }, pem)
}

fn parse_url(text: &str) -> Result<String, String> {
    let good = text.parse::<http::Uri>().ok().filter(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
    });
    good.map(|_| text.to_owned())
        .ok_or_else(|| format!("\"{text}\" is not a URL: write \"https://hooks.example.org/s3\""))
}
