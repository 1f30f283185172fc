//! Extended attributes: what S3 says of an object, and its user metadata.
//!
//! `user.s3.etag`, `user.s3.content-type`, `user.s3.checksum`, `user.s3.tag.NAME`: of the object, not to be changed here.
//! `user.s3.hidden`, of a directory: what in it cannot be shown, by reason. `user.NAME`: user metadata.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::sync::Arc;
use store::{ListStart, Object};
use types::{Key, ObjectHeaders, Version};

use crate::directory;
use crate::errno::{self, Answer, Errno};
use crate::filesystem::FileSystem;
use crate::names::{self, Reason};

const PREFIX: &str = "user.";
const S3_PREFIX: &str = "user.s3.";
const HIDDEN: &str = "user.s3.hidden";
/// Shown by stat, and set by chmod, chown, utimens.
const BY_OTHER_MEANS: [&str; 4] = ["mode", "uid", "gid", "mtime"];
/// HTTP header names: what a metadata name may be made of.
const NAME_BYTES: &[u8] = b"!#$%&'*+-.^_`|~";
/// Counting what is hidden looks at so many entries.
const MAX_COUNTED: usize = 1_000_000;
const COUNT_STEP: usize = 1000;

/// setxattr(2)'s flags.
const CREATE: i32 = 1;
const REPLACE: i32 = 2;

/// Labels, capabilities and ACLs are never there. EOPNOTSUPP says so of the whole file system: after one ENODATA,
/// `ls -l` would ask twice for each name, and the kernel remembers no answer.
pub fn has_namespace(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(PREFIX.as_bytes())
}

impl FileSystem {
    pub fn extended_attribute(&self, ino: u64, name: &OsStr) -> Answer<Vec<u8>> {
        let name = name.to_str().ok_or(Errno::NODATA)?;
        if let Some(prefix) = self.directory_prefix(ino) {
            return match name {
                HIDDEN => Ok(self.hidden_text(&prefix)?.into_bytes()),
                _ => find(&self.marker_attributes(&prefix)?, name),
            };
        }
        find(&self.file_attributes(ino)?, name)
    }

    pub fn extended_attributes(&self, ino: u64) -> Answer<Vec<String>> {
        let mut found: Vec<String> = match self.directory_prefix(ino) {
            Some(prefix) => {
                let shown = self.marker_attributes(&prefix)?;
                shown.into_iter().map(|(name, _)| name).chain([HIDDEN.to_owned()]).collect()
            }
            None => self.file_attributes(ino)?.into_iter().map(|(name, _)| name).collect(),
        };
        found.sort();
        Ok(found)
    }

    fn directory_prefix(&self, ino: u64) -> Option<String> {
        self.inodes.lock().directory(ino)?;
        self.inodes.prefix_of(ino)
    }

    fn marker_attributes(&self, prefix: &str) -> Answer<Vec<(String, String)>> {
        let marker = directory::marker_of(&self.source, prefix)?;
        Ok(marker.map(|marker| metadata_of(&marker.headers)).unwrap_or_default())
    }

    fn file_attributes(&self, ino: u64) -> Answer<Vec<(String, String)>> {
        if let Some(staged) = self.inodes.staged(ino) {
            return Ok(metadata_of(&staged.state().headers));
        }
        let object = match self.current(ino)? {
            Some(object) => object,
            None => self.inodes.held(ino).ok_or(Errno::STALE)?.object().map_err(errno::of)?,
        };
        Ok(of_object(&object))
    }

