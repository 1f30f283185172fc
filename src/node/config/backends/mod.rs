//! `[[backends]]`: where bytes lie.

mod provider;

use super::difference::setting_of;
use super::reader::{At, Reader, Section};
use super::{Config, keys};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

pub use provider::{Monthly, Provider};

const KINDS: &[&str] = &["embedded", "disk", "s3"];
/// Names stand in commands, messages and metrics.
const NAME_MAX_CHARS: usize = 64;

#[derive(Debug, Clone)]
pub struct Backend {
    pub name: String,
    pub quota_bytes: Option<u64>,
    pub copy_bytes_per_second: Option<u64>,
    pub copy_calls_per_second: Option<u64>,
    pub kind: Kind,
}

#[derive(Debug, Clone)]
pub enum Kind {
    /// In the data directory.
    Embedded,
    Disk {
        path: PathBuf,
    },
    S3(Box<Provider>),
}

impl Backend {
    /// The one that is there where the file names none.
    fn unnamed() -> Self {
        Self {
            name: store::EMBEDDED_NAME.to_owned(),
            quota_bytes: None,
            copy_bytes_per_second: None,
            copy_calls_per_second: None,
            kind: Kind::Embedded,
        }
    }

    fn is_embedded(&self) -> bool {
        matches!(self.kind, Kind::Embedded)
    }

    /// Takes over what cannot change while it is open.
    fn keep_fixed(&mut self, running: &Self) {
        let wanted = std::mem::replace(&mut self.kind, running.kind.clone());
        if let Kind::S3(provider) = &mut self.kind {
            match wanted {
                Kind::S3(wanted) => provider.follow(&wanted),
                _ => provider.monthly = Monthly::default(),
            }
        }
    }

    fn provider(&self) -> Option<&Provider> {
        match &self.kind {
            Kind::S3(provider) => Some(provider),
            _ => None,
        }
    }
}

impl Config {
    pub(super) fn backend(&self, name: &str) -> Option<&Backend> {
        self.backends.iter().find(|backend| backend.name == name)
    }

    pub(super) fn provider(&self, name: &str) -> Option<&Provider> {
        self.backend(name).and_then(Backend::provider)
    }

    pub(super) fn embedded(&self) -> Option<&Backend> {
        self.backends.iter().find(|backend| backend.is_embedded())
    }

    /// Backends that a node with the configuration `running` can open beside its own. The embedded one
    /// is always there: only one that had no name can get one.
    pub(super) fn added_to<'a>(&'a self, running: &'a Self) -> impl Iterator<Item = &'a Backend> {
        let may_come = |backend: &&Backend| !backend.is_embedded() || running.embedded().is_none();
        let new = |backend: &&Backend| running.backend(&backend.name).is_none();
        self.backends.iter().filter(new).filter(may_come)
    }

    /// Those of the running node stay, as far as they cannot change; new ones come to them.
    pub(super) fn keep_backends(&mut self, running: &Self) {
        if running.backends.is_empty() && !self.backends.is_empty() && self.embedded().is_none() {
            self.backends.push(Backend::unnamed());
        }
        let second = |backend: &Backend| {
            backend.is_embedded() && running.embedded().is_some() && running.backend(&backend.name).is_none()
        };
        self.backends.retain(|backend| !second(backend));
        for old in &running.backends {
            match self.backends.iter_mut().find(|backend| backend.name == old.name) {
                Some(backend) => backend.keep_fixed(old),
                None => self.backends.push(old.clone()),
            }
        }
    }

    /// Backends of `file` that have been opened since belong to this, the running node's configuration.
    pub fn take_in_backends(&mut self, file: &Self) {
        let added: Vec<Backend> = file.added_to(self).cloned().collect();
        if self.backends.is_empty() && !added.is_empty() && file.embedded().is_none() {
            self.backends.push(Backend::unnamed());
        }
        for backend in added {
            self.settings.take_over(&setting_of(&backend.name), &file.settings);
            self.backends.push(backend);
        }
    }
}

impl Kind {
    /// As it is written in the file.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Disk { .. } => "disk",
            Self::S3(_) => "s3",
        }
    }

    /// What two backends must not share: copies in one place are one copy.
    fn place(&self) -> Option<String> {
        match self {
            Self::Embedded => None,
            Self::Disk { path } => Some(path.display().to_string()),
            Self::S3(provider) => Some(format!("{}/{}", provider.endpoint, provider.bucket)),
        }
    }
}

