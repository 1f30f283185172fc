//! What changes names: mkdir, rmdir, unlink, rename. Each is one commit; the kernel holds its directories' locks
//! meanwhile, so none of them waits for any mount.

use std::ffi::OsString;
use std::sync::Arc;
use store::{Asker, Origin, Refusal, Rename, TreeError, directory_headers};
use tokio::sync::MutexGuard;
use types::Key;

use crate::attr::{Attr, Kind};
use crate::caller::Caller;
use crate::directory::{self, Found};
use crate::errno::{self, Answer, Errno};
use crate::filesystem::FileSystem;
use crate::names;
use crate::staged::Staged;

/// renameat2(2)'s flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RenameFlags {
    pub no_replace: bool,
    pub exchange: bool,
    /// A flag that is not known here.
    pub other: bool,
}

fn tree_errno(error: TreeError) -> Errno {
    match error {
        TreeError::Failed(error) => errno::of(error),
        TreeError::Refused(refusal) => match refusal {
            Refusal::Missing => Errno::NOENT,
            Refusal::Exists => Errno::EXIST,
            Refusal::NotEmpty => Errno::NOTEMPTY,
            Refusal::IsDirectory => Errno::ISDIR,
            Refusal::NotDirectory => Errno::NOTDIR,
            Refusal::Inside => Errno::INVAL,
            // mv(1) then copies.
            Refusal::TooMany => Errno::XDEV,
            Refusal::NameTooLong => Errno::NAMETOOLONG,
        },
    }
}

fn key(text: String) -> Answer<Key> {
    Key::new(text).map_err(|_| Errno::NAMETOOLONG)
}

impl FileSystem {
    pub(crate) fn asker(&self, waits: bool) -> Asker {
        // Whoever waits holds no lock of this mount's either, and has it told as well.
        let origin = if waits { Origin::default() } else { self.origin };
        Asker { bucket: self.source.bucket, origin, waits }
    }

    /// For what nobody waits for: this mount is told as well, in its own time.
    pub(crate) fn asker_beside(&self) -> Asker {
        Asker { waits: false, ..self.asker(true) }
    }

    /// The mark of a directory; the root of a mount needs none.
    fn mark_of(&self, prefix: &str) -> Option<Key> {
        Key::new(prefix).ok().filter(|_| prefix != self.inodes.prefix())
    }

    /// Whether somebody makes a file in the directory `name`.
    fn is_written_in(&self, parent: u64, name: &str) -> bool {
        let table = self.inodes.lock();
        table.child(parent, name).is_some_and(|ino| table.has_staged_in(ino))
    }

    fn touch(&self, ino: u64) {
        self.inodes.lock().touch(ino, (self.options.clock)());
    }

    pub async fn make_directory(
        self: Arc<Self>,
        parent: u64,
        name: OsString,
        mode: u32,
        caller: Caller,
    ) -> Answer<Attr> {
        self.check_writable()?;
        let name = names::made(&name)?;
        let prefix = self.prefix_of(parent)?;
        names::fits(&prefix, name, Kind::Directory)?;
        let in_the_making = !self.inodes.lock().staged_at(parent, name).is_empty();
        if in_the_making || directory::find(&self.source, &prefix, name)?.is_some() {
            return Err(Errno::EXIST);
        }
        let mark = key(format!("{prefix}{name}/"))?;
        let mut headers = directory_headers();
        headers.user_metadata = self.headers_for(mode, caller, Kind::Directory).user_metadata;
        let made = self.store().make_directory(self.asker(false), mark, headers).await;
        let made = made.map_err(tree_errno)?;
        let mut table = self.inodes.lock();
        table.touch(parent, (self.options.clock)());
        Ok(self.enter(&mut table, parent, &prefix, name, &Found::Directory(Some(made))))
    }

    pub async fn remove_directory(self: Arc<Self>, parent: u64, name: OsString) -> Answer<()> {
        self.check_writable()?;
        let name = names::sought(&name)?;
        let prefix = self.prefix_of(parent)?;
        if self.is_written_in(parent, name) {
            return Err(Errno::NOTEMPTY);
        }
        let mark = key(format!("{prefix}{name}/"))?;
        let removed = self.store().remove_directory(self.asker(false), mark, self.mark_of(&prefix)).await;
        removed.map_err(tree_errno)?;
        self.inodes.lock().gone(parent, name);
        self.touch(parent);
        Ok(())
    }

