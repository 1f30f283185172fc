//! `credentials.toml` in the data directory: what the command `credentials` changed.
//!
//! The configuration may be out of the node's reach (read-only, made by other tools), so the node
//! never writes to it. An entry with a bucket is a credential of its own; one without changes, or
//! removes, the credential of that id in the configuration. Every change replaces the file as a
//! whole, durably.

use super::buckets::{Bucket, Credential, Origin, access_key_id, rights};
use super::keys;
use super::problem::Problems;
use super::reader::{Reader, Section};
use super::secret::read_secret;
use super::{Config, LoadError, syntax_errors};
use s3api::{Rights, Secret};
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use toml::de::DeTable;
use zeroize::Zeroizing;

pub const FILE: &str = "credentials.toml";
const NEW: &str = "credentials.toml.new";

/// One entry. What it leaves open is as the configuration has it.
#[derive(Debug, Clone)]
pub struct Change {
    pub access_key_id: String,
    /// Of a credential that the configuration does not have.
    pub bucket: Option<String>,
    pub secret: Option<Secret>,
    pub rights: Option<Rights>,
    pub removed: bool,
}

impl Change {
    pub fn to(access_key_id: &str) -> Self {
        Self {
            access_key_id: access_key_id.to_owned(),
            bucket: None,
            secret: None,
            rights: None,
            removed: false,
        }
    }
}

/// All entries; none if there is no file.
pub fn load(data_dir: &Path) -> Result<Vec<Change>, LoadError> {
    let file = data_dir.join(FILE);
    let text = match std::fs::read_to_string(&file) {
        Ok(text) => Zeroizing::new(text),
        // That the directory is none is for the store to say.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(LoadError::Unreadable { file, error }),
    };
    let bad = |problems| LoadError::Bad { file: file.clone(), problems };
    let document = DeTable::parse(&text).map_err(|error| bad(syntax_errors(&text, &[error])))?;
    let mut reader =
        Reader { problems: Problems::new(&text), dir: data_dir, env: &|_| None, inline_secret: false };
    let top = reader.section(document.get_ref(), 0..0, "the top level", keys::CHANGES_TOP);
    let sections = reader.tables(&top, "credentials", "[[credentials]]", keys::CHANGES);
    let mut ids = super::buckets::Taken::default();
    let mut changes = Vec::new();
    for section in &sections {
        if let Some(id) = access_key_id(&mut reader, section, &mut ids) {
            changes.push(read(&mut reader, section, id));
        }
    }
    match reader.problems.any_error() {
        false => Ok(changes),
        true => Err(bad(reader.problems.into_sorted())),
    }
}

fn read<'a>(reader: &mut Reader<'a>, section: &Section<'a>, id: String) -> Change {
    let secret = section.has("secret_access_key").then(|| read_secret(reader, section, &id)).flatten();
    let rights = section.has("rights").then(|| rights(reader, section));
    let bucket = reader.text(section, "bucket").map(|text| text.value);
    if bucket.is_some() && secret.is_none() {
        reader.problems.error(&section.span, "a credential of a bucket has a secret");
    }
    let removed = reader.boolean(section, "removed").unwrap_or(false);
    Change { access_key_id: id, bucket, secret, rights, removed }
}

/// Replaces the file; durable when it returns.
pub fn save(data_dir: &Path, changes: &[Change]) -> io::Result<()> {
    let text = render(changes);
    let new = data_dir.join(NEW);
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&new, data_dir.join(FILE))?;
    File::open(data_dir)?.sync_all()
}

fn render(changes: &[Change]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::from(
        "# Written by `s3-orchestrator credentials`, and read at the start and at each reload.\n",
    ));
    for change in changes {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n[[credentials]]\naccess_key_id = {}\n", quoted(&change.access_key_id));
        if let Some(bucket) = &change.bucket {
            let _ = writeln!(text, "bucket = {}", quoted(bucket));
        }
        if let Some(secret) = &change.secret {
            let secret = Zeroizing::new(quoted(secret.expose()));
            let _ = writeln!(text, "secret_access_key = {}", *secret);
        }
        if let Some(rights) = change.rights {
            let words: Vec<_> = rights.words().iter().map(|word| quoted(word)).collect();
            let _ = writeln!(text, "rights = [{}]", words.join(", "));
        }
        if change.removed {
            text.push_str("removed = true\n");
        }
    }
    text
}

/// A TOML string that reads back as it is.
fn quoted(text: &str) -> String {
    toml::Value::from(text.replace("${", "$${")).to_string()
}