/// In the order of the file. Without any there is the embedded backend alone.
pub fn read<'a>(reader: &mut Reader<'a>, top: &Section<'a>, data_dir: &Path) -> Vec<Backend> {
    let sections = reader.tables(top, "backends", "[[backends]]", keys::BACKENDS);
    let mut taken = Taken::default();
    let mut backends = Vec::new();
    for section in &sections {
        backends.extend(backend(reader, section, data_dir, &mut taken));
    }
    backends
}

fn backend<'a>(
    reader: &mut Reader<'a>,
    section: &Section<'a>,
    data_dir: &Path,
    taken: &mut Taken,
) -> Option<Backend> {
    let name = name(reader, section);
    let kind = kind(reader, section, data_dir);
    let quota_bytes = reader.size(section, "quota");
    let copy_bytes_per_second = reader.size(section, "max_copy_bandwidth");
    let copy_calls_per_second =
        reader.count(section, "max_copy_calls").and_then(|calls| u64::try_from(calls).ok());
    let (name, kind) = (name?, kind?);
    let good = taken.take(reader, section, &name, &kind);
    let name = name.value;
    good.then_some(Backend { name, quota_bytes, copy_bytes_per_second, copy_calls_per_second, kind })
}

fn name<'a>(reader: &mut Reader<'a>, section: &Section<'a>) -> Option<At<String>> {
    let name = reader.required(section, "name")?;
    let in_order = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let good = (1..=NAME_MAX_CHARS).contains(&name.value.len()) && name.value.chars().all(in_order);
    if !good {
        let message = "the name of a backend has 1 to 64 letters, digits, \"-\", \"_\" and \".\"";
        reader.problems.error(&name.span, message);
    }
    good.then_some(name)
}

fn kind<'a>(reader: &mut Reader<'a>, section: &Section<'a>, data_dir: &Path) -> Option<Kind> {
    if !section.has("kind") {
        reader.problems.error(&section.span, "`kind` is missing");
    }
    let kind = reader.word(section, "kind", KINDS)?;
    let (keys, kind) = match kind.as_str() {
        "disk" => (keys::OF_DISK, disk(reader, section, data_dir)),
        "s3" => (keys::OF_S3, provider::read(reader, section).map(|provider| Kind::S3(Box::new(provider)))),
        _ => (&[][..], Some(Kind::Embedded)),
    };
    let name = section.get("kind").and_then(|kind| kind.get_ref().as_str()).unwrap_or_default();
    only(reader, section, keys, name);
    kind
}

/// Keys of other kinds are mistakes.
fn only<'a>(reader: &mut Reader<'a>, section: &Section<'a>, keys: &[&str], kind: &str) {
    for key in keys::BACKENDS {
        if section.has(key) && !keys::OF_ALL.contains(key) && !keys.contains(key) {
            let message = format!("`{key}` is not a key of a backend of kind \"{kind}\"");
            reader.problems.error(&section.span_of(key), message);
        }
    }
}

fn disk<'a>(reader: &mut Reader<'a>, section: &Section<'a>, data_dir: &Path) -> Option<Kind> {
    let given = reader.required(section, "path")?;
    let path = reader.dir.join(&given.value);
    let message = match given.value.is_empty() {
        true => "`path` is empty",
        false if path.starts_with(data_dir) || data_dir.starts_with(&path) => {
            "`path` and `data_dir` lie within each other"
        }
        false => return Some(Kind::Disk { path }),
    };
    reader.problems.error(&given.span, message);
    None
}

/// Names and places that a backend has already, and in which line.
#[derive(Default)]
struct Taken {
    names: HashMap<String, usize>,
    places: HashMap<String, usize>,
    embedded: bool,
}

impl Taken {
    fn take<'a>(
        &mut self,
        reader: &mut Reader<'a>,
        section: &Section<'a>,
        name: &At<String>,
        kind: &Kind,
    ) -> bool {
        let line = reader.problems.line(section.span.start);
        if matches!(kind, Kind::Embedded) && std::mem::replace(&mut self.embedded, true) {
            let message = "a node has one embedded backend: this is the second";
            reader.problems.error(&section.span, message);
            return false;
        }
        if let Some(first) = self.names.insert(name.value.clone(), line) {
            let message = format!("duplicate backend \"{}\": line {first} has it", name.value);
            reader.problems.error(&name.span, message);
            return false;
        }
        if let Some(place) = kind.place()
            && let Some(first) = self.places.insert(place, line)
        {
            let message =
                format!("the backend of line {first} is at the same place: copies there would be one");
            reader.problems.error(&section.span, message);
            return false;
        }
        true
    }
}
