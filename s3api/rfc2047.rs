//! User metadata beyond ASCII travels as encoded words (RFC 2047), both ways
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html>).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::borrow::Cow;
use std::fmt::Write as _;

/// RFC 2047 section 2: an encoded word has at most 75 characters.
const MAX_WORD: usize = 75;
const Q_START: &str = "=?UTF-8?Q?";
const B_START: &str = "=?UTF-8?B?";
const END: &str = "?=";

/// Text with its encoded words decoded; what is no valid encoded word stays as it is.
pub fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains("=?") {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut after_word = false;
    while let Some(at) = rest.find("=?") {
        let (plain, tail) = rest.split_at(at);
        match word(tail) {
            Some((decoded, behind)) => {
                // White space between two encoded words is not part of the text (section 6.2).
                if !(after_word && plain.trim().is_empty()) {
                    out.push_str(plain);
                }
                out.push_str(&decoded);
                rest = behind;
                after_word = true;
            }
            None => {
                let (marker, behind) = tail.split_at("=?".len());
                out.push_str(plain);
                out.push_str(marker);
                rest = behind;
                after_word = false;
            }
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// The encoded word at the beginning of `text`, and what follows it.
fn word(text: &str) -> Option<(String, &str)> {
    let (charset, rest) = text.strip_prefix("=?")?.split_once('?')?;
    let (encoding, rest) = rest.split_once('?')?;
    let (content, behind) = rest.split_once(END)?;
    let bytes = match encoding {
        "B" | "b" => STANDARD.decode(content).ok()?,
        "Q" | "q" => decode_q(content)?,
        _ => return None,
    };
    // RFC 2231 section 5 lets a language follow the character set.
    let charset = charset.split('*').next()?.to_ascii_lowercase();
    let decoded = match &*charset {
        "utf-8" | "us-ascii" => String::from_utf8(bytes).ok()?,
        "iso-8859-1" => bytes.into_iter().map(char::from).collect(),
        _ => return None,
    };
    Some((decoded, behind))
}

fn decode_q(content: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(content.len());
    let mut bytes = content.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'_' => out.push(b' '),
            b'=' => {
                let digit = |b: u8| char::from(b).to_digit(16);
                let (high, low) = (digit(bytes.next()?)?, digit(bytes.next()?)?);
                out.push(u8::try_from(high << 4 | low).ok()?);
            }
            b' ' => return None,
            other => out.push(other),
        }
    }
    Some(out)
}

/// ASCII as it is, unless it would be read as encoded words; other text as encoded words, `Q` where
/// most of it is ASCII and `B` elsewhere.
pub fn encode(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|b| matches!(b, 0x20..=0x7e)) && decode(text) == text {
        return Cow::Borrowed(text);
    }
    let ascii = text.chars().filter(char::is_ascii).count();
    let words = if ascii * 2 > text.chars().count() {
        words(text, Q_START, q_len, q)
    } else {
        words(text, B_START, b_len, b)
    };
    Cow::Owned(words)
}

/// Cuts `text` between characters so that each word fits.
fn words(text: &str, start: &str, len: fn(&str) -> usize, encoded: fn(&str, &mut String)) -> String {
    let room = MAX_WORD - start.len() - END.len();
    let mut out = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (now, later) = rest.split_at(longest(rest, room, len));
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(start);
        encoded(now, &mut out);
        out.push_str(END);
        rest = later;
    }
    out
}

/// How many bytes of `text`, at least one character, fit in `room` when encoded.
fn longest(text: &str, room: usize, len: fn(&str) -> usize) -> usize {
    let mut fits = 0;
    for (at, c) in text.char_indices() {
        let end = at + c.len_utf8();
        if fits > 0 && text.get(..end).map_or(0, len) > room {
            break;
        }
        fits = end;
    }
    fits
}

fn b_len(text: &str) -> usize {
    text.len().div_ceil(3) * 4
}

fn b(text: &str, out: &mut String) {
    STANDARD.encode_string(text, out);
}

fn q_len(text: &str) -> usize {
    text.bytes().map(|byte| if literal(byte) || byte == b' ' { 1 } else { 3 }).sum()
}

fn q(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b' ' => out.push('_'),
            byte if literal(byte) => out.push(char::from(byte)),
            byte => {
                let _ = write!(out, "={byte:02X}");
            }
        }
    }
}

/// The characters that are safe in any `Q` word (section 5).
fn literal(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!*+-/".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes() {
        for (text, expected) in [
            ("plain", "plain"),
            ("=?UTF-8?Q?=C3=84M=C3=84Z=C3=95=C3=91_S3?=", "\u{c4}M\u{c4}Z\u{d5}\u{d1} S3"),
            ("=?utf-8?b?w7xiZXI=?=", "\u{fc}ber"),
            ("=?iso-8859-1?q?=FC?=", "\u{fc}"),
            ("a =?UTF-8?B?w7w=?= b", "a \u{fc} b"),
            ("=?UTF-8?B?w7w=?= =?UTF-8?B?w7w=?=", "\u{fc}\u{fc}"),
            ("=?UTF-8?B?w7w=?= x =?UTF-8?B?w7w=?=", "\u{fc} x \u{fc}"),
            ("=?", "=?"),
            ("=?UTF-8?X?abc?=", "=?UTF-8?X?abc?="),
            ("=?UTF-8?B?***?=", "=?UTF-8?B?***?="),
            ("=?UTF-8?Q?=ff?=", "=?UTF-8?Q?=ff?="),
            ("=?UTF-8?Q?=\u{e9}?=", "=?UTF-8?Q?=\u{e9}?="),
        ] {
            assert_eq!(decode(text), expected, "{text}");
        }
    }

    #[test]
    fn encodes_as_aws_shows_it() {
        assert_eq!(encode("\u{c4}M\u{c4}Z\u{d5}\u{d1} S3"), "=?UTF-8?Q?=C3=84M=C3=84Z=C3=95=C3=91_S3?=");
        assert_eq!(encode("plain = text"), "plain = text");
        assert_eq!(encode("\u{65e5}\u{672c}"), "=?UTF-8?B?5pel5pys?=");
    }

    #[test]
    fn everything_survives() {
        for text in [
            "\u{1F600}".repeat(100),
            "a\u{e9}".repeat(200),
            "tab\tnewline\n".to_owned(),
            "x?=_= \u{e9}".to_owned(),
            "=?UTF-8?Q?a?= b".to_owned(),
        ] {
            let encoded = encode(&text).into_owned();
            assert!(encoded.split(' ').all(|word| word.len() <= MAX_WORD), "{encoded}");
            assert!(encoded.bytes().all(|b| (0x20..0x7f).contains(&b)));
            assert_eq!(decode(&encoded), text);
        }
    }
}
