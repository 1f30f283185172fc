//! `[s3.tls]`: certificate and key, read and held against each other.

use super::keys;
use super::reader::{At, Reader, Section, Span};
use s3api::Identity;
use s3api::tls::{BadIdentity, Pem};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use zeroize::Zeroizing;

/// A chain with room to spare, and a bound for what is no certificate at all.
const MAX_FILE_BYTES: u64 = 1 << 20;

#[derive(Debug, Clone)]
pub struct Tls {
    pub files: Files,
    pub identity: Identity,
    pub handshake_timeout: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub client_ca: Option<PathBuf>,
}

/// Which file is wrong, and why.
#[derive(Debug)]
pub enum Wrong {
    Certificate(String),
    Key(String),
    ClientCa(String),
}

impl Files {
    /// As the files are now.
    pub fn load(&self) -> Result<Identity, Wrong> {
        let certificates = read(&self.certificate).map_err(Wrong::Certificate)?;
        let key = read(&self.key).map_err(Wrong::Key)?;
        let client_ca = self.client_ca.as_deref().map(read).transpose().map_err(Wrong::ClientCa)?;
        let pem = Pem {
            certificates: &certificates,
            key: &key,
            client_ca: client_ca.as_ref().map(|pem| pem.as_slice()),
        };
        Identity::new(&pem).map_err(|error| match error {
            BadIdentity::Certificate(why) => Wrong::Certificate(said(&self.certificate, &why)),
            BadIdentity::Key(why) => Wrong::Key(said(&self.key, &why)),
            BadIdentity::ClientCa(why) => {
                Wrong::ClientCa(said(self.client_ca.as_deref().unwrap_or(Path::new("")), &why))
            }
        })
    }
}

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self::Certificate(why) | Self::Key(why) | Self::ClientCa(why)) = self;
        f.write_str(why)
    }
}

fn said(file: &Path, why: &str) -> String {
    format!("{}: {why}", file.display())
}

fn read(file: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let failed = |error: std::io::Error| said(file, &format!("cannot be read: {error}"));
    if std::fs::metadata(file).map_err(failed)?.len() > MAX_FILE_BYTES {
        return Err(said(file, "is larger than 1 MiB"));
    }
    std::fs::read(file).map(Zeroizing::new).map_err(failed)
}

pub fn read_tls<'a>(reader: &mut Reader<'a>, s3: &Section<'a>) -> Option<Tls> {
    let section = reader.table(s3, "tls", "[s3.tls]", keys::TLS)?;
    let certificate = reader.required(&section, "certificate");
    let key = reader.required(&section, "key");
    let client_ca = reader.text(&section, "client_ca");
    let handshake_timeout = reader.duration(&section, "handshake_timeout").unwrap_or(Duration::from_secs(10));
    let path = |reader: &Reader<'a>, at: &At<String>| reader.dir.join(&at.value);
    let (certificate, key) = (certificate?, key?);
    let files = Files {
        certificate: path(reader, &certificate),
        key: path(reader, &key),
        client_ca: client_ca.as_ref().map(|at| path(reader, at)),
    };
    warn_of_readable(reader, &files.key, &key.span);
    let identity = match files.load() {
        Ok(identity) => identity,
        Err(wrong) => {
            let span = match &wrong {
                Wrong::Certificate(_) => certificate.span,
                Wrong::Key(_) => key.span,
                Wrong::ClientCa(_) => section.span_of("client_ca"),
            };
            reader.problems.error(&span, wrong.to_string());
            return None;
        }
    };
    Some(Tls { files, identity, handshake_timeout })
}

fn warn_of_readable(reader: &mut Reader<'_>, key: &Path, span: &Span) {
    let mode = std::fs::metadata(key).map(|about| about.permissions().mode()).unwrap_or_default();
    if mode & 0o004 != 0 {
        let message = format!("everybody on this machine can read {}; chmod 600 it", key.display());
        reader.problems.warning(span, message);
    }
}
