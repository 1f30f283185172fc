//! What everybody may reach of a bucket that is open in part.

use crate::Bucket;
use crate::operation::Operation;
use crate::query::Query;
use crate::router::Target;

/// Whether a key is among those that anonymous rights hold for.
pub(crate) fn open_to_all(bucket: &Bucket, key: &str) -> bool {
    let prefixes = &bucket.anonymous_prefixes;
    prefixes.is_empty() || prefixes.iter().any(|prefix| key.starts_with(prefix.as_str()))
}

/// Whether a request without credentials keeps to the prefixes, its listings too. What is not about
/// keys below a prefix is nobody's business; a copy would read from a place that is not in its path.
pub(crate) fn within(bucket: &Bucket, operation: Operation, target: &Target, query: &Query) -> bool {
    use Operation as Op;
    if bucket.anonymous_prefixes.is_empty() {
        return true;
    }
    match (operation, &target.key) {
        (Op::CopyObject | Op::UploadPartCopy, _) => false,
        (_, Some(key)) => open_to_all(bucket, key.as_str()),
        (Op::ListObjects | Op::ListObjectsV2 | Op::ListMultipartUploads, None) => {
            query.get("prefix").is_some_and(|prefix| open_to_all(bucket, prefix))
        }
        (_, None) => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::Anonymous;
    use types::{BucketId, BucketName, Key, Timestamp};

    fn bucket(prefixes: &[&str]) -> Bucket {
        Bucket {
            name: BucketName::new("own").unwrap(),
            id: BucketId(1),
            created: Timestamp(0),
            anonymous: Anonymous { read: true, write: true },
            anonymous_prefixes: prefixes.iter().map(|prefix| (*prefix).to_owned()).collect(),
            cors: Vec::new(),
        }
    }

    fn may(operation: Operation, key: Option<&str>, query: &str) -> bool {
        let target = Target { key: key.map(|key| Key::new(key).unwrap()), ..Target::default() };
        within(&bucket(&["public/", "img"]), operation, &target, &Query::parse(query).unwrap())
    }

    #[test]
    fn only_what_lies_below_a_prefix() {
        use Operation as Op;
        assert!(may(Op::GetObject, Some("public/a"), "") && may(Op::PutObject, Some("img1"), ""));
        assert!(!may(Op::GetObject, Some("public"), "") && !may(Op::GetObject, Some("private/public/"), ""));
        assert!(
            may(Op::ListObjectsV2, None, "list-type=2&prefix=public/")
                && may(Op::ListObjects, None, "prefix=img")
        );
        assert!(!may(Op::ListObjectsV2, None, "list-type=2") && !may(Op::ListObjectsV2, None, "prefix=pub"));
        assert!(!may(Op::CopyObject, Some("public/a"), "") && !may(Op::HeadBucket, None, ""));
        assert!(within(&bucket(&[]), Op::HeadBucket, &Target::default(), &Query::parse("").unwrap()));
    }
}
