//! `[[mounts]]`: buckets that are shown as directories.

use super::keys;
use super::reader::{Reader, Section};
use std::path::PathBuf;
use types::{BucketName, MAX_KEY_BYTES};

pub const DEFAULT_FILE_MODE: u32 = 0o644;
pub const DEFAULT_DIR_MODE: u32 = 0o755;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    pub bucket: BucketName,
    pub path: PathBuf,
    /// Empty, or with a slash at its end.
    pub prefix: String,
    pub read_only: bool,
    pub nonempty: bool,
    pub allow_other: bool,
    /// `None`: the node's own.
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub file_mode: u32,
    pub dir_mode: u32,
}

/// `buckets` are the configured ones.
pub fn read<'a>(reader: &mut Reader<'a>, top: &Section<'a>, buckets: &[super::Bucket]) -> Vec<Mount> {
    let mut mounts: Vec<Mount> = Vec::new();
    for section in reader.tables(top, "mounts", "[[mounts]]", keys::MOUNTS) {
        if let Some(mount) = mount(reader, &section, buckets) {
            if mounts.iter().any(|other| other.path == mount.path) {
                let message = format!("`path` {} is mounted on twice", mount.path.display());
                reader.problems.error(&section.span_of("path"), message);
            }
            mounts.push(mount);
        }
    }
    mounts
}

fn mount<'a>(reader: &mut Reader<'a>, section: &Section<'a>, buckets: &[super::Bucket]) -> Option<Mount> {
    let bucket = bucket(reader, section, buckets);
    let path = reader.required(section, "path");
    let path = path.and_then(|text| {
        let good = if text.value.is_empty() { Err("`path` is empty".to_owned()) } else { Ok(()) };
        reader.parsed(&text, good).map(|()| reader.dir.join(&text.value))
    });
    let prefix = reader.text(section, "prefix").map_or(Some(String::new()), |text| {
        let prefix = check_prefix(&text.value);
        reader.parsed(&text, prefix)
    });
    // All of it is read before any of it is missed: every mistake is said.
    let (read_only, nonempty) = (reader.boolean(section, "read_only"), reader.boolean(section, "nonempty"));
    let allow_other = reader.boolean(section, "allow_other");
    let (uid, gid) = (reader.number(section, "uid"), reader.number(section, "gid"));
    let file_mode = mode(reader, section, "file_mode", DEFAULT_FILE_MODE);
    let dir_mode = mode(reader, section, "dir_mode", DEFAULT_DIR_MODE);
    Some(Mount {
        bucket: bucket?,
        path: path?,
        prefix: prefix?,
        read_only: read_only.unwrap_or(true),
        nonempty: nonempty.unwrap_or(false),
        allow_other: allow_other.unwrap_or(false),
        uid,
        gid,
        file_mode,
        dir_mode,
    })
}

fn bucket<'a>(
    reader: &mut Reader<'a>,
    section: &Section<'a>,
    buckets: &[super::Bucket],
) -> Option<BucketName> {
    let text = reader.required(section, "bucket")?;
    let found = buckets.iter().find(|bucket| bucket.name.as_str() == text.value);
    let found = found.map(|bucket| bucket.name.clone());
    reader.parsed(&text, found.ok_or_else(|| format!("there is no bucket \"{}\"", text.value)))
}

/// With a slash at its end, so that it ends where a name ends.
pub fn check_prefix(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Ok(String::new());
    }
    let prefix = if text.ends_with('/') { text.to_owned() } else { format!("{text}/") };
    let whole = |name: &str| !name.is_empty() && name != "." && name != ".." && !name.contains('\0');
    let names = prefix.strip_suffix('/').unwrap_or_default();
    if prefix.len() > MAX_KEY_BYTES || !names.split('/').all(whole) {
        return Err(format!("\"{text}\" is not a path below the bucket, such as \"photos/2024\""));
    }
    Ok(prefix)
}

fn mode<'a>(reader: &mut Reader<'a>, section: &Section<'a>, key: &str, default: u32) -> u32 {
    let Some(text) = reader.text(section, key) else { return default };
    let mode = check_mode(&text.value).ok_or_else(|| format!("`{key}` takes an octal mode such as \"0644\""));
    reader.parsed(&text, mode).unwrap_or(default)
}

pub fn check_mode(text: &str) -> Option<u32> {
    u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777 && !text.starts_with('+'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_end_where_names_end() {
        assert_eq!(check_prefix(""), Ok(String::new()));
        assert_eq!(check_prefix("a"), Ok("a/".to_owned()));
        assert_eq!(check_prefix("a/b/"), Ok("a/b/".to_owned()));
        for bad in ["/", "/a", "a//b", "a/..", ".", &"x".repeat(1025)] {
            assert!(check_prefix(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn modes_are_octal_and_plain() {
        assert_eq!(check_mode("0644"), Some(0o644));
        assert_eq!(check_mode("755"), Some(0o755));
        for bad in ["", "rw", "4755", "+644", "888"] {
            assert_eq!(check_mode(bad), None, "{bad}");
        }
    }
}
