//! The dates that signatures carry.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use types::Timestamp;

/// How far a client's clock may be off, either way
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html>).
pub(super) const MAX_SKEW_SECS: u64 = 15 * 60;
/// The longest life of a presigned URL
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html>).
pub(super) const MAX_EXPIRES_SECS: u64 = 7 * 24 * 60 * 60;

/// `20261124T015000Z` in seconds since 1970.
pub(super) fn parse_amz(text: &str) -> Option<u64> {
    let (day, time) = text.strip_suffix('Z')?.split_once('T')?;
    let time = digits(time, 6)?;
    let (hour, minute, second) = (time / 10_000, time / 100 % 100, time % 100);
    let midnight = parse_day(day)?;
    (hour < 24 && minute < 60 && second < 60).then(|| midnight + hour * 3600 + minute * 60 + second)
}

/// `20261124`: its first second since 1970.
pub(super) fn parse_day(text: &str) -> Option<u64> {
    let day = digits(text, 8)?;
    let year = i16::try_from(day / 10_000).ok()?;
    let month = i8::try_from(day / 100 % 100).ok()?;
    let date = DateTime::new(year, month, i8::try_from(day % 100).ok()?, 0, 0, 0, 0).ok()?;
    u64::try_from(TimeZone::UTC.to_timestamp(date).ok()?.as_second()).ok()
}

fn digits(text: &str, len: usize) -> Option<u64> {
    let plain = text.len() == len && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

/// An HTTP date, as the `Date` header has it, in seconds since 1970.
pub(super) fn parse_http(text: &str) -> Option<u64> {
    let zoned = jiff::fmt::rfc2822::parse(text).ok()?;
    u64::try_from(zoned.timestamp().as_second()).ok()
}

/// ISO 8601, as policies have it: `2026-11-24T01:50:00.000Z`.
pub(super) fn parse_iso(text: &str) -> Option<i64> {
    text.parse::<jiff::Timestamp>().ok().map(|time| time.as_second())
}

pub(super) fn format_amz(secs: u64) -> String {
    iso(secs).replace(['-', ':'], "")
}

/// For the elements of an error.
pub(super) fn iso(secs: u64) -> String {
    let time = i64::try_from(secs).ok().and_then(|secs| jiff::Timestamp::from_second(secs).ok());
    time.map(|time| time.to_string()).unwrap_or_default()
}

pub(super) fn is_skewed(signed: u64, now: Timestamp) -> bool {
    signed.abs_diff(now.secs()) > MAX_SKEW_SECS
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn dates_survive() {
        let secs = parse_amz("20261124T015000Z").unwrap();
        assert_eq!(secs, 1_795_485_000);
        assert_eq!(format_amz(secs), "20261124T015000Z");
        assert_eq!(iso(secs), "2026-11-24T01:50:00Z");
        assert_eq!(parse_http("Tue, 24 Nov 2026 01:50:00 GMT"), Some(secs));
        assert_eq!(parse_iso("2026-11-24T01:50:00.000Z"), Some(secs as i64));
        assert_eq!(parse_day("20261124"), Some(secs / 86_400 * 86_400));
    }

    #[test]
    fn rubbish_is_no_date() {
        for bad in [
            "",
            "Z",
            "T",
            "20261124T015000",
            "20261324T015000Z",
            "20261124T245000Z",
            "2026112éT015000Z",
            "20260230T000000Z",
            "+0261124T015000Z",
            "19690101T000000Z",
            "20261124T015000ZZ",
        ] {
            assert_eq!(parse_amz(bad), None, "{bad}");
        }
        assert_eq!(parse_http("yesterday"), None);
        assert_eq!(parse_day("2026-1-1"), None);
    }
}
