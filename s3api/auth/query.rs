//! The query, raw: which signature it carries, and its parameters.

use percent_encoding::percent_decode_str;
use std::borrow::Cow;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    None,
    V4,
    V2,
}

impl Scheme {
    /// One parameter of a scheme is enough: the rest missing is an error, not an anonymous request.
    pub fn of(query: &str) -> Self {
        // Most requests have no query, or one without a parameter of these names.
        for (name, _) in pairs(query) {
            match name {
                "X-Amz-Signature" | "X-Amz-Credential" | "X-Amz-Algorithm" => return Self::V4,
                "AWSAccessKeyId" | "Signature" => return Self::V2,
                _ => {}
            }
        }
        Self::None
    }
}

/// Names and values, still encoded; a name without `=` has no value.
pub(super) fn pairs(query: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| match pair.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (pair, None),
    })
}

/// The first value of a parameter, decoded; `None`: not there, or not UTF-8. `+` is a plus:
/// no client writes a blank that way.
pub(super) fn value<'a>(query: &'a str, wanted: &str) -> Option<Cow<'a, str>> {
    let (_, value) = pairs(query).find(|(name, _)| *name == wanted)?;
    percent_decode_str(value.unwrap_or_default()).decode_utf8().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes() {
        assert_eq!(Scheme::of(""), Scheme::None);
        assert_eq!(Scheme::of("list-type=2&Expires=1"), Scheme::None);
        assert_eq!(Scheme::of("a&X-Amz-Credential"), Scheme::V4);
        assert_eq!(Scheme::of("Expires=1&AWSAccessKeyId=a"), Scheme::V2);
    }

    #[test]
    fn values() {
        assert_eq!(value("a=1%2F+&a=2", "a").as_deref(), Some("1/+"));
        assert_eq!(value("a", "a").as_deref(), Some(""));
        assert_eq!(value("a=%ff", "a"), None);
        assert_eq!(value("&&b=c", "a"), None);
    }
}
