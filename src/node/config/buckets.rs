//! `[[buckets]]` and their `[[buckets.credentials]]`.

use super::cors::read_cors;
use super::keys;
use super::lifecycle::read_lifecycle;
use super::rates::read_rate;
use super::reader::{At, Reader, Section, Span, integer};
use super::secret::read_secret;
use s3api::{Anonymous, CorsRule, Rate, Rights, Secret};
use std::collections::HashMap;
use store::{Acknowledge, ExpiryRule, Placement, Policy};
use toml::de::DeValue;
use types::BucketName;

/// IAM's longest access key id
/// (<https://docs.aws.amazon.com/IAM/latest/APIReference/API_AccessKey.html>).
const MAX_ACCESS_KEY_ID_CHARS: usize = 128;

#[derive(Debug, Clone)]
pub struct Bucket {
    pub name: BucketName,
    pub quota_bytes: Option<u64>,
    pub policy: Policy,
    pub anonymous: Anonymous,
    pub anonymous_prefixes: Vec<String>,
    pub cors: Vec<CorsRule>,
    pub lifecycle: Vec<ExpiryRule>,
    pub credentials: Vec<Credential>,
}

#[derive(Debug, Clone)]
pub struct Credential {
    pub access_key_id: String,
    pub secret: Secret,
    pub rights: Rights,
    /// Its own, instead of the one for all.
    pub rate: Option<Rate>,
    pub origin: Origin,
}

impl Credential {
    /// Whether it lets in whom the other lets in, to the same.
    pub fn is_same_as(&self, other: &Self) -> bool {
        let told = |c: &Self| (c.access_key_id.clone(), c.rights, c.rate);
        told(self) == told(other) && self.secret.expose() == other.secret.expose()
    }
}

/// Who says that a credential is as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    Configuration,
    /// The configuration has it, and the command `credentials` changed it.
    Changed,
    /// The command `credentials` made it.
    Added,
}

/// Names already given, and where: a bucket or an access key id exists once in a file.
#[derive(Default)]
pub struct Taken(HashMap<String, Span>);

impl Taken {
    fn take(&mut self, reader: &mut Reader<'_>, what: &str, name: &At<String>) -> bool {
        if let Some(first) = self.0.get(&name.value) {
            let line = reader.problems.line(first.start);
            let message = format!("duplicate {what} \"{}\": line {line} has it", name.value);
            reader.problems.error(&name.span, message);
            return false;
        }
        self.0.insert(name.value.clone(), name.span.clone());
        true
    }
}

pub fn read<'a>(reader: &mut Reader<'a>, top: &Section<'a>) -> Vec<Bucket> {
    let sections = reader.tables(top, "buckets", "[[buckets]]", keys::BUCKETS);
    if sections.is_empty() && !top.has("buckets") {
        let message = "no bucket is configured: add [[buckets]] with a name and credentials";
        reader.problems.error(&top.span, message);
    }
    let mut names = Taken::default();
    let mut ids = Taken::default();
    let mut buckets = Vec::new();
    let node = OfNode { backends: backends(top), placement: placement(reader, top).unwrap_or_default() };
    for section in &sections {
        buckets.extend(bucket(reader, section, &mut names, &mut ids, &node));
    }
    buckets
}

/// What all buckets have in common.
struct OfNode {
    backends: usize,
    /// Of buckets that do not say otherwise.
    placement: Placement,
}

fn bucket<'a>(
    reader: &mut Reader<'a>,
    section: &Section<'a>,
    names: &mut Taken,
    ids: &mut Taken,
    node: &OfNode,
) -> Option<Bucket> {
    let name = bucket_name(reader, section, names);
    let quota_bytes = reader.size(section, "quota");
    let policy = policy(reader, section, node);
    let anonymous = anonymous(reader, section);
    let anonymous_prefixes = prefixes(reader, section, anonymous);
    let cors = read_cors(reader, section);
    let lifecycle = read_lifecycle(reader, section);
    let credentials = credentials(reader, section, ids);
    if !section.has("credentials") && anonymous == Anonymous::default() {
        let message = "nobody can use this bucket: it has neither credentials nor anonymous rights";
        reader.problems.warning(&section.span, message);
    }
    Some(Bucket {
        name: name?,
        quota_bytes,
        policy,
        anonymous,
        anonymous_prefixes,
        cors,
        lifecycle,
        credentials,
    })
}

fn bucket_name<'a>(reader: &mut Reader<'a>, section: &Section<'a>, names: &mut Taken) -> Option<BucketName> {
    let text = reader.required(section, "name")?;
    names.take(reader, "bucket", &text);
    let name = BucketName::new(text.value.clone())
        .map_err(|why| format!("bad bucket name \"{}\": {why}", text.value));
    reader.parsed(&text, name)
}

/// How many backends there are to choose from: without any, the embedded one.
fn backends(top: &Section<'_>) -> usize {
    match top.get("backends").map(|value| value.get_ref()) {
        Some(DeValue::Array(list)) => list.len().max(1),
        _ => 1,
    }
}

