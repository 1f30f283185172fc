//! Preconditions of requests (RFC 9110 section 13 as S3 reads it).

use crate::{ETag, Timestamp};

/// One side of an ETag condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ETagMatch {
    /// `*`: any object that exists.
    Any,
    /// Any of these; tags that no object of ours can have were left out.
    OneOf(Vec<ETag>),
}

impl ETagMatch {
    pub fn matches(&self, tag: &ETag) -> bool {
        match self {
            ETagMatch::Any => true,
            ETagMatch::OneOf(tags) => tags.contains(tag),
        }
    }
}

/// Conditions on a write (PUT, Complete, copy destination, DELETE), decided at the commit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WriteConditions {
    /// The object must exist and match.
    pub if_match: Option<ETagMatch>,
    /// `If-None-Match: *`: the object must not exist.
    pub if_absent: bool,
}

/// Why a write was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteRefusal {
    /// `If-Match` on a key that holds nothing: S3 answers 404.
    Missing,
    IfMatch,
    IfNoneMatch,
}

impl WriteConditions {
    pub fn is_none(&self) -> bool {
        self.if_match.is_none() && !self.if_absent
    }

    pub fn check(&self, current: Option<&ETag>) -> Result<(), WriteRefusal> {
        match (&self.if_match, current) {
            (Some(_), None) => return Err(WriteRefusal::Missing),
            (Some(wanted), Some(tag)) if !wanted.matches(tag) => return Err(WriteRefusal::IfMatch),
            _ => {}
        }
        match current {
            Some(_) if self.if_absent => Err(WriteRefusal::IfNoneMatch),
            _ => Ok(()),
        }
    }
}

/// Conditions on a read (GET, HEAD, copy source).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReadConditions {
    pub if_match: Option<ETagMatch>,
    pub if_none_match: Option<ETagMatch>,
    /// In whole seconds.
    pub if_modified_since: Option<Timestamp>,
    pub if_unmodified_since: Option<Timestamp>,
}

/// What a read's conditions say about an object that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadVerdict {
    Send,
    NotModified,
    /// Names the header that failed.
    PreconditionFailed(&'static str),
}

impl ReadConditions {
    /// The precedence is RFC 9110 section 13.2.2: `If-Match` hides `If-Unmodified-Since`,
    /// `If-None-Match` hides `If-Modified-Since`; a failed precondition wins over "not modified".
    pub fn check(&self, etag: &ETag, modified: Timestamp) -> ReadVerdict {
        match (&self.if_match, self.if_unmodified_since) {
            (Some(wanted), _) if !wanted.matches(etag) => {
                return ReadVerdict::PreconditionFailed("If-Match");
            }
            (None, Some(since)) if modified.secs() > since.secs() => {
                return ReadVerdict::PreconditionFailed("If-Unmodified-Since");
            }
            _ => {}
        }
        match (&self.if_none_match, self.if_modified_since) {
            (Some(unwanted), _) if unwanted.matches(etag) => ReadVerdict::NotModified,
            (None, Some(since)) if modified.secs() <= since.secs() => ReadVerdict::NotModified,
            _ => ReadVerdict::Send,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: ETag = ETag { md5: [1; 16], parts: None };
    const OTHER: ETag = ETag { md5: [2; 16], parts: None };

    fn of(tag: ETag) -> Option<ETagMatch> {
        Some(ETagMatch::OneOf(vec![tag]))
    }

    #[test]
    fn writes() {
        let absent = WriteConditions { if_absent: true, ..Default::default() };
        assert_eq!(absent.check(None), Ok(()));
        assert_eq!(absent.check(Some(&TAG)), Err(WriteRefusal::IfNoneMatch));
        let matching = WriteConditions { if_match: of(TAG), ..Default::default() };
        assert_eq!(matching.check(None), Err(WriteRefusal::Missing));
        assert_eq!(matching.check(Some(&OTHER)), Err(WriteRefusal::IfMatch));
        assert_eq!(matching.check(Some(&TAG)), Ok(()));
    }

    /// The twelve rows of the read matrix; `true` is "the condition holds".
    #[test]
    fn reads() {
        use ReadVerdict::{NotModified as N, PreconditionFailed, Send as S};
        const IM: ReadVerdict = PreconditionFailed("If-Match");
        const IUS: ReadVerdict = PreconditionFailed("If-Unmodified-Since");
        let (t, f) = (Some(true), Some(false));
        let rows = [
            (f, f, f, f, IM),
            (t, f, t, f, N),
            (t, t, f, f, S),
            (t, None, f, None, N),
            (t, None, t, f, S),
            (None, f, t, f, IUS),
            (None, f, t, t, N),
            (None, t, t, f, IUS),
            (None, t, f, t, S),
            (None, None, f, f, IUS),
            (None, None, f, t, N),
            (None, None, t, f, IUS),
        ];
        for (im, inm, ims, ius, expected) in rows {
            let conditions = ReadConditions {
                if_match: im.and_then(|hold| of(if hold { TAG } else { OTHER })),
                if_none_match: inm.and_then(|hold| of(if hold { OTHER } else { TAG })),
                if_modified_since: ims.map(|hold| Timestamp::from_secs(if hold { 99 } else { 100 })),
                if_unmodified_since: ius.map(|hold| Timestamp::from_secs(if hold { 100 } else { 99 })),
            };
            let verdict = conditions.check(&TAG, Timestamp(100_900));
            assert_eq!(verdict, expected, "{im:?} {inm:?} {ims:?} {ius:?}");
        }
    }
}
