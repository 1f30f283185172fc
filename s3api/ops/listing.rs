//! What the listings share: encoding, delimiters, entries.

use super::Call;
use crate::error::{Result, S3Error};
use crate::percent;
use crate::xml::Writer;
use store::{ListEntry, Object};
use types::Key;

/// How names are written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Names {
    /// `encoding-type=url`.
    pub url: bool,
}

impl Names {
    pub fn of(call: &Call<'_>) -> Result<Self> {
        match call.query.get("encoding-type") {
            None | Some("") => Ok(Self { url: false }),
            Some("url") => Ok(Self { url: true }),
            Some(other) => Err(S3Error::invalid_argument(
                "Invalid Encoding Method specified in Request",
                "encoding-type",
                other,
            )),
        }
    }

    pub fn write(self, xml: &mut Writer, tag: &str, name: &str) {
        if self.url { xml.raw(tag, percent::encode_path(name)) } else { xml.text(tag, name) }
    }

    pub fn write_optional(self, xml: &mut Writer, tag: &str, name: Option<&str>) {
        if let Some(name) = name {
            self.write(xml, tag, name);
        }
    }

    pub fn write_type(self, xml: &mut Writer) {
        if self.url {
            xml.raw("EncodingType", "url");
        }
    }
}

/// The common prefix that `marker` itself is, if it is one: the listing then goes on behind the
/// whole group, not inside it.
pub fn as_group<'a>(marker: &'a str, prefix: &str, delimiter: Option<&str>) -> Option<&'a str> {
    let delimiter = delimiter.filter(|delimiter| !delimiter.is_empty())?;
    let rest = marker.strip_prefix(prefix)?;
    (rest.find(delimiter)? + delimiter.len() == rest.len()).then_some(marker)
}

/// `x-amz-optional-object-attributes`: no object here is ever being restored, so nothing is added
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html>).
pub fn check_optional_attributes(call: &Call<'_>) -> Result<()> {
    let name = "x-amz-optional-object-attributes";
    let Some(text) = call.header(name) else { return Ok(()) };
    match text.split(',').map(str::trim).find(|attribute| *attribute != "RestoreStatus") {
        Some(unknown) => Err(S3Error::invalid_argument("Invalid attribute name specified.", name, unknown)),
        None => Ok(()),
    }
}

/// Room for a page, so that the buffer grows rarely.
pub fn capacity(entries: &[ListEntry]) -> usize {
    1024 + entries.len() * 384
}

pub fn write_entries(xml: &mut Writer, entries: &[ListEntry], names: Names, owner: Option<&str>) {
    for entry in entries {
        if let ListEntry::Object(key, object) = entry {
            write_object(xml, key, object, names, owner);
        }
    }
    for entry in entries {
        if let ListEntry::CommonPrefix(prefix) = entry {
            write_prefix(xml, prefix, names);
        }
    }
}

pub fn write_prefix(xml: &mut Writer, prefix: &str, names: Names) {
    xml.open("CommonPrefixes");
    names.write(xml, "Prefix", prefix);
    xml.close("CommonPrefixes");
}

fn write_object(xml: &mut Writer, key: &Key, object: &Object, names: Names, owner: Option<&str>) {
    xml.open("Contents");
    names.write(xml, "Key", key.as_str());
    xml.time("LastModified", object.modified);
    xml.etag(&object.etag);
    if let Some(checksum) = &object.checksum {
        xml.raw("ChecksumAlgorithm", checksum.algorithm().name());
        xml.raw("ChecksumType", checksum.kind().name());
    }
    xml.raw("Size", object.size);
    if let Some(owner) = owner {
        xml.person("Owner", owner);
    }
    xml.text("StorageClass", object.headers.storage_class.as_deref().unwrap_or("STANDARD"));
    xml.close("Contents");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_that_are_groups() {
        for (marker, prefix, delimiter, expected) in [
            ("a/", "", Some("/"), true),
            ("a/b/", "a/", Some("/"), true),
            ("a/b", "", Some("/"), false),
            ("a/b/", "", Some("/"), false),
            ("a", "", Some("/"), false),
            ("a/", "b", Some("/"), false),
            ("a/", "", None, false),
            ("a/", "", Some(""), false),
            ("a--", "", Some("--"), true),
            ("a/", "a/", Some("/"), false),
        ] {
            assert_eq!(
                as_group(marker, prefix, delimiter).is_some(),
                expected,
                "{marker} {prefix} {delimiter:?}"
            );
        }
    }
}
