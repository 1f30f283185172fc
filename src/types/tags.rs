//! Object tags and their limits
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html>).

pub const MAX_TAGS: usize = 10;
pub const MAX_TAG_KEY_CHARS: usize = 128;
pub const MAX_TAG_VALUE_CHARS: usize = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TagError {
    TooMany,
    KeyLength,
    ValueLength,
    Characters,
    Duplicate,
}

/// At most ten tags with different keys.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tags(Vec<(String, String)>);

impl Tags {
    pub fn new(pairs: Vec<(String, String)>) -> Result<Self, TagError> {
        if pairs.len() > MAX_TAGS {
            return Err(TagError::TooMany);
        }
        for (i, (key, value)) in pairs.iter().enumerate() {
            if key.is_empty() || key.chars().count() > MAX_TAG_KEY_CHARS {
                return Err(TagError::KeyLength);
            }
            if value.chars().count() > MAX_TAG_VALUE_CHARS {
                return Err(TagError::ValueLength);
            }
            if !key.chars().chain(value.chars()).all(allowed) {
                return Err(TagError::Characters);
            }
            if pairs.iter().take(i).any(|(earlier, _)| earlier == key) {
                return Err(TagError::Duplicate);
            }
        }
        Ok(Self(pairs))
    }

    pub fn pairs(&self) -> &[(String, String)] {
        &self.0
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Letters, digits, white space in Unicode, and `_ . : / = + - @`.
fn allowed(c: char) -> bool {
    c.is_alphanumeric() || c == ' ' || (c.is_whitespace() && !c.is_control()) || "_.:/=+-@".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(key: &str, value: &str) -> Result<Tags, TagError> {
        Tags::new(vec![(key.to_owned(), value.to_owned())])
    }

    #[test]
    fn limits_hold() {
        assert!(one("größe", "a b/c=d@e").is_ok());
        assert!(one(&"k".repeat(128), &"v".repeat(256)).is_ok());
        assert_eq!(one(&"k".repeat(129), ""), Err(TagError::KeyLength));
        assert_eq!(one("", "v"), Err(TagError::KeyLength));
        assert_eq!(one("k", &"v".repeat(257)), Err(TagError::ValueLength));
        assert_eq!(one("k", "a&b"), Err(TagError::Characters));
        let many = (0..11).map(|i| (i.to_string(), String::new())).collect();
        assert_eq!(Tags::new(many), Err(TagError::TooMany));
        let twice = vec![("k".to_owned(), "1".to_owned()), ("k".to_owned(), "2".to_owned())];
        assert_eq!(Tags::new(twice), Err(TagError::Duplicate));
    }
}
