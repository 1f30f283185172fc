//! Answers: straight into one buffer.

use bytes::Bytes;
use std::fmt::{Display, Write as _};
use types::{Checksum, Timestamp};

const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";
const HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

pub struct Writer(String);

impl Writer {
    /// A document with its root element opened, in S3's namespace.
    pub fn new(root: &str, capacity: usize) -> Self {
        let mut writer = Self::headed(capacity);
        let _ = write!(writer.0, "<{root} xmlns=\"{NAMESPACE}\">");
        writer
    }

    /// The same without a namespace: errors have none.
    pub fn plain(root: &str) -> Self {
        let mut writer = Self::headed(512);
        writer.open(root);
        writer
    }

    /// To follow an XML declaration that is already sent.
    pub fn headless(self) -> Bytes {
        Bytes::from(self.0).slice(HEAD.len()..)
    }

    fn headed(capacity: usize) -> Self {
        let mut out = String::with_capacity(HEAD.len() + capacity);
        out.push_str(HEAD);
        Self(out)
    }

    pub fn open(&mut self, tag: &str) {
        self.0.push('<');
        self.0.push_str(tag);
        self.0.push('>');
    }

    pub fn close(&mut self, tag: &str) {
        self.0.push_str("</");
        self.0.push_str(tag);
        self.0.push('>');
    }

    /// Text from outside.
    pub fn text(&mut self, tag: &str, text: &str) {
        self.open(tag);
        escape(text, &mut self.0);
        self.close(tag);
    }

    pub fn optional(&mut self, tag: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(tag, text);
        }
    }

    /// What needs no escaping: numbers, words of ours, percent-encoded text.
    pub fn raw(&mut self, tag: &str, value: impl Display) {
        self.open(tag);
        let _ = write!(self.0, "{value}");
        self.close(tag);
    }

    pub fn etag(&mut self, etag: &types::ETag) {
        self.raw("ETag", format_args!("&quot;{etag}&quot;"));
    }

    pub fn time(&mut self, tag: &str, time: Timestamp) {
        self.open(tag);
        crate::dates::iso8601(time, &mut self.0);
        self.close(tag);
    }

    /// `<ChecksumCRC32>...</ChecksumCRC32>`.
    pub fn checksum(&mut self, checksum: &Checksum) {
        self.raw(checksum_element(checksum.algorithm()), checksum.to_base64());
    }

    /// There are no accounts: whoever owns the bucket owns what is in it.
    pub fn person(&mut self, tag: &str, bucket: &str) {
        self.open(tag);
        self.text("ID", bucket);
        self.text("DisplayName", bucket);
        self.close(tag);
    }

    pub fn finish(mut self, root: &str) -> Self {
        self.close(root);
        self
    }

    pub fn into_bytes(self) -> Bytes {
        Bytes::from(self.0)
    }
}

pub fn checksum_element(algorithm: types::Algorithm) -> &'static str {
    use types::Algorithm as A;
    match algorithm {
        A::Crc32 => "ChecksumCRC32",
        A::Crc32c => "ChecksumCRC32C",
        A::Crc64Nvme => "ChecksumCRC64NVME",
        A::Sha1 => "ChecksumSHA1",
        A::Sha256 => "ChecksumSHA256",
    }
}

/// Line ends become references, or a parser would normalise them
/// (<https://www.w3.org/TR/xml/#sec-line-ends>). Characters that XML 1.0 cannot express become
/// references too, as on AWS: a client notices, and lists again with `encoding-type=url`; a
/// replacement character would be taken for the key's name.
fn escape(text: &str, out: &mut String) {
    let mut rest = text;
    while let Some(at) = rest.find(special) {
        let (plain, tail) = rest.split_at(at);
        out.push_str(plain);
        let mut chars = tail.chars();
        match chars.next() {
            Some('&') => out.push_str("&amp;"),
            Some('<') => out.push_str("&lt;"),
            Some('>') => out.push_str("&gt;"),
            Some('"') => out.push_str("&quot;"),
            Some('\'') => out.push_str("&apos;"),
            Some(other) => {
                let _ = write!(out, "&#x{:X};", u32::from(other));
            }
            None => {}
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
}

fn special(c: char) -> bool {
    matches!(c, '&' | '<' | '>' | '"' | '\'' | '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{fffe}' | '\u{ffff}')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::xml;

    #[test]
    fn escapes() {
        let mut out = String::new();
        escape("a<b>&\"'\r\n\t\u{1}\u{fffe}\u{e9}/", &mut out);
        assert_eq!(out, "a&lt;b&gt;&amp;&quot;&apos;&#xD;&#xA;&#x9;&#x1;&#xFFFE;\u{e9}/");
    }

    #[test]
    fn what_is_written_reads_back() {
        for text in ["plain", " a ", "<![CDATA[x]]>", "&amp;\r\n\t'\"", "\u{1F600}\u{85}\u{2028}", ""] {
            let mut writer = Writer::new("Root", 0);
            writer.text("Key", text);
            let bytes = writer.finish("Root").into_bytes();
            let root = xml::parse(&bytes, "Root").unwrap();
            assert_eq!(root.text_of("Key").unwrap(), text);
        }
    }

    #[test]
    fn head_and_rest_are_the_whole() {
        let writer = || Writer::plain("Error").finish("Error");
        let joined = [HEAD.as_bytes(), &writer().headless()].concat();
        assert_eq!(joined, writer().into_bytes());
    }
}