    pub async fn remove_file(self: Arc<Self>, parent: u64, name: OsString, caller: Caller) -> Answer<()> {
        self.check_writable()?;
        let name = names::sought(&name)?;
        let prefix = self.prefix_of(parent)?;
        let file = key(format!("{prefix}{name}"))?;
        // What is being committed under this name comes before.
        let making = self.inodes.lock().staged_at(parent, name).to_vec();
        let _settled = settled(&making).await;
        let removed = self.store().remove_file(self.asker(false), file, self.mark_of(&prefix)).await;
        let removed = removed.map_err(tree_errno);
        let mut table = self.inodes.lock();
        if removed == Err(Errno::NOENT) && Self::visible_staged(&table, parent, name, caller).is_none() {
            return Err(Errno::NOENT);
        }
        // Whoever is writing under this name has no name to write to any more.
        for staged in table.staged_at(parent, name).to_vec() {
            staged.unlink();
            table.end_staged(&staged);
        }
        table.touch(parent, (self.options.clock)());
        if removed == Err(Errno::NOENT) { Ok(()) } else { removed }
    }

    pub async fn rename(
        self: Arc<Self>,
        from: (u64, OsString),
        to: (u64, OsString),
        flags: RenameFlags,
        caller: Caller,
    ) -> Answer<()> {
        self.check_writable()?;
        if flags.other {
            return Err(Errno::INVAL);
        }
        let (old, new) = (names::sought(&from.1)?, names::made(&to.1)?);
        let (above, below) = (self.prefix_of(from.0)?, self.prefix_of(to.0)?);
        // What is being committed under the old name comes before, and what comes after has the new one.
        let making = self.inodes.lock().staged_at(from.0, old).to_vec();
        let _settled = settled(&making).await;
        let found = directory::find(&self.source, &above, old)?;
        let slash = match &found {
            Some(Found::Directory(_)) => "/",
            Some(Found::File(..)) => "",
            None => return self.rename_staged((from.0, old), (to.0, new), flags, &below, caller),
        };
        let kind = if slash.is_empty() { Kind::File } else { Kind::Directory };
        names::fits(&below, new, kind)?;
        let other = directory::find(&self.source, &below, new)?;
        check_kinds(found.as_ref(), other.as_ref(), flags)?;
        if !flags.exchange && self.is_written_in(to.0, new) {
            return Err(Errno::NOTEMPTY);
        }
        let rename = Rename {
            from: key(format!("{above}{old}{slash}"))?,
            to: key(format!("{below}{new}{slash}"))?,
            no_replace: flags.no_replace,
            exchange: flags.exchange,
            left: self.mark_of(&above),
        };
        self.store().rename(self.asker(false), rename).await.map_err(tree_errno)?;
        let version = |found: &Option<Found>| match found {
            Some(Found::File(object, _)) => Some(object.version.0),
            _ => None,
        };
        let mut table = self.inodes.lock();
        table.rename((from.0, old), (to.0, new), version(&found));
        if flags.exchange
            && let Some(version) = version(&other)
        {
            table.move_node(version, &(from.0, old.into()));
        }
        let now = (self.options.clock)();
        table.touch(from.0, now);
        table.touch(to.0, now);
        let moved = version(&found).or_else(|| table.child(to.0, new));
        drop(table);
        moved.iter().for_each(|ino| self.restated(*ino));
        Ok(())
    }

    /// A file in the making gets the new name when it is whole.
    fn rename_staged(
        &self,
        from: (u64, &str),
        to: (u64, &str),
        flags: RenameFlags,
        below: &str,
        caller: Caller,
    ) -> Answer<()> {
        names::fits(below, to.1, Kind::File)?;
        let there = directory::find(&self.source, below, to.1)?;
        let mut table = self.inodes.lock();
        Self::visible_staged(&table, from.0, from.1, caller).ok_or(Errno::NOENT)?;
        match there {
            Some(_) if flags.no_replace => return Err(Errno::EXIST),
            Some(Found::Directory(_)) => return Err(Errno::ISDIR),
            _ if flags.exchange => return Err(Errno::INVAL),
            _ => {}
        }
        table.rename(from, to, None);
        table.touch(from.0, (self.options.clock)());
        table.touch(to.0, (self.options.clock)());
        Ok(())
    }
}

/// Waits for commits that are under way, and holds up others.
async fn settled(making: &[Arc<Staged>]) -> Vec<MutexGuard<'_, ()>> {
    let mut held = Vec::with_capacity(making.len());
    for staged in making {
        held.push(staged.committing.lock().await);
    }
    held
}

/// Two files or two directories; only files change places.
fn check_kinds(from: Option<&Found>, to: Option<&Found>, flags: RenameFlags) -> Answer<()> {
    match (from, to) {
        (_, Some(_)) if flags.no_replace => Err(Errno::EXIST),
        (_, None) if flags.exchange => Err(Errno::NOENT),
        (Some(Found::File(..)), Some(Found::File(..))) => Ok(()),
        _ if flags.exchange => Err(Errno::INVAL),
        (Some(Found::File(..)), Some(Found::Directory(_))) => Err(Errno::ISDIR),
        (Some(Found::Directory(_)), Some(Found::File(..))) => Err(Errno::NOTDIR),
        _ => Ok(()),
    }
}
