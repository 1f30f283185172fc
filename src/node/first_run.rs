//! A new configuration with one bucket and one credential: of `init`, and of a first start in an
//! empty place.

use crate::config::DEFAULT_FILE;
use crate::new_key;
use anyhow::Context as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

pub const BUCKET: &str = "my-bucket";

/// What a new configuration says.
pub struct Wanted<'a> {
    pub file: &'a Path,
    pub listen: SocketAddr,
    pub data_dir: &'a Path,
    pub bucket: &'a str,
    /// As it stands in a configuration: "100GB".
    pub quota: Option<&'a str>,
}

/// The credential of a new configuration.
pub struct Made {
    pub access_key_id: String,
    pub secret_access_key: String,
}

/// The first configuration of a start in an empty place.
pub fn create(listen: SocketAddr, data_dir: Option<&Path>) -> anyhow::Result<PathBuf> {
    let file = PathBuf::from(DEFAULT_FILE);
    let data_dir = data_dir.unwrap_or(Path::new("data"));
    write(&Wanted { file: &file, listen, data_dir, bucket: BUCKET, quota: None })?;
    Ok(file)
}

/// Writes a configuration with a random credential; refuses to replace one.
pub fn write(wanted: &Wanted<'_>) -> anyhow::Result<Made> {
    let made =
        Made { access_key_id: new_key::access_key_id()?, secret_access_key: new_key::secret_access_key()? };
    let text = render(wanted, &made)?;
    write_new(wanted.file, &text).with_context(|| format!("cannot create {}", wanted.file.display()))?;
    Ok(made)
}

fn write_new(file: &Path, text: &str) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(file)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn render(wanted: &Wanted<'_>, made: &Made) -> anyhow::Result<String> {
    let data_dir = wanted.data_dir.to_str().context("the data directory's name is not UTF-8")?;
    let data_dir = toml::Value::from(data_dir.replace("${", "$${"));
    let quota = match wanted.quota {
        Some(quota) => format!("quota = {}", toml::Value::from(quota)),
        None => "#quota = \"100GB\"".to_owned(),
    };
    let Wanted { listen, bucket, .. } = wanted;
    let Made { access_key_id, secret_access_key } = made;
    Ok(format!(
        r#"# Made by s3-orchestrator. Change it as you like: `s3-orchestrator check` says whether it is good,
# `s3-orchestrator reload` has a running node read it anew, s3-orchestrator.toml(5) tells what else
# there is.

# Everything that the node keeps: metadata and objects.
data_dir = {data_dir}

[s3]
# Only programs on this machine reach 127.0.0.1; "0.0.0.0:9000" lets in the network.
listen = "{listen}"

[[buckets]]
name = "{bucket}"
# What its objects may take together.
{quota}

  # Whoever has these two may read, write and delete in this bucket, and in no other.
  [[buckets.credentials]]
  access_key_id = "{access_key_id}"
  secret_access_key = "{secret_access_key}"
"#
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config;

    #[test]
    fn the_first_configuration_is_good() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.toml");
        let listen = SocketAddr::from(([127, 0, 0, 1], 9000));
        let data_dir = Path::new("a \"b\" ${C}");
        let wanted = Wanted { file: &file, listen, data_dir, bucket: "app-1", quota: Some("5GB") };
        let made = write(&wanted).unwrap();
        assert!(write(&wanted).is_err(), "replaced a file");
        let loaded = config::load(&file, &|_| None).unwrap();
        assert!(loaded.warnings.is_empty());
        assert_eq!(loaded.config.data_dir, dir.path().join(data_dir));
        let bucket = loaded.config.buckets.first().unwrap();
        assert_eq!((bucket.name.as_str(), bucket.quota_bytes), ("app-1", Some(5_000_000_000)));
        let credential = bucket.credentials.first().unwrap();
        assert_eq!(credential.access_key_id, made.access_key_id);
        assert_eq!(credential.secret.expose(), made.secret_access_key);
    }
}
