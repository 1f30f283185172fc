//! What bytes are for, so that a backend that can say it does: a provider's bucket or a disk then
//! describes itself to people, and to whoever rebuilds a node from it.

use backend::{About, NewReplica, Pairs};
use meta::NewBlob;
use types::hex::{hex, unhex};
use types::{Algorithm, BlobId, BucketId, Checksum, Key, ObjectHeaders, Tags};

use crate::Inner;

/// Says that the client gave no content type.
pub const UNTYPED: &str = "untyped";
pub const REDIRECT: &str = "x-amz-website-redirect-location";
pub const STORAGE_CLASS: &str = "x-amz-storage-class";

#[derive(Clone, Copy)]
pub struct Purpose<'a> {
    pub bucket: BucketId,
    pub key: &'a Key,
    /// Of the object; a part has those of its upload.
    pub headers: &'a ObjectHeaders,
    /// A part of an upload, or a piece that comes behind an object: its number.
    pub part: Option<u16>,
}

impl Purpose<'_> {
    /// What a replica says of itself before its bytes are known.
    pub(crate) fn describe(&self, inner: &Inner, blob: BlobId, size: Option<u64>) -> NewReplica {
        let name = inner.settings.bucket_name(self.bucket);
        let name = name.as_ref().map(|name| name.as_str()).unwrap_or_default();
        let mut identity = vec![
            ("blob".to_owned(), blob.to_string()),
            ("node".to_owned(), inner.node.clone()),
            ("bucket".to_owned(), name.to_owned()),
            ("key".to_owned(), self.key.as_str().to_owned()),
        ];
        if let Some(part) = self.part {
            identity.push(("part".to_owned(), part.to_string()));
        }
        if self.headers.content_type.is_none() {
            identity.push((UNTYPED.to_owned(), "1".to_owned()));
        }
        if !self.headers.tags.is_empty() {
            identity.push(("tags".to_owned(), tags_in_words(&self.headers.tags)));
        }
        NewReplica {
            blob,
            readable: Some(format!("{name}/{}", self.key.as_str())),
            size,
            headers: headers(self.headers),
            metadata: self.headers.user_metadata.clone(),
            identity,
        }
    }
}

/// Tags have no control characters, so these can part them.
fn tags_in_words(tags: &Tags) -> String {
    let pairs: Vec<_> = tags.pairs().iter().map(|(name, value)| format!("{name}\t{value}")).collect();
    pairs.join("\n")
}

pub fn tags_of(words: &str) -> Tags {
    let pair = |line: &str| line.split_once('\t').map(|(name, value)| (name.to_owned(), value.to_owned()));
    let pairs = words.split('\n').filter_map(pair).collect();
    Tags::new(pairs).unwrap_or_default()
}

fn headers(headers: &ObjectHeaders) -> Pairs {
    let all = [
        ("content-type", &headers.content_type),
        ("cache-control", &headers.cache_control),
        ("content-disposition", &headers.content_disposition),
        ("content-encoding", &headers.content_encoding),
        ("content-language", &headers.content_language),
        ("expires", &headers.expires),
        (REDIRECT, &headers.website_redirect_location),
        (STORAGE_CLASS, &headers.storage_class),
    ];
    let given = all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?)));
    given.collect()
}

/// What is known only when the body has ended.
pub fn identity_of(blob: &NewBlob, md5: [u8; 16], checksum: &Checksum) -> Pairs {
    let pairs = [
        ("size", blob.size.to_string()),
        ("written", blob.written.millis().to_string()),
        ("md5", hex(&md5)),
        ("checksum", checksum_in_words(checksum)),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

pub fn checksum_in_words(checksum: &Checksum) -> String {
    format!("{} {}", checksum.algorithm().name(), hex(checksum.bytes()))
}

pub fn checksum_of(words: &str) -> Option<Checksum> {
    let (name, digits) = words.split_once(' ')?;
    Checksum::new(Algorithm::from_name(name)?, &unhex(digits)?)
}

/// Whose bytes a replica says that it is. A copy has a number of its own in its name.
pub fn blob_of(about: &About) -> Option<BlobId> {
    BlobId::parse(about.said("blob")?)
}
