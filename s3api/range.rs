//! The `Range` header as S3 reads it.

use types::ByteRange;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ranged {
    /// Nothing that S3 honours: the whole object with 200. Several ranges are among it, and all
    /// that is malformed (RFC 9110 section 14.2 lets a server ignore the header).
    Whole,
    Part(ByteRange),
    /// 416.
    Unsatisfiable,
}

/// What `header` asks of an object of `size` bytes.
pub fn parse(header: &str, size: u64) -> Ranged {
    match spec(header) {
        None => Ranged::Whole,
        Some(Spec::Suffix(0)) => Ranged::Unsatisfiable,
        Some(Spec::Suffix(_)) if size == 0 => Ranged::Whole,
        Some(Spec::Suffix(len)) => part(size.saturating_sub(len), size),
        Some(Spec::From(first, _)) if first >= size => Ranged::Unsatisfiable,
        Some(Spec::From(first, last)) => part(first, last.saturating_add(1).min(size)),
    }
}

fn part(start: u64, end: u64) -> Ranged {
    ByteRange::new(start, end).map_or(Ranged::Whole, Ranged::Part)
}

enum Spec {
    /// First and last byte; an open end is the largest number.
    From(u64, u64),
    Suffix(u64),
}

fn spec(header: &str) -> Option<Spec> {
    let (unit, range) = header.trim().split_once('=')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = range.split_once('-')?;
    match (first, last) {
        ("", last) => Some(Spec::Suffix(number(last)?)),
        (first, "") => Some(Spec::From(number(first)?, u64::MAX)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Spec::From(first, last))
        }
    }
}

/// Digits only; a number too large to say is as good as the largest.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

/// `x-amz-copy-source-range`: `bytes=a-b`, both ends given.
pub fn parse_copy(header: &str) -> Option<ByteRange> {
    match spec(header)? {
        Spec::From(first, last) if last < u64::MAX => ByteRange::new(first, last + 1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part_of(start: u64, end: u64) -> Ranged {
        Ranged::Part(ByteRange { start, end })
    }

    #[test]
    fn of_a_hundred_bytes() {
        for (header, expected) in [
            ("bytes=0-0", part_of(0, 1)),
            ("bytes=0-99", part_of(0, 100)),
            ("bytes=50-", part_of(50, 100)),
            ("bytes=00-01", part_of(0, 2)),
            ("bytes=0-100", part_of(0, 100)),
            ("bytes=0-999999", part_of(0, 100)),
            ("bytes=1-99999999999999999999999", part_of(1, 100)),
            ("bytes=-1", part_of(99, 100)),
            ("bytes=-100", part_of(0, 100)),
            ("bytes=-101", part_of(0, 100)),
            ("bytes=-0", Ranged::Unsatisfiable),
            ("bytes=100-", Ranged::Unsatisfiable),
            ("bytes=100-110", Ranged::Unsatisfiable),
        ] {
            assert_eq!(parse(header, 100), expected, "{header}");
        }
        for ignored in [
            "bytes=10-5",
            "bytes=abc",
            "bytes=,",
            "bytes= -1",
            "bytes=0 -1",
            "bytes=--1",
            "bytes=100-x",
            "foo=0-1",
            "bytes=-",
            "bytes=0-0,1-2",
            "bytes=+1-2",
            "0-1",
            "",
        ] {
            assert_eq!(parse(ignored, 100), Ranged::Whole, "{ignored}");
        }
    }

    #[test]
    fn of_nothing() {
        for header in ["bytes=0-", "bytes=0-0", "bytes=00-01"] {
            assert_eq!(parse(header, 0), Ranged::Unsatisfiable, "{header}");
        }
        assert_eq!(parse("bytes=-1", 0), Ranged::Whole);
        assert_eq!(parse("bytes=x", 0), Ranged::Whole);
    }

    #[test]
    fn for_copies() {
        assert_eq!(parse_copy("bytes=0-4"), Some(ByteRange { start: 0, end: 5 }));
        for bad in
            ["bytes=0-", "bytes=-5", "0-4", "bytes=4-0", "bytes=0-4,6-7", "bytes=0-99999999999999999999"]
        {
            assert_eq!(parse_copy(bad), None, "{bad}");
        }
    }
}
