//! Which blobs an object is made of, where it is several: none of them says so of itself. It is written beside the
//! snapshots before the object is acknowledged, and kept until every kept snapshot has the object.

use meta::BlobPart;
use std::fmt::Write as _;
use types::{BlobId, BucketName, Checksum, ETag, Key, Timestamp, UploadId};

use super::seal::{seal, unseal};
use crate::purpose::{checksum_in_words, checksum_of};

const TITLE: &str = "s3-orchestrator joint 1";
const NONE: &str = "-";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joint {
    pub blob: BlobId,
    pub bucket: BucketName,
    pub key: Key,
    /// That it was completed from; none of an append.
    pub upload: Option<UploadId>,
    pub modified: Timestamp,
    pub etag: ETag,
    pub checksum: Option<Checksum>,
    pub parts: Vec<BlobPart>,
}

impl Joint {
    pub fn encode(&self) -> String {
        let Self { blob, bucket, key, upload, modified, etag, checksum, parts } = self;
        let key = key.as_str().replace('%', "%25").replace('\n', "%0A");
        let upload = upload.map_or(NONE.to_owned(), |id| id.to_string());
        let sum = words(checksum.as_ref());
        let mut text = format!("{TITLE}\nblob {blob}\nbucket {bucket}\nkey {key}\nupload {upload}\n");
        text.push_str(&format!("modified {}\netag {etag}\nchecksum {sum}\n", modified.0));
        for BlobPart { number, blob, size, checksum } in parts {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "part {number} {blob} {size} {}", words(checksum.as_ref()));
        }
        seal(text)
    }

    /// `None`: it is not whole, or of another version.
    pub fn decode(text: &str) -> Option<Self> {
        let mut lines = unseal(text)?.split_terminator('\n');
        if lines.next()? != TITLE {
            return None;
        }
        let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        Some(Self {
            blob: BlobId::parse(field("blob")?)?,
            bucket: BucketName::new(field("bucket")?.to_owned()).ok()?,
            key: Key::new(field("key")?.replace("%0A", "\n").replace("%25", "%")).ok()?,
            upload: match field("upload")? {
                NONE => None,
                id => Some(UploadId::parse(id)?),
            },
            modified: Timestamp(field("modified")?.parse().ok()?),
            etag: ETag::parse(field("etag")?)?,
            checksum: checksum_of(field("checksum")?),
            parts: lines.map(part).collect::<Option<_>>()?,
        })
    }
}

/// A composite one is not told: it is not of the bytes.
fn words(checksum: Option<&Checksum>) -> String {
    let whole = checksum.filter(|sum| sum.parts().is_none());
    whole.map_or(NONE.to_owned(), checksum_in_words)
}

fn part(line: &str) -> Option<BlobPart> {
    let mut words = line.strip_prefix("part ")?.splitn(4, ' ');
    Some(BlobPart {
        number: words.next()?.parse().ok()?,
        blob: BlobId::parse(words.next()?)?,
        size: words.next()?.parse().ok()?,
        checksum: checksum_of(words.next()?),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use types::Algorithm;

    #[test]
    fn it_is_read_as_it_was_written_or_not_at_all() {
        let checksum = Checksum::new(Algorithm::Crc64Nvme, &[7; 8]);
        let part = |number, checksum| BlobPart { number, blob: BlobId(40), size: 5 << 20, checksum };
        for (upload, key) in
            [(Some(UploadId { sequence: 7, secret: u64::MAX }), "odd\n%0A%25 key\r"), (None, "plain")]
        {
            let joint = Joint {
                blob: BlobId(42),
                bucket: BucketName::new("files".to_owned()).unwrap(),
                key: Key::new(key).unwrap(),
                upload,
                modified: Timestamp(9),
                etag: ETag { md5: [3; 16], parts: Some(2) },
                checksum,
                parts: vec![part(1, None), part(10_000, checksum)],
            };
            let text = joint.encode();
            assert_eq!(Joint::decode(&text), Some(joint));
            for end in 0..text.len() {
                assert_eq!(Joint::decode(&text[..end]), None, "{end} bytes of it");
            }
        }
    }
}
