//! The first start in an empty place: a configuration with one bucket and one credential.

use crate::config::DEFAULT_FILE;
use anyhow::Context as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

pub const BUCKET: &str = "my-bucket";

const UPPER: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// No `+`, `/` or quote: a secret that is pasted into a shell or a URL stays one word.
const MIXED: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
/// Lengths that AWS's ids and secrets have, and that some tools expect.
const ID_CHARS: usize = 20;
const SECRET_CHARS: usize = 40;

/// Writes the first configuration; refuses to replace one.
pub fn create(listen: SocketAddr, data_dir: Option<&Path>) -> anyhow::Result<PathBuf> {
    let file = PathBuf::from(DEFAULT_FILE);
    let id = format!("AKID{}", random(UPPER, ID_CHARS - 4)?);
    let secret = random(MIXED, SECRET_CHARS)?;
    let data_dir = data_dir.unwrap_or(Path::new("data"));
    let text = render(listen, data_dir, &id, &secret)?;
    write_new(&file, &text).with_context(|| format!("cannot create {}", file.display()))?;
    Ok(file)
}

fn write_new(file: &Path, text: &str) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(file)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn render(listen: SocketAddr, data_dir: &Path, id: &str, secret: &str) -> anyhow::Result<String> {
    let data_dir = data_dir.to_str().context("--data-dir is not UTF-8")?;
    let data_dir = toml::Value::from(data_dir.replace("${", "$${"));
    Ok(format!(
        r#"# Made by the first start of s3-orchestrator. Change it as you like, then restart the node;
# `s3-orchestrator check` says whether it is good, s3-orchestrator.toml(5) what else there is.

# Everything that the node keeps: metadata and objects.
data_dir = {data_dir}

[s3]
# Only programs on this machine reach this address; "0.0.0.0:9000" lets in the network.
listen = "{listen}"

[[buckets]]
name = "{BUCKET}"

  # Whoever has these two may read, write and delete in this bucket, and in no other.
  [[buckets.credentials]]
  access_key_id = "{id}"
  secret_access_key = "{secret}"
"#
    ))
}

/// `len` characters, each equally likely.
fn random(alphabet: &[u8], len: usize) -> anyhow::Result<String> {
    let mut text = String::with_capacity(len);
    // The largest multiple of the alphabet's size: what lies above would favour its beginning.
    let limit = 256 - 256 % alphabet.len();
    while text.len() < len {
        let mut bytes = [0u8; 64];
        getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no random numbers: {error}"))?;
        let fair = bytes.into_iter().map(usize::from).filter(|b| *b < limit);
        let chars = fair.filter_map(|b| alphabet.get(b % alphabet.len()));
        text.extend(chars.take(len - text.len()).map(|b| char::from(*b)));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config;

    #[test]
    fn the_first_configuration_is_good() {
        let dir = std::env::temp_dir().join(random(UPPER, 20).unwrap());
        std::fs::create_dir(&dir).unwrap();
        let file = dir.join("x.toml");
        let secret = random(MIXED, SECRET_CHARS).unwrap();
        let listen = SocketAddr::from(([127, 0, 0, 1], 9000));
        let text = render(listen, Path::new("a \"b\" ${C}"), "AKIDX", &secret).unwrap();
        write_new(&file, &text).unwrap();
        let loaded = config::load(&file, &|_| None);
        assert!(write_new(&file, "other").is_err(), "replaced a file");
        std::fs::remove_dir_all(&dir).unwrap();
        let loaded = loaded.unwrap();
        assert!(loaded.warnings.is_empty());
        assert_eq!(loaded.config.data_dir, dir.join("a \"b\" ${C}"));
        let bucket = loaded.config.buckets.first().unwrap();
        assert_eq!(bucket.credentials.first().unwrap().secret.expose(), secret);
    }

    #[test]
    fn random_texts_have_their_length_and_differ() {
        let (a, b) = (random(MIXED, 40).unwrap(), random(MIXED, 40).unwrap());
        assert_eq!((a.len(), b.len()), (40, 40));
        assert_ne!(a, b);
    }
}
