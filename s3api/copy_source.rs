//! `x-amz-copy-source`: which object to copy from.

use crate::error::{Code, Result, S3Error};
use crate::percent;
use types::Key;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopySource {
    pub bucket: String,
    pub key: Key,
}

/// Clients send it with and without a slash in front, percent-encoded or raw (blanks, `?`, `#` and
/// UTF-8 included), so it is decoded bytewise and cut at nothing but `?versionId=`.
pub fn parse(header: &[u8]) -> Result<CopySource> {
    let bad = || {
        let shown = String::from_utf8_lossy(header);
        S3Error::invalid_argument(
            "Copy Source must mention the source bucket and key: sourcebucket/sourcekey",
            "x-amz-copy-source",
            &shown,
        )
    };
    let path = without_version(header)?;
    let decoded = percent::decode(path).ok_or_else(bad)?;
    let text = std::str::from_utf8(&decoded).map_err(|_| bad())?;
    let text = text.strip_prefix('/').unwrap_or(text);
    let (bucket, key) = text.split_once('/').ok_or_else(bad)?;
    if bucket.is_empty() {
        return Err(bad());
    }
    let key = Key::new(key).map_err(|_| bad())?;
    Ok(CopySource { bucket: bucket.to_owned(), key })
}

/// Versions are not kept; `null` names the only one there is
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/VersioningWorkflows.html>).
fn without_version(header: &[u8]) -> Result<&[u8]> {
    const MARK: &[u8] = b"?versionId=";
    let Some(at) = memchr::memmem::rfind(header, MARK) else {
        return Ok(header);
    };
    let (path, rest) = header.split_at(at);
    match rest.get(MARK.len()..) {
        Some(b"null") => Ok(path),
        Some(b"") => Err(S3Error::new(Code::InvalidArgument, "Version id cannot be the empty string")),
        _ => Err(S3Error::not_implemented("versionId")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(header: &str) -> std::result::Result<(String, String), Code> {
        parse(header.as_bytes()).map(|s| (s.bucket, s.key.to_string())).map_err(|e| e.code)
    }

    #[test]
    fn all_spellings() {
        for (header, key) in [
            ("b/k", "k"),
            ("/b/k", "k"),
            ("b/a%20b+c", "a b+c"),
            ("b/a b?c#d\"", "a b?c#d\""),
            ("b//k", "/k"),
            ("b%2Fdir%2Fk", "dir/k"),
            ("b/dir/", "dir/"),
            ("b/\u{e9}%C3%A9", "\u{e9}\u{e9}"),
            ("b/k?versionId=null", "k"),
            ("b/..", ".."),
        ] {
            assert_eq!(of(header), Ok(("b".to_owned(), key.to_owned())), "{header}");
        }
    }

    #[test]
    fn refused() {
        for bad in ["", "/", "b", "b/", "//k", "b/%zz", "b/%ff", "b/k?versionId="] {
            assert_eq!(of(bad), Err(Code::InvalidArgument), "{bad}");
        }
        assert_eq!(of("b/k?versionId=abc"), Err(Code::NotImplemented));
        assert_eq!(of(&format!("b/{}", "k".repeat(1025))), Err(Code::InvalidArgument));
    }
}
