//! What `stat` says, from records. Owner, mode and time that were set lie in an object's user metadata,
//! under the names that rclone gives them, so that S3 clients see them and can set them.

use store::Object;
use types::Timestamp;

use crate::Options;

/// Seconds and nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Time {
    pub secs: i64,
    pub nanos: u32,
}

impl From<Timestamp> for Time {
    fn from(time: Timestamp) -> Self {
        let ms = time.0;
        let nanos = u32::try_from(ms % 1000 * 1_000_000).unwrap_or_default();
        Self { secs: i64::try_from(ms / 1000).unwrap_or(i64::MAX), nanos }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    File,
    Directory,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attr {
    pub ino: u64,
    pub kind: Kind,
    pub size: u64,
    pub mtime: Time,
    pub ctime: Time,
    pub perm: u32,
    pub uid: u32,
    pub gid: u32,
    /// 0 for a version whose name is gone or has another one.
    pub links: u32,
}

pub const MODE_BITS: u32 = 0o7777;
/// Set-id bits mean nothing in a mount that may not honour them.
pub const SET_ID_BITS: u32 = 0o6000;
/// What `stat` shows as the size of a directory.
const DIRECTORY_BYTES: u64 = 4096;

impl Attr {
    pub fn file(object: &Object, options: &Options) -> Self {
        let meta = Metadata::read(&object.headers.user_metadata);
        Self {
            ino: object.version.0,
            kind: Kind::File,
            size: object.size,
            mtime: meta.mtime.unwrap_or(object.modified.into()),
            ctime: object.modified.into(),
            perm: meta.mode.unwrap_or(options.file_mode) & MODE_BITS & !SET_ID_BITS,
            uid: meta.uid.unwrap_or(options.uid),
            gid: meta.gid.unwrap_or(options.gid),
            links: 1,
        }
    }

    /// `marker` is the object that makes the directory, if there is one; `seen` the time of the last change
    /// in it.
    pub fn directory(ino: u64, marker: Option<&Object>, seen: Timestamp, options: &Options) -> Self {
        let meta = marker.map(|m| Metadata::read(&m.headers.user_metadata)).unwrap_or_default();
        let made = marker.map_or(Time::default(), |m| meta.mtime.unwrap_or(m.modified.into()));
        let time = made.max(seen.into());
        Self {
            ino,
            kind: Kind::Directory,
            size: DIRECTORY_BYTES,
            mtime: time,
            ctime: time,
            perm: meta.mode.unwrap_or(options.dir_mode) & MODE_BITS,
            uid: meta.uid.unwrap_or(options.uid),
            gid: meta.gid.unwrap_or(options.gid),
            links: 2,
        }
    }

    pub fn blocks(&self) -> u64 {
        self.size.div_ceil(512)
    }
}

/// What user metadata says of owner, mode and time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Metadata {
    pub mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub mtime: Option<Time>,
}

impl Metadata {
    pub fn read(pairs: &[(String, String)]) -> Self {
        let mut found = Self::default();
        for (name, value) in pairs {
            match name.as_str() {
                "mode" => found.mode = u32::from_str_radix(value, 8).ok(),
                "uid" => found.uid = value.parse().ok(),
                "gid" => found.gid = value.parse().ok(),
                "mtime" => found.mtime = parse_time(value),
                _ => {}
            }
        }
        found
    }
}

/// Sets what was given, as rclone writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wanted {
    pub perm: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub mtime: Option<Time>,
}

impl Wanted {
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    pub fn write(&self, kind: Kind, pairs: &mut Vec<(String, String)>) {
        let kind_bits = match kind {
            Kind::File => 0o100_000,
            Kind::Directory => 0o40_000,
        };
        let mut set = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                pairs.retain(|(known, _)| known != name);
                pairs.push((name.to_owned(), value));
            }
        };
        set("mode", self.perm.map(|perm| format!("{:o}", kind_bits | (perm & MODE_BITS))));
        set("uid", self.uid.map(|uid| uid.to_string()));
        set("gid", self.gid.map(|gid| gid.to_string()));
        set("mtime", self.mtime.map(write_time));
    }
}

fn write_time(time: Time) -> String {
    match (time.secs < 0, time.nanos) {
        (true, nanos) if nanos > 0 => {
            let whole = time.secs.saturating_add(1).unsigned_abs();
            format!("-{whole}.{:09}", 1_000_000_000 - nanos)
        }
        _ => format!("{}.{:09}", time.secs, time.nanos),
    }
}

/// Decimal seconds with a fraction, as rclone writes `mtime`.
fn parse_time(text: &str) -> Option<Time> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = fraction.get(..fraction.len().min(9))?;
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let nanos = format!("{digits:0<9}").parse::<u32>().ok()?;
    let secs: i64 = whole.parse().ok()?;
    Some(match whole.starts_with('-') && nanos > 0 {
        true => Time { secs: secs.checked_sub(1)?, nanos: 1_000_000_000 - nanos },
        false => Time { secs, nanos },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_rclone_writes_them() {
        let time = |secs, nanos| Some(Time { secs, nanos });
        assert_eq!(parse_time("1700000000.123456789"), time(1_700_000_000, 123_456_789));
        assert_eq!(parse_time("1700000000.5"), time(1_700_000_000, 500_000_000));
        assert_eq!(parse_time("1700000000"), time(1_700_000_000, 0));
        assert_eq!(parse_time("-1.5"), time(-2, 500_000_000));
        for (secs, nanos) in [(0, 0), (1_700_000_000, 5), (-1, 0), (-1, 1), (-2, 999_999_999)] {
            assert_eq!(parse_time(&write_time(Time { secs, nanos })), time(secs, nanos), "{secs} {nanos}");
        }
        for bad in ["", ".", "x", "1.x", "2023-01-01T00:00:00Z", "1.5e3"] {
            assert_eq!(parse_time(bad), None, "{bad}");
        }
    }
}
