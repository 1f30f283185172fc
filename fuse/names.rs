//! The one rule for keys that a file system cannot show.
//!
//! A key is shown if each of its components, between slashes, is a name: not empty, not `.` or `..`, without NUL. The
//! last may be empty: `dir/` is the marker that makes a directory. An object `a` beside keys below `a/` is
//! hidden by the directory. What is hidden makes no directory either. Nothing of it is lost: S3 shows it, and it is counted by
//! reason.

use std::ffi::OsStr;

use crate::attr::Kind;
use crate::errno::{Answer, Errno};

pub const MAX_NAME_BYTES: usize = 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// A component without a character: `a//b`, a leading slash.
    Empty,
    /// A component `.` or `..`.
    Dots,
    Nul,
    /// An object that has the name of a directory.
    Shadowed,
}

impl Reason {
    pub const ALL: [Self; 4] = [Self::Empty, Self::Dots, Self::Nul, Self::Shadowed];

    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Dots => "dots",
            Self::Nul => "nul",
            Self::Shadowed => "shadowed",
        }
    }
}

/// The first component that is no name, and where it ends in `text` (with its slash, if it has one).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flaw {
    pub reason: Reason,
    pub end: usize,
}

/// What of `text`, a key without the directory that it is looked at from, cannot be shown.
pub fn flaw(text: &str) -> Option<Flaw> {
    let mut start = 0;
    while start < text.len() {
        let end = text.get(start..)?.find('/').map_or(text.len(), |at| start + at);
        if let Some(reason) = not_a_name(text.get(start..end)?) {
            return Some(Flaw { reason, end: (end + 1).min(text.len()) });
        }
        start = end + 1;
    }
    None
}

fn not_a_name(component: &str) -> Option<Reason> {
    match component {
        "" => Some(Reason::Empty),
        "." | ".." => Some(Reason::Dots),
        other => other.contains('\0').then_some(Reason::Nul),
    }
}

/// A name that somebody looks for.
pub fn sought(name: &OsStr) -> Answer<&str> {
    if name.len() > MAX_NAME_BYTES {
        return Err(Errno::NAMETOOLONG);
    }
    // No key has it, so nothing is there.
    name.to_str().ok_or(Errno::NOENT)
}

/// A name that is to be made.
pub fn made(name: &OsStr) -> Answer<&str> {
    if name.len() > MAX_NAME_BYTES {
        return Err(Errno::NAMETOOLONG);
    }
    name.to_str().ok_or(Errno::ILSEQ)
}

/// Whether a key for it is short enough.
pub fn fits(prefix: &str, name: &str, kind: Kind) -> Answer<()> {
    let slash = usize::from(kind == Kind::Directory);
    if prefix.len() + name.len() + slash > types::MAX_KEY_BYTES { Err(Errno::NAMETOOLONG) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_with_components_that_are_no_names_have_a_flaw() {
        for good in ["a", "a/b", "a/", "a/b/", "...", "a/.b", " ", ""] {
            assert_eq!(flaw(good), None, "{good:?}");
        }
        for (bad, reason, end) in [
            ("/a", Reason::Empty, 1),
            ("/", Reason::Empty, 1),
            ("a//b", Reason::Empty, 3),
            ("a//", Reason::Empty, 3),
            (".", Reason::Dots, 1),
            ("a/../b", Reason::Dots, 5),
            ("a/./", Reason::Dots, 4),
            ("a\0b", Reason::Nul, 3),
            ("x/a\0b/c", Reason::Nul, 6),
        ] {
            assert_eq!(flaw(bad), Some(Flaw { reason, end }), "{bad:?}");
        }
    }
}
