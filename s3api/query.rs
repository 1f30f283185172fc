//! The query of a request, decoded once.

use crate::error::{Code, Result, S3Error};
use crate::percent;
use std::borrow::Cow;

/// Names and values in the order of the request.
#[derive(Debug, Default)]
pub struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Query<'a> {
    /// `+` stands for itself, as in the canonical request of the signature.
    pub fn parse(raw: &'a str) -> Result<Self> {
        let pairs = raw.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((percent::decode_text(name)?, percent::decode_text(value)?))
        });
        let pairs = pairs.collect::<Option<Vec<_>>>();
        pairs.map(Self).ok_or_else(|| S3Error::new(Code::InvalidURI, "Couldn't parse the specified URI."))
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_ref())
    }

    /// The value, if there is one that is not empty.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value.as_ref()))
    }

    /// How many results a page may have: `default` when absent or empty, never more than 1,000
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html>).
    pub fn page_size(&self, name: &'static str) -> Result<usize> {
        page_size(name, self.get(name))
    }
}

const MAX_PAGE: usize = 1000;

pub fn page_size(name: &'static str, value: Option<&str>) -> Result<usize> {
    let Some(text) = value.map(str::trim).filter(|text| !text.is_empty()) else {
        return Ok(MAX_PAGE);
    };
    let bad = || {
        S3Error::invalid_argument(
            format!("Provided {name} not an integer or within integer range"),
            name,
            text,
        )
    };
    let number: i32 = text.parse().map_err(|_| bad())?;
    usize::try_from(number).map(|n| n.min(MAX_PAGE)).map_err(|_| {
        S3Error::invalid_argument(
            format!("Argument {name} must be an integer between 0 and 2147483647"),
            name,
            text,
        )
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn splits_and_decodes() {
        let query = Query::parse("uploads&prefix=a%2Fb+c&x=1=2&&marker=").unwrap();
        assert_eq!(query.get("uploads"), Some(""));
        assert_eq!(query.get("prefix"), Some("a/b+c"));
        assert_eq!(query.get("x"), Some("1=2"));
        assert_eq!((query.get("marker"), query.text("marker")), (Some(""), None));
        assert!(Query::parse("a=%zz").is_err());
        assert!(Query::parse("a=%ff").is_err());
    }

    #[test]
    fn page_sizes() {
        let size = |text| page_size("max-keys", text).map_err(|e| e.code);
        assert_eq!(size(None), Ok(1000));
        assert_eq!(size(Some("")), Ok(1000));
        assert_eq!(size(Some("0")), Ok(0));
        assert_eq!(size(Some("5000")), Ok(1000));
        for bad in ["-1", "ten", "2147483648", "1.5"] {
            assert_eq!(size(Some(bad)), Err(Code::InvalidArgument), "{bad}");
        }
    }
}
