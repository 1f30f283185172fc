//! The nouns of the node: names, ids, ranges, checksums, object headers.
//!
//! Everything here is a value that was checked when it was made: a function that takes a [`Key`]
//! need not ask whether it is short enough. There is no I/O, no async and no serialisation here:
//! the disk, the wire and the admin interface each own their form.
//!
//! Start with [`name`] and [`headers`].

mod algorithm;
pub mod checksum;
pub mod condition;
mod crc;
pub mod etag;
pub mod headers;
pub mod hex;
pub mod id;
pub mod name;
pub mod quantity;
pub mod range;
pub mod tags;
pub mod time;

pub use algorithm::{Algorithm, ChecksumKind};
pub use checksum::Checksum;
pub use condition::{ReadConditions, WriteConditions};
pub use etag::ETag;
pub use headers::{MAX_USER_METADATA_BYTES, ObjectHeaders};
pub use id::{BlobId, BucketId, UploadId, Version};
pub use name::{BucketName, Key, MAX_KEY_BYTES, NameError};
pub use quantity::{parse_duration, parse_size};
pub use range::ByteRange;
pub use tags::{TagError, Tags};
pub use time::Timestamp;

/// S3 allows parts 1 to 10,000 (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>).
pub const MAX_PARTS: u16 = 10_000;
/// Every part but the last of a multipart upload has at least this size (same page).
pub const MIN_PART_SIZE_BYTES: u64 = 5 << 20;
/// The largest object a multipart upload can make (same page says 5 TiB; newer text 50 TB).
pub const MAX_OBJECT_SIZE_BYTES: u64 = 5 << 40;
