//! Dates as HTTP and S3's XML write them, and as clients send them.

use jiff::Timestamp as Instant;
use jiff::civil::DateTime;
use jiff::fmt::rfc2822::DateTimeParser;
use jiff::tz::TimeZone;
use std::fmt::Write as _;
use types::Timestamp;

const DAY_MS: u64 = 86_400_000;
const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 section 5.6.7), as `Last-Modified` has it.
pub fn http_date(time: Timestamp) -> String {
    let (year, month, day) = civil(time);
    let (h, m, s, _) = clock(time);
    let weekday = DAYS.get((time.millis() / DAY_MS % 7) as usize).unwrap_or(&"Thu");
    let name = MONTHS.get(month as usize - 1).unwrap_or(&"Jan");
    format!("{weekday}, {day:02} {name} {year:04} {h:02}:{m:02}:{s:02} GMT")
}

/// `1994-11-06T08:49:37.000Z`, as S3's XML has it.
pub fn iso8601(time: Timestamp, out: &mut String) {
    let (year, month, day) = civil(time);
    let (h, m, s, ms) = clock(time);
    let _ = write!(out, "{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{ms:03}Z");
}

fn clock(time: Timestamp) -> (u64, u64, u64, u64) {
    let ms = time.millis() % DAY_MS;
    (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000)
}

/// Year, month and day of a day count, by the calendar's 400-year cycle
/// (<https://howardhinnant.github.io/date_algorithms.html#civil_from_days>): a listing formats a
/// thousand of these.
fn civil(time: Timestamp) -> (u64, u64, u64) {
    let days = time.millis() / DAY_MS + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// Any of the three forms of RFC 9110 section 5.6.7, or RFC 3339, which S3 takes too.
pub fn parse(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let instant = DateTimeParser::new()
        .parse_timestamp(text)
        .ok()
        .or_else(|| obsolete("%A, %d-%b-%y %H:%M:%S GMT", text))
        .or_else(|| obsolete("%a %b %e %H:%M:%S %Y", text))
        .or_else(|| text.parse::<Instant>().ok())?;
    u64::try_from(instant.as_millisecond()).ok().map(Timestamp)
}

fn obsolete(format: &str, text: &str) -> Option<Instant> {
    let civil = DateTime::strptime(format, text).ok()?;
    TimeZone::UTC.to_timestamp(civil).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn iso(ms: u64) -> String {
        let mut out = String::new();
        iso8601(Timestamp(ms), &mut out);
        out
    }

    #[test]
    fn formats() {
        assert_eq!(http_date(Timestamp(784_111_777_999)), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(http_date(Timestamp(0)), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(iso(784_111_777_045), "1994-11-06T08:49:37.045Z");
        assert_eq!(iso(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(iso(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
    }

    #[test]
    fn every_day_reads_back() {
        for day in 0..60_000 {
            let time = Timestamp(day * DAY_MS + 43_200_000);
            assert_eq!(parse(&http_date(time)), Some(time), "{day}");
        }
    }

    #[test]
    fn all_forms_are_read() {
        let time = Some(Timestamp(784_111_777_000));
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "1994-11-06T08:49:37Z",
            "1994-11-06T08:49:37.000Z",
        ] {
            assert_eq!(parse(text), time, "{text}");
        }
        for bad in ["", "yesterday", "1969-12-31T00:00:00Z", "Sun, 06 Nov"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
