//! Upload ids as clients see them: they say whose they are, so that another tenant's is refused
//! as theirs and not looked for.

use crate::error::{Result, S3Error};
use store::StoreError;
use types::{BucketId, UploadId};

const BUCKET_DIGITS: usize = 8;

pub fn show(bucket: BucketId, id: UploadId) -> String {
    format!("{:08x}{id}", bucket.0)
}

/// `None`: no id of this node.
fn parse(text: &str) -> Option<(BucketId, UploadId)> {
    let (bucket, id) = text.split_at_checked(BUCKET_DIGITS)?;
    let digits = bucket.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    let bucket = u32::from_str_radix(bucket, 16).ok().filter(|_| digits)?;
    Some((BucketId(bucket), UploadId::parse(id)?))
}

/// The upload that a caller with this bucket names.
pub fn of_caller(text: &str, own: BucketId) -> Result<UploadId> {
    match parse(text) {
        Some((bucket, id)) if bucket == own => Ok(id),
        // Buckets are counted from 1: there is nobody whom 0 could belong to.
        Some((bucket, _)) if bucket.0 > 0 => Err(S3Error::access_denied()),
        _ => Err(S3Error::from(StoreError::NoSuchUpload).with("UploadId", text)),
    }
}

/// Where a listing goes on.
pub fn marker(text: &str, own: BucketId) -> Result<UploadId> {
    parse(text)
        .filter(|(bucket, _)| *bucket == own)
        .map(|(_, id)| id)
        .ok_or_else(|| S3Error::invalid_argument("Invalid uploadId marker", "upload-id-marker", text))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::Code;

    const OWN: BucketId = BucketId(7);
    const ID: UploadId = UploadId { sequence: 1, secret: u64::MAX };

    #[test]
    fn ids_belong_to_somebody() {
        let text = show(OWN, ID);
        assert_eq!(of_caller(&text, OWN).unwrap(), ID);
        assert_eq!(marker(&text, OWN).unwrap(), ID);
        let code = |text: &str| of_caller(text, OWN).unwrap_err().code;
        assert_eq!(code(&show(BucketId(8), ID)), Code::AccessDenied);
        let longer = format!("{text}0");
        let no_digit = text.replacen("0", "+", 1);
        for bad in ["", "x", &longer, &text[1..], &"0".repeat(40), &"é".repeat(20), &no_digit] {
            assert_eq!(code(bad), Code::NoSuchUpload, "{bad}");
            assert_eq!(marker(bad, OWN).unwrap_err().code, Code::InvalidArgument, "{bad}");
        }
        assert!(marker(&show(BucketId(8), ID), OWN).is_err());
    }
}