    pub async fn set_extended_attribute(
        self: Arc<Self>,
        ino: u64,
        name: String,
        value: Vec<u8>,
        flags: i32,
    ) -> Answer<()> {
        let name = changeable(&name)?;
        let value = String::from_utf8(value).map_err(|_| Errno::INVAL)?;
        if value.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
            return Err(Errno::INVAL);
        }
        self.edit_metadata(ino, move |pairs| {
            let there = pairs.iter().any(|(known, _)| *known == name);
            match flags {
                CREATE if there => return Err(Errno::EXIST),
                REPLACE if !there => return Err(Errno::NODATA),
                _ => {}
            }
            pairs.retain(|(known, _)| *known != name);
            pairs.push((name, value));
            Ok(())
        })
        .await
    }

    pub async fn remove_extended_attribute(self: Arc<Self>, ino: u64, name: String) -> Answer<()> {
        let name = changeable(&name)?;
        self.edit_metadata(ino, move |pairs| {
            let before = pairs.len();
            pairs.retain(|(known, _)| *known != name);
            if pairs.len() == before { Err(Errno::NODATA) } else { Ok(()) }
        })
        .await
    }

    async fn edit_metadata(
        &self,
        ino: u64,
        edit: impl FnOnce(&mut Vec<(String, String)>) -> Answer<()> + Send + 'static,
    ) -> Answer<()> {
        self.check_writable()?;
        if let Some(staged) = self.inodes.staged(ino) {
            edit(&mut staged.state().headers.user_metadata)?;
            self.restated(ino);
            return Ok(());
        }
        let path = self.inodes.path_of(ino).ok_or(Errno::NOENT)?;
        let key = Key::new(path).map_err(|_| Errno::PERM)?;
        let found = self.store().hold(self.source.bucket, &key).map_err(errno::of)?;
        let (object, _) = found.ok_or(Errno::PERM)?;
        if !key.as_str().ends_with('/') && object.version != Version(ino) {
            return Err(Errno::STALE);
        }
        let mut pairs = object.headers.user_metadata.clone();
        edit(&mut pairs)?;
        let put = move |headers: &mut ObjectHeaders| headers.user_metadata = pairs;
        match self.store().restate(self.asker(false), key, object.version, put).await {
            Ok(_) => {
                self.restated(ino);
                Ok(())
            }
            Err(store::StoreError::TooLarge { .. }) => Err(Errno::NOSPC),
            Err(error) => Err(errno::of(error)),
        }
    }

    fn hidden_text(&self, prefix: &str) -> Answer<String> {
        let counted = self.hidden(prefix)?;
        let text: Vec<String> =
            counted.iter().map(|(reason, count)| format!("{}={count}", reason.name())).collect();
        Ok(text.join(" "))
    }

    /// How many entries of a directory are not shown, by reason.
    pub fn hidden(&self, prefix: &str) -> Answer<BTreeMap<Reason, u64>> {
        let mut counts: BTreeMap<Reason, u64> = Reason::ALL.map(|reason| (reason, 0)).into();
        let mut add = |reason| *counts.entry(reason).or_default() += 1;
        let (mut start, mut seen) = (ListStart::Beginning, 0);
        let mut files: Vec<String> = Vec::new();
        while seen < MAX_COUNTED {
            let source = &self.source;
            let step = source.store.hold_children(source.bucket, prefix, start, COUNT_STEP);
            let step = step.map_err(errno::of)?;
            for child in &step {
                let text = child.text().get(prefix.len()..).unwrap_or_default();
                if let Some(flaw) = names::flaw(text) {
                    add(flaw.reason);
                    continue;
                }
                // A file is hidden by a directory that comes behind it, before it is passed.
                files.retain(|file| text <= file.as_str());
                match text.ends_with('/') {
                    true if files.iter().any(|file| file == text) => add(Reason::Shadowed),
                    false => files.push(format!("{text}/")),
                    true => {}
                }
            }
            seen += step.len();
            let Some(last) = step.last().filter(|_| step.len() == COUNT_STEP) else { break };
            start = last.next();
        }
        Ok(counts)
    }
}

fn find(attributes: &[(String, String)], name: &str) -> Answer<Vec<u8>> {
    let found = attributes.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| value.clone().into_bytes()).ok_or(Errno::NODATA)
}

fn of_object(object: &Object) -> Vec<(String, String)> {
    let mut found = vec![(format!("{S3_PREFIX}etag"), object.etag.to_string())];
    if let Some(kind) = &object.headers.content_type {
        found.push((format!("{S3_PREFIX}content-type"), kind.clone()));
    }
    if let Some(sum) = &object.checksum {
        found.push((
            format!("{S3_PREFIX}checksum"),
            format!("{}:{}", sum.algorithm().name(), sum.to_base64()),
        ));
    }
    for (name, value) in object.headers.tags.pairs() {
        found.push((format!("{S3_PREFIX}tag.{name}"), value.clone()));
    }
    found.extend(metadata_of(&object.headers));
    found
}

fn metadata_of(headers: &ObjectHeaders) -> Vec<(String, String)> {
    let shown = |(name, _): &&(String, String)| !BY_OTHER_MEANS.contains(&name.as_str());
    let pair = |(name, value): &(String, String)| (format!("{PREFIX}{name}"), value.clone());
    headers.user_metadata.iter().filter(shown).map(pair).collect()
}

/// The metadata name of an attribute that may be changed.
fn changeable(name: &str) -> Answer<String> {
    let Some(name) = name.strip_prefix(PREFIX) else { return Err(Errno::OPNOTSUPP) };
    let lower = name.to_ascii_lowercase();
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || NAME_BYTES.contains(&byte);
    match () {
        () if lower.starts_with("s3.") || BY_OTHER_MEANS.contains(&lower.as_str()) => Err(Errno::PERM),
        () if lower != name || name.is_empty() || !name.bytes().all(fits) => Err(Errno::INVAL),
        () => Ok(lower),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_a_header_can_be_an_attribute() {
        assert_eq!(changeable("user.color"), Ok("color".to_owned()));
        assert_eq!(changeable("user.a-b_c"), Ok("a-b_c".to_owned()));
        for (name, error) in [
            ("security.x", Errno::OPNOTSUPP),
            ("user.s3.etag", Errno::PERM),
            ("user.mtime", Errno::PERM),
            ("user.Color", Errno::INVAL),
            ("user.a b", Errno::INVAL),
            ("user.", Errno::INVAL),
        ] {
            assert_eq!(changeable(name), Err(error), "{name}");
        }
    }
}