/// How many copies there are to be, when a write is acknowledged, and where copies go.
fn policy<'a>(reader: &mut Reader<'a>, section: &Section<'a>, node: &OfNode) -> Policy {
    let backends = node.backends;
    let copies = reader.count(section, "copies").unwrap_or(1);
    if copies > backends {
        let are = if backends == 1 { "is" } else { "are" };
        let message = format!("`copies` asks for {copies} backends, {backends} {are} configured");
        reader.problems.error(&section.span_of("copies"), message);
    }
    let copies = u32::try_from(copies).unwrap_or(u32::MAX);
    let acknowledge = acknowledge(reader, section, copies);
    let placement = placement(reader, section).unwrap_or(node.placement);
    Policy { copies, acknowledge, placement }
}

/// Of one bucket, or at the top level of all that do not say it themselves.
fn placement<'a>(reader: &mut Reader<'a>, section: &Section<'a>) -> Option<Placement> {
    match reader.word(section, "placement", &["pack", "spread"])?.as_str() {
        "spread" => Some(Placement::Spread),
        _ => Some(Placement::Pack),
    }
}

fn acknowledge<'a>(reader: &mut Reader<'a>, section: &Section<'a>, copies: u32) -> Acknowledge {
    let Some(value) = section.get("acknowledge") else {
        return Acknowledge::Replicas(1);
    };
    match (value.get_ref(), integer(value.get_ref()).and_then(|n| u32::try_from(n).ok())) {
        (DeValue::String(word), _) if word == "all" => return Acknowledge::All,
        (_, Some(n)) if n > 0 && n <= copies => return Acknowledge::Replicas(n),
        (_, Some(n)) if n > copies => {
            let message = format!("`acknowledge` asks for {n} replicas, `copies` makes only {copies}");
            reader.problems.error(&value.span(), message);
        }
        _ => {
            let message = "`acknowledge` takes a number of replicas, at least 1, or \"all\"";
            reader.problems.error(&value.span(), message);
        }
    }
    Acknowledge::Replicas(1)
}

fn anonymous<'a>(reader: &mut Reader<'a>, section: &Section<'a>) -> Anonymous {
    let words = reader.words(section, "anonymous", &["read", "write"]);
    let has = |word: &str| words.iter().flatten().any(|w| w == word);
    Anonymous { read: has("read"), write: has("write") }
}

fn prefixes<'a>(reader: &mut Reader<'a>, section: &Section<'a>, anonymous: Anonymous) -> Vec<String> {
    let texts = reader.texts(section, "anonymous_prefixes").unwrap_or_default();
    if section.has("anonymous_prefixes") && anonymous == Anonymous::default() {
        let message = "`anonymous_prefixes` needs `anonymous`: the rights that it limits";
        reader.problems.error(&section.span_of("anonymous_prefixes"), message);
    }
    for empty in texts.iter().filter(|text| text.value.is_empty()) {
        reader
            .problems
            .error(&empty.span, "an empty prefix opens the whole bucket: leave the key out instead");
    }
    texts.into_iter().map(|text| text.value).collect()
}

fn credentials<'a>(reader: &mut Reader<'a>, section: &Section<'a>, ids: &mut Taken) -> Vec<Credential> {
    let title = "[[buckets.credentials]]";
    let sections = reader.tables(section, "credentials", title, keys::CREDENTIALS);
    let mut credentials = Vec::new();
    for section in &sections {
        credentials.extend(credential(reader, section, ids));
    }
    credentials
}

fn credential<'a>(reader: &mut Reader<'a>, section: &Section<'a>, ids: &mut Taken) -> Option<Credential> {
    let id = access_key_id(reader, section, ids);
    let secret = read_secret(reader, section, id.as_deref().unwrap_or_default());
    let rights = rights(reader, section);
    let rate = read_rate(reader, section);
    let origin = Origin::Configuration;
    Some(Credential { access_key_id: id?, secret: secret?, rights, rate, origin })
}

pub fn access_key_id<'a>(reader: &mut Reader<'a>, section: &Section<'a>, ids: &mut Taken) -> Option<String> {
    let text = reader.required(section, "access_key_id")?;
    ids.take(reader, "access key", &text);
    let id = check_access_key_id(&text.value);
    reader.parsed(&text, id.map(str::to_owned))
}

/// In a signature's scope the id stands between `=` and `/`, and before a `,`.
pub fn check_access_key_id(id: &str) -> Result<&str, String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_-.@+:".contains(&b);
    if id.is_empty() || id.len() > MAX_ACCESS_KEY_ID_CHARS || !id.bytes().all(allowed) {
        return Err(format!(
            "an access key id has 1 to {MAX_ACCESS_KEY_ID_CHARS} letters, digits or characters out of _-.@+:"
        ));
    }
    Ok(id)
}

pub fn rights<'a>(reader: &mut Reader<'a>, section: &Section<'a>) -> Rights {
    let Some(words) = reader.words(section, "rights", &["read", "write", "delete"]) else {
        return Rights::ALL;
    };
    let has = |word: &str| words.iter().any(|w| w == word);
    Rights { read: has("read"), write: has("write"), delete: has("delete") }
}
