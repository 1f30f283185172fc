//! Backends of kind `s3`.

use super::super::reader::{At, Reader, Section};
use super::super::secret::read_secret_of_provider;
use s3api::Secret;
use serde::Serialize;
use std::time::Duration;

const LAYOUTS: &[&str] = &["readable", "opaque"];
const LACKS: &[&str] = &["batch-delete", "list-v2", "list-uploads", "multipart"];
const REGION: &str = "us-east-1";
const STALL_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug, Clone)]
pub struct Provider {
    /// Without a `/` at its end.
    pub endpoint: String,
    pub region: String,
    pub bucket: String,
    pub access_key_id: String,
    pub secret: Secret,
    pub path_style: bool,
    pub layout: backend::Layout,
    pub lacks: backend::Lacks,
    pub stall_timeout: Duration,
    pub monthly: Monthly,
}

/// What a calendar month may cost; no limit where `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Monthly {
    pub calls: Option<u64>,
    pub egress_bytes: Option<u64>,
    pub ingress_bytes: Option<u64>,
}

impl Provider {
    /// What is asked of it with other keys lies where it lay.
    pub fn is_at_the_place_of(&self, other: &Self) -> bool {
        (&self.endpoint, &self.bucket) == (&other.endpoint, &other.bucket)
    }

    /// Also where it comes from a file whose name is the same.
    pub fn has_secret_of(&self, other: &Self) -> bool {
        self.secret.expose() == other.secret.expose()
    }

    /// Takes over what may change while it is open. Keys for another place are for the next start.
    pub(super) fn follow(&mut self, wanted: &Self) {
        self.monthly = wanted.monthly;
        if self.is_at_the_place_of(wanted) {
            self.access_key_id.clone_from(&wanted.access_key_id);
            self.secret = wanted.secret.clone();
            self.region.clone_from(&wanted.region);
        }
    }
}

pub fn read<'a>(reader: &mut Reader<'a>, section: &Section<'a>) -> Option<Provider> {
    let endpoint = endpoint(reader, section);
    let bucket = filled(reader, section, "bucket");
    let access_key_id = filled(reader, section, "access_key_id");
    let secret = read_secret_of_provider(reader, section);
    let region = reader.text(section, "region").map_or(REGION.to_owned(), |region| region.value);
    let layout = match reader.word(section, "layout", LAYOUTS).as_deref() {
        Some("opaque") => backend::Layout::Opaque,
        _ => backend::Layout::Readable,
    };
    let lacks = reader.words(section, "lacks", LACKS).unwrap_or_default();
    let path_style = reader.boolean(section, "path_style").unwrap_or(false);
    let stall_timeout = reader.duration(section, "stall_timeout").unwrap_or(STALL_TIMEOUT);
    let monthly = Monthly {
        calls: reader.count(section, "monthly_calls").and_then(|calls| u64::try_from(calls).ok()),
        egress_bytes: reader.size(section, "monthly_egress"),
        ingress_bytes: reader.size(section, "monthly_ingress"),
    };
    Some(Provider {
        endpoint: endpoint?,
        region,
        bucket: bucket?,
        access_key_id: access_key_id?,
        secret: secret?,
        path_style,
        layout,
        lacks: lacking(&lacks),
        stall_timeout,
        monthly,
    })
}

fn lacking(words: &[String]) -> backend::Lacks {
    let has = |word: &str| words.iter().any(|lack| lack == word);
    backend::Lacks {
        batch_delete: has("batch-delete"),
        list_v2: has("list-v2"),
        list_uploads: has("list-uploads"),
        multipart: has("multipart"),
    }
}

fn filled<'a>(reader: &mut Reader<'a>, section: &Section<'a>, key: &str) -> Option<String> {
    let text = reader.required(section, key)?;
    let bad = text.value.is_empty() || text.value.chars().any(|c| c.is_whitespace() || c.is_control());
    if bad || (key == "bucket" && text.value.contains('/')) {
        reader.problems.error(&text.span, format!("this cannot be the `{key}` of a provider"));
        return None;
    }
    Some(text.value)
}

fn endpoint<'a>(reader: &mut Reader<'a>, section: &Section<'a>) -> Option<String> {
    let given = reader.required(section, "endpoint")?;
    let At { value, span } = &given;
    let (scheme, rest) = match value.split_once("://") {
        Some((scheme @ ("http" | "https"), rest)) => (scheme, rest),
        _ => {
            reader.problems.error(span, "`endpoint` begins with https:// or http://");
            return None;
        }
    };
    let rest = rest.trim_end_matches('/');
    let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '?' | '#' | '@');
    if rest.is_empty() || rest.contains(odd) {
        reader.problems.error(span, "`endpoint` is a URL such as \"https://s3.example.org\"");
        return None;
    }
    if scheme == "http" && !is_loopback(rest) {
        let message = "objects go to this provider without encryption on the way: use https://";
        reader.problems.warning(span, message);
    }
    Some(format!("{scheme}://{rest}"))
}

fn is_loopback(authority: &str) -> bool {
    let host = authority.split('/').next().unwrap_or_default();
    ["localhost", "127.", "[::1]"].iter().any(|start| host.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_loopback() {
        assert!(is_loopback("127.0.0.1:9000") && is_loopback("localhost") && is_loopback("[::1]:80"));
        assert!(!is_loopback("s3.example.org/127.0.0.1"));
    }
}
