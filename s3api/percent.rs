//! Percent-encoding, strictly: what is not valid is an error, never a guess.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, percent_encode};
use std::borrow::Cow;

/// Everything but the unreserved characters of RFC 3986 section 2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// As in paths and in listings with `encoding-type=url`: a blank is `%20`, which every decoder takes.
const RESERVED_BUT_SLASH: &AsciiSet = &RESERVED.remove(b'/');

pub fn encode_path(text: &str) -> PercentEncode<'_> {
    percent_encode(text.as_bytes(), RESERVED_BUT_SLASH)
}

pub fn encode_value(text: &str) -> PercentEncode<'_> {
    percent_encode(text.as_bytes(), RESERVED)
}

/// `None`: a `%` without two hexadecimal digits. `+` stays what it is.
pub fn decode(raw: &[u8]) -> Option<Cow<'_, [u8]>> {
    let Some(first) = memchr::memchr(b'%', raw) else {
        return Some(Cow::Borrowed(raw));
    };
    let (plain, mut rest) = raw.split_at(first);
    let mut out = Vec::with_capacity(raw.len());
    out.extend_from_slice(plain);
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let [high, low, tail @ ..] = tail else { return None };
        out.push(hex(*high)? << 4 | hex(*low)?);
        rest = tail;
    }
    Some(Cow::Owned(out))
}

/// `None` also for what is not UTF-8.
pub fn decode_text(raw: &str) -> Option<Cow<'_, str>> {
    match decode(raw.as_bytes())? {
        Cow::Borrowed(_) => Some(Cow::Borrowed(raw)),
        Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
    }
}

fn hex(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_strictly() {
        assert_eq!(decode_text("a+b//%41%c3%A9").as_deref(), Some("a+b//A\u{e9}"));
        for bad in ["%", "%4", "%zz", "a%+1", "%ff"] {
            assert_eq!(decode_text(bad), None, "{bad}");
        }
    }

    #[test]
    fn encodes_what_decoders_agree_on() {
        assert_eq!(encode_path("a b+c/~*'\u{e9}\u{1}").to_string(), "a%20b%2Bc/~%2A%27%C3%A9%01");
        assert_eq!(encode_value("a/b").to_string(), "a%2Fb");
    }
}
