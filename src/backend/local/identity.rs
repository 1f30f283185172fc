//! Extended attributes: what a file says of itself, so that a disk describes itself without a byte
//! more in its files.
//!
//! `user.s3o.NAME` is identity, `user.s3o.header.NAME` a header, `user.s3o.meta.NAME` metadata of
//! the client. A file system that has no attributes, or no room for them, keeps fewer or none: they
//! are a last resort, never a condition of a write.

use crate::{NewReplica, Pairs};
use rustix::fs::{XattrFlags, fgetxattr, flistxattr, fsetxattr};
use std::os::fd::AsFd;

const OURS: &str = "user.s3o.";
const HEADER: &str = "header.";
const METADATA: &str = "meta.";
/// Linux allows 64 KiB for all names of a file, and for each value (xattr(7)).
const MAX_BYTES: usize = 64 << 10;

#[derive(Debug, Default)]
pub(super) struct Described {
    pub headers: Pairs,
    pub metadata: Pairs,
    pub identity: Pairs,
}

pub(super) fn write(file: impl AsFd, replica: &NewReplica) {
    // The most important first: room may end.
    let all = [("", &replica.identity), (HEADER, &replica.headers), (METADATA, &replica.metadata)];
    for (kind, pairs) in all {
        for (name, value) in pairs {
            let name = format!("{OURS}{kind}{name}");
            if fsetxattr(&file, name, value.as_bytes(), XattrFlags::empty()).is_err() {
                return;
            }
        }
    }
}

pub(super) fn read(file: impl AsFd) -> Described {
    let mut described = Described::default();
    let mut names = vec![0_u8; MAX_BYTES];
    let Ok(len) = flistxattr(&file, &mut names[..]) else { return described };
    let names = names.get(..len).unwrap_or_default();
    for name in names.split(|byte| *byte == 0).filter_map(|name| std::str::from_utf8(name).ok()) {
        let Some(short) = name.strip_prefix(OURS) else { continue };
        let Some(value) = value(&file, name) else { continue };
        let (pairs, short) = match (short.strip_prefix(HEADER), short.strip_prefix(METADATA)) {
            (Some(header), _) => (&mut described.headers, header),
            (_, Some(metadata)) => (&mut described.metadata, metadata),
            _ => (&mut described.identity, short),
        };
        pairs.push((short.to_owned(), value));
    }
    described
}

fn value(file: impl AsFd, name: &str) -> Option<String> {
    let mut value = vec![0_u8; MAX_BYTES];
    let len = fgetxattr(file, name, &mut value[..]).ok()?;
    value.truncate(len);
    String::from_utf8(value).ok()
}
