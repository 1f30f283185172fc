//! Conditional headers (RFC 9110 section 13), as S3 reads them.

use crate::dates;
use http::{HeaderMap, HeaderName, header};
use types::condition::ETagMatch;
use types::{ETag, ReadConditions, Timestamp, WriteConditions};

/// Of GET and HEAD.
pub fn read(headers: &HeaderMap, now: Timestamp) -> ReadConditions {
    ReadConditions {
        if_match: etags(headers, &header::IF_MATCH, Compare::Strong),
        if_none_match: etags(headers, &header::IF_NONE_MATCH, Compare::Weak),
        if_modified_since: past_date(headers, &header::IF_MODIFIED_SINCE, now),
        if_unmodified_since: past_date(headers, &header::IF_UNMODIFIED_SINCE, now),
    }
}

const COPY_IF_MATCH: HeaderName = HeaderName::from_static("x-amz-copy-source-if-match");
const COPY_IF_NONE_MATCH: HeaderName = HeaderName::from_static("x-amz-copy-source-if-none-match");
const COPY_IF_MODIFIED: HeaderName = HeaderName::from_static("x-amz-copy-source-if-modified-since");
const COPY_IF_UNMODIFIED: HeaderName = HeaderName::from_static("x-amz-copy-source-if-unmodified-since");

/// Of the source of a copy.
pub fn copy_source(headers: &HeaderMap, now: Timestamp) -> ReadConditions {
    ReadConditions {
        if_match: etags(headers, &COPY_IF_MATCH, Compare::Strong),
        if_none_match: etags(headers, &COPY_IF_NONE_MATCH, Compare::Weak),
        if_modified_since: past_date(headers, &COPY_IF_MODIFIED, now),
        if_unmodified_since: past_date(headers, &COPY_IF_UNMODIFIED, now),
    }
}

/// Of PUT, Complete and the destination of a copy. An ETag in `If-None-Match` is ignored here.
pub fn write(headers: &HeaderMap) -> WriteConditions {
    let absent = etags(headers, &header::IF_NONE_MATCH, Compare::Weak);
    WriteConditions {
        if_match: etags(headers, &header::IF_MATCH, Compare::Strong),
        if_absent: absent == Some(ETagMatch::Any),
    }
}

/// `If-Range`: whether a range of this object may be sent (RFC 9110 section 13.1.5): a strong
/// ETag, or a date that is exactly the object's.
pub fn range_applies(headers: &HeaderMap, etag: &ETag, modified: Timestamp) -> bool {
    let Some(value) = headers.get(header::IF_RANGE) else {
        return true;
    };
    let Ok(text) = value.to_str() else {
        return false;
    };
    match dates::parse(text) {
        Some(date) => date.secs() == modified.secs(),
        None => ETag::parse(text) == Some(*etag),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Compare {
    /// A weak tag never matches.
    Strong,
    /// `W/` makes no difference (RFC 9110 section 8.8.3.2).
    Weak,
}

fn etags(headers: &HeaderMap, name: &HeaderName, compare: Compare) -> Option<ETagMatch> {
    let mut values = headers.get_all(name).iter().peekable();
    values.peek()?;
    let mut tags = Vec::new();
    for value in values {
        for item in value.as_bytes().split(|b| *b == b',') {
            match std::str::from_utf8(item).map(str::trim) {
                Ok("*") => return Some(ETagMatch::Any),
                Ok(text) => tags.extend(etag(text, compare)),
                Err(_) => {}
            }
        }
    }
    Some(ETagMatch::OneOf(tags))
}

fn etag(text: &str, compare: Compare) -> Option<ETag> {
    match text.strip_prefix("W/") {
        Some(_) if compare == Compare::Strong => None,
        Some(weak) => ETag::parse(weak),
        None => ETag::parse(text),
    }
}

/// What is no date, or lies in the future, is ignored (RFC 9110 section 13.1.3).
fn past_date(headers: &HeaderMap, name: &HeaderName, now: Timestamp) -> Option<Timestamp> {
    let date = dates::parse(headers.get(name)?.to_str().ok()?)?;
    (date <= now).then_some(date)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use types::condition::ReadVerdict;

    const TAG: ETag = ETag { md5: [1; 16], parts: None };
    const NOW: Timestamp = Timestamp(784_111_777_000);

    fn map(name: &'static str, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn etag_lists() {
        let hex = TAG.to_string();
        let quoted = format!("\"{hex}\"");
        for values in
            [vec![&*hex], vec![&*quoted], vec!["\"x\"", &*quoted], vec![&*format!("\"x\" , {quoted}")]]
        {
            assert_eq!(read(&map("if-match", &values), NOW).if_match, Some(ETagMatch::OneOf(vec![TAG])));
        }
        assert_eq!(read(&map("if-match", &["*"]), NOW).if_match, Some(ETagMatch::Any));
        assert_eq!(read(&map("if-match", &["nonsense"]), NOW).if_match, Some(ETagMatch::OneOf(vec![])));
        assert_eq!(read(&HeaderMap::new(), NOW).if_match, None);
    }

    #[test]
    fn weak_tags() {
        let weak = format!("W/\"{TAG}\"");
        let strong = read(&map("if-match", &[&weak]), NOW);
        assert_eq!(strong.check(&TAG, NOW), ReadVerdict::PreconditionFailed("If-Match"));
        let none = read(&map("if-none-match", &[&weak]), NOW);
        assert_eq!(none.check(&TAG, NOW), ReadVerdict::NotModified);
    }

    #[test]
    fn writes_ignore_an_etag_in_if_none_match() {
        assert!(write(&map("if-none-match", &["*"])).if_absent);
        assert!(write(&map("if-none-match", &[&format!("\"{TAG}\"")])).is_none());
        assert_eq!(write(&map("if-match", &["*"])).if_match, Some(ETagMatch::Any));
    }

    #[test]
    fn dates_that_do_not_count() {
        let since = |text| read(&map("if-modified-since", &[text]), NOW).if_modified_since;
        assert_eq!(since("Sun, 06 Nov 1994 08:49:37 GMT"), Some(NOW));
        assert_eq!(since("Sun, 06 Nov 1994 08:49:38 GMT"), None);
        assert_eq!(since("soon"), None);
    }

    #[test]
    fn if_range() {
        let applies = |text: &str| range_applies(&map("if-range", &[text]), &TAG, NOW);
        assert!(applies(&format!("\"{TAG}\"")));
        assert!(!applies(&format!("W/\"{TAG}\"")));
        assert!(!applies("\"other\""));
        assert!(applies("Sun, 06 Nov 1994 08:49:37 GMT"));
        assert!(!applies("Sun, 06 Nov 1994 08:49:36 GMT"));
        assert!(range_applies(&HeaderMap::new(), &TAG, NOW));
    }
}