/// Puts the changes into a configuration. What names a credential or a bucket that is not there (any
/// more) has no effect, and is said.
pub fn apply(config: &mut Config, changes: &[Change]) -> Vec<String> {
    changes.iter().filter_map(|change| apply_one(&mut config.buckets, change).err()).collect()
}

fn apply_one(buckets: &mut [Bucket], change: &Change) -> Result<(), String> {
    let id = &change.access_key_id;
    let no_effect = |why: &str| format!("{FILE}: the entry of {id} has no effect: {why}");
    let home = buckets.iter_mut().find(|bucket| bucket.credentials.iter().any(|c| c.access_key_id == *id));
    match (home, &change.bucket, &change.secret) {
        (Some(_), Some(_), _) => Err(no_effect("the configuration has a credential of this id")),
        (Some(bucket), None, _) => {
            change_configured(bucket, change);
            Ok(())
        }
        (None, Some(name), Some(secret)) => {
            let bucket = buckets.iter_mut().find(|bucket| bucket.name.as_str() == name);
            let bucket = bucket.ok_or_else(|| no_effect(&format!("there is no bucket {name}")))?;
            bucket.credentials.push(Credential {
                access_key_id: id.clone(),
                secret: secret.clone(),
                rights: change.rights.unwrap_or(Rights::ALL),
                rate: None,
                origin: Origin::Added,
            });
            Ok(())
        }
        (None, ..) => Err(no_effect("the configuration has no credential of this id")),
    }
}

fn change_configured(bucket: &mut Bucket, change: &Change) {
    let is_it = |credential: &Credential| credential.access_key_id == change.access_key_id;
    if change.removed {
        bucket.credentials.retain(|credential| !is_it(credential));
    }
    for credential in bucket.credentials.iter_mut().filter(|credential| is_it(credential)) {
        credential.origin = Origin::Changed;
        credential.rights = change.rights.unwrap_or(credential.rights);
        if let Some(secret) = &change.secret {
            credential.secret = secret.clone();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    const READ: Rights = Rights { read: true, write: false, delete: false };

    fn config() -> Config {
        let text = r#"
            [[buckets]]
            name = "app-1"
            [[buckets.credentials]]
            access_key_id = "A"
            secret_access_key = "secret-of-a"
            [[buckets.credentials]]
            access_key_id = "B"
            secret_access_key = "secret-of-b"
        "#;
        super::super::parse(text, Path::new("x"), Path::new(""), 0o600, &|_| None).0.unwrap()
    }

    fn added(id: &str, bucket: &str) -> Change {
        let secret = Some(Secret::new("a ${b} \"quoted\" secret".to_owned()));
        Change { bucket: Some(bucket.to_owned()), secret, rights: Some(READ), ..Change::to(id) }
    }

    #[test]
    fn what_is_saved_is_what_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        assert!(load(dir.path()).unwrap().is_empty());
        save(dir.path(), &[added("C", "app-1"), Change { removed: true, ..Change::to("A") }]).unwrap();
        let mode = std::fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let loaded = load(dir.path()).unwrap();
        let [c, a] = loaded.as_slice() else { panic!("{loaded:?}") };
        assert_eq!(c.secret.as_ref().unwrap().expose(), "a ${b} \"quoted\" secret");
        assert_eq!((c.rights, c.bucket.as_deref(), c.removed), (Some(READ), Some("app-1"), false));
        assert!(a.removed && a.secret.is_none() && a.rights.is_none());
    }

    #[test]
    fn changes_are_merged_into_the_configuration() {
        let mut config = config();
        let changes = [
            added("C", "app-1"),
            added("D", "gone"),
            Change { removed: true, ..Change::to("A") },
            Change { rights: Some(READ), ..Change::to("B") },
            Change { removed: true, ..Change::to("Z") },
        ];
        let notes = apply(&mut config, &changes);
        assert_eq!(notes.len(), 2, "{notes:?}");
        let shown: Vec<_> = config.buckets[0]
            .credentials
            .iter()
            .map(|c| (c.access_key_id.as_str(), c.rights == READ, c.origin))
            .collect();
        assert_eq!(shown, [("B", true, Origin::Changed), ("C", true, Origin::Added)]);
        assert_eq!(config.buckets[0].credentials[0].secret.expose(), "secret-of-b");
    }

    #[test]
    fn a_damaged_file_is_an_error_with_its_place() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), "[[credentials]]\naccess_key_id = \"A\"\nremved = true\n")
            .unwrap();
        let error = load(dir.path()).unwrap_err().to_string();
        assert!(error.contains("credentials.toml:3:1: error: unknown key `remved`"), "{error}");
    }
}
