//! Names of buckets and objects.

use std::fmt;

/// The longest key in bytes of UTF-8
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html>).
pub const MAX_KEY_BYTES: usize = 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameError {
    Empty,
    TooLong {
        len: usize,
        max: usize,
    },
    NotUtf8,
    /// A bucket name that breaks the naming rules; the text says which.
    Bucket(&'static str),
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NameError::Empty => write!(f, "the name is empty"),
            NameError::TooLong { len, max } => {
                write!(f, "the name has {len} bytes, the longest allowed has {max}")
            }
            NameError::NotUtf8 => write!(f, "the name is not valid UTF-8"),
            NameError::Bucket(why) => write!(f, "{why}"),
        }
    }
}

impl std::error::Error for NameError {}

/// An object key: 1 to 1,024 bytes of UTF-8, kept exactly as the client sent it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Box<str>);

impl Key {
    pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
        let text = text.into();
        match text.len() {
            0 => Err(NameError::Empty),
            len if len > MAX_KEY_BYTES => Err(NameError::TooLong { len, max: MAX_KEY_BYTES }),
            _ => Ok(Self(text.into_boxed_str())),
        }
    }

    pub fn from_utf8(bytes: Vec<u8>) -> Result<Self, NameError> {
        Self::new(String::from_utf8(bytes).map_err(|_| NameError::NotUtf8)?)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A bucket name that follows the rules for general purpose buckets
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html>).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketName(Box<str>);

impl BucketName {
    pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
        let text = text.into();
        check_bucket_name(&text)?;
        Ok(Self(text.into_boxed_str()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check_bucket_name(text: &str) -> Result<(), NameError> {
    let bytes = text.as_bytes();
    let edge = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let fail = |why| Err(NameError::Bucket(why));
    if !(3..=63).contains(&bytes.len()) {
        return fail("a bucket name has 3 to 63 characters");
    }
    if !bytes.iter().all(|b| edge(b) || *b == b'-' || *b == b'.') {
        return fail("a bucket name has only lower-case letters, digits, dots and hyphens");
    }
    if !bytes.first().is_some_and(edge) || !bytes.last().is_some_and(edge) {
        return fail("a bucket name begins and ends with a letter or a digit");
    }
    if text.contains("..") {
        return fail("a bucket name has no two dots side by side");
    }
    if text.parse::<std::net::Ipv4Addr>().is_ok() {
        return fail("a bucket name is not formatted as an IP address");
    }
    if text.starts_with("xn--") || text.ends_with("-s3alias") {
        return fail("a bucket name does not begin with xn-- or end with -s3alias");
    }
    Ok(())
}

impl fmt::Debug for BucketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl fmt::Display for BucketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_kept_as_they_are() {
        for text in ["a", "//", "a/./b", "../x", "a b+c%20", "\u{1F600}", "dir/"] {
            assert_eq!(Key::new(text).map(|k| k.as_str().to_owned()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn key_length_is_counted_in_bytes() {
        assert!(Key::new("é".repeat(512)).is_ok());
        assert_eq!(Key::new("é".repeat(513)), Err(NameError::TooLong { len: 1026, max: MAX_KEY_BYTES }));
        assert_eq!(Key::new(""), Err(NameError::Empty));
        assert_eq!(Key::from_utf8(vec![0xff]), Err(NameError::NotUtf8));
    }

    #[test]
    fn bucket_names_follow_the_rules() {
        for good in ["abc", "app1-files", "a.b.c", "0-0", &"x".repeat(63)] {
            assert!(BucketName::new(good).is_ok(), "{good}");
        }
        let long = "x".repeat(64);
        for bad in ["", "ab", "Abc", "a_b", "-ab", "ab-", "a..b", "192.168.0.1", "xn--abc", &long] {
            assert!(BucketName::new(bad).is_err(), "{bad}");
        }
    }
}
