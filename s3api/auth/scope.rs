//! The credential of a signature of version 4: `KEY/20261124/us-east-1/s3/aws4_request`.

use super::date;

#[derive(Debug, Clone, Copy)]
pub(super) struct Scope<'a> {
    /// The whole text.
    pub text: &'a str,
    pub access_key: &'a str,
    pub day: &'a str,
    /// The first second of that day.
    pub midnight: u64,
    /// Any: there is one region here, under whatever name a client gives it.
    pub region: &'a str,
    /// `day/region/s3/aws4_request`.
    pub scope: &'a str,
}

impl<'a> Scope<'a> {
    /// From the right, since access keys may contain `/`. The error says what is wrong.
    pub fn parse(text: &'a str) -> Result<Self, &'static str> {
        let mut parts = text.rsplitn(5, '/');
        let (Some(terminator), Some(service), Some(region), Some(day), Some(access_key)) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(
                "the Credential is mal-formed; expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\".",
            );
        };
        if terminator != "aws4_request" {
            return Err("incorrect terminal. This endpoint uses \"aws4_request\".");
        }
        if service != "s3" {
            return Err("incorrect service. This endpoint belongs to \"s3\".");
        }
        let midnight = date::parse_day(day).ok_or(
            "incorrect date format. This date in the credential must be in the format \"yyyyMMdd\".",
        )?;
        if access_key.is_empty() || region.is_empty() {
            return Err("the access key or the region is empty.");
        }
        let scope = text.get(access_key.len() + 1..).unwrap_or_default();
        Ok(Self { text, access_key, day, midnight, region, scope })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn keys_may_contain_slashes() {
        let scope = Scope::parse("a/b/20261124/eu/s3/aws4_request").unwrap();
        assert_eq!((scope.access_key, scope.region), ("a/b", "eu"));
        assert_eq!(scope.scope, "20261124/eu/s3/aws4_request");
    }

    #[test]
    fn five_parts_are_needed() {
        for bad in [
            "",
            "a",
            "a/20261124/s3/aws4_request",
            "/20261124/eu/s3/aws4_request",
            "a/2026/eu/s3/aws4_request",
        ] {
            assert!(Scope::parse(bad).is_err(), "{bad}");
        }
    }
}
