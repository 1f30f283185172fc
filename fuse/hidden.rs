//! What of a bucket a mount cannot show: each key, with the reason.

use std::io;
use store::{ListEntry, ListRequest, ListStart};

use crate::errno;
use crate::filesystem::FileSystem;
use crate::names::{self, Reason};

/// Keys of one step; commits are not held up by a long look.
const STEP: usize = 1000;
/// A look ends after so many keys.
const MAX_LOOKED_AT: usize = 1_000_000;

/// Keys that are there, and that the mount does not show.
#[derive(Debug, Clone, Default)]
pub struct Hidden {
    /// How many, by the name of the reason.
    pub counts: Vec<(&'static str, u64)>,
    /// The first of them.
    pub keys: Vec<(String, &'static str)>,
    /// The look ended before the bucket did.
    pub or_more: bool,
}

/// Takes keys in their order.
struct Look<'a> {
    prefix: &'a str,
    max_named: usize,
    counts: [(Reason, u64); 4],
    keys: Vec<(String, Reason)>,
    /// Objects that a directory may hide, further on: each begins with the one before it.
    doubtful: Vec<String>,
}

impl<'a> Look<'a> {
    fn new(prefix: &'a str, max_named: usize) -> Self {
        let counts = Reason::ALL.map(|reason| (reason, 0));
        Self { prefix, max_named, counts, keys: Vec::new(), doubtful: Vec::new() }
    }

    fn take(&mut self, key: &str) {
        let text = key.get(self.prefix.len()..).unwrap_or_default();
        if let Some(flaw) = names::flaw(text) {
            return self.note(key.to_owned(), flaw.reason);
        }
        self.doubtful.retain(|file| key.starts_with(file.as_str()));
        let below = |file: &String| key.get(file.len()..).is_some_and(|rest| rest.starts_with('/'));
        if let Some(at) = self.doubtful.iter().position(below) {
            let file = self.doubtful.remove(at);
            self.note(file, Reason::Shadowed);
        }
        if !text.is_empty() && !key.ends_with('/') {
            self.doubtful.push(key.to_owned());
        }
    }

    fn note(&mut self, key: String, reason: Reason) {
        self.counts.iter_mut().filter(|(known, _)| *known == reason).for_each(|(_, count)| *count += 1);
        if self.keys.len() < self.max_named {
            self.keys.push((key, reason));
        }
    }

    fn end(self, or_more: bool) -> Hidden {
        let mut keys = self.keys;
        // One that a directory hides is known only when the directory comes.
        keys.sort();
        Hidden {
            counts: self.counts.iter().map(|(reason, count)| (reason.name(), *count)).collect(),
            keys: keys.into_iter().map(|(key, reason)| (key, reason.name())).collect(),
            or_more,
        }
    }
}

impl FileSystem {
    /// Names `max_named` of them at most.
    pub async fn hidden_keys(&self, max_named: usize) -> io::Result<Hidden> {
        let prefix = self.options.prefix.as_str();
        let mut look = Look::new(prefix, max_named);
        let mut start = ListStart::Beginning;
        for _ in 0..MAX_LOOKED_AT / STEP {
            let request =
                ListRequest { prefix: prefix.to_owned(), start, max: STEP, ..ListRequest::default() };
            let listed = self.store().list(self.source.bucket, request).await;
            let listed = listed.map_err(|error| io::Error::from(errno::of(error)))?;
            for entry in &listed.entries {
                if let ListEntry::Object(key, _) = entry {
                    look.take(key.as_str());
                }
            }
            let Some(next) = listed.next else { return Ok(look.end(false)) };
            start = next;
        }
        Ok(look.end(true))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn hidden(prefix: &str, keys: &[&str]) -> Vec<(String, &'static str)> {
        let mut look = Look::new(prefix, 100);
        keys.iter().for_each(|key| look.take(key));
        look.end(false).keys
    }

    #[test]
    fn each_hidden_key_has_its_reason() {
        let keys = ["../x", "a", "a-b", "a.b", "a/b", "b", "b//c", "c", "c/", "d/", "d/e", "d/e/f", "n\0"];
        let expected = [
            ("../x", "dots"),
            ("a", "shadowed"),
            ("b//c", "empty"),
            ("c", "shadowed"),
            ("d/e", "shadowed"),
            ("n\0", "nul"),
        ];
        assert_eq!(hidden("", &keys), expected.map(|(key, reason)| (key.to_owned(), reason)));
    }

    #[test]
    fn what_lies_below_a_prefix_is_judged_from_there() {
        assert_eq!(hidden("p/", &["p/", "p//x", "p/a"]), [("p//x".to_owned(), "empty")]);
    }
}
