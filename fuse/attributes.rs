//! setattr: chmod, chown, utimens change what is said of a version; truncate changes a file in the making.

use std::sync::Arc;
use types::{Key, Version};

use crate::attr::{Attr, Kind, Wanted};
use crate::caller::Caller;
use crate::directory;
use crate::errno::{self, Answer, Errno};
use crate::filesystem::FileSystem;
use crate::handle::Handle;
use crate::staged::Staged;
use store::directory_headers;

impl FileSystem {
    pub async fn set_attributes(
        self: Arc<Self>,
        ino: u64,
        handle: Option<u64>,
        wanted: Wanted,
        size: Option<u64>,
        caller: Caller,
    ) -> Answer<Attr> {
        self.check_writable()?;
        let handle = handle.and_then(|handle| self.handles.get(handle).ok());
        let staged = match handle.as_deref() {
            Some(Handle::Staged(file)) if file.staged.number == ino => Some(Arc::clone(&file.staged)),
            _ => self.inodes.staged(ino),
        };
        if let Some(staged) = staged {
            return self.set_staged(&staged, wanted, size).await;
        }
        let is_directory = self.inodes.lock().directory(ino).is_some();
        match (is_directory, size) {
            (true, Some(_)) => Err(Errno::ISDIR),
            (true, None) => self.set_directory(ino, wanted, caller).await,
            (false, Some(size)) if size != self.attributes(ino)?.size => {
                // As with an open for writing: the kernel comes back for a file in the making.
                let mut table = self.inodes.lock();
                let node = table.get(ino).ok_or(Errno::STALE)?;
                let (parent, name) = (node.parent, node.name.clone());
                table.await_open(parent, &name, caller.thread);
                Err(Errno::STALE)
            }
            (false, _) => self.set_version(ino, wanted).await,
        }
    }

    async fn set_version(&self, ino: u64, wanted: Wanted) -> Answer<Attr> {
        if wanted.is_nothing() {
            return self.attributes(ino);
        }
        let restated = match self.inodes.path_of(ino).map(Key::new) {
            Some(Ok(key)) => {
                let edit = move |headers: &mut types::ObjectHeaders| {
                    wanted.write(Kind::File, &mut headers.user_metadata);
                };
                self.store().restate(self.asker(false), key, Version(ino), edit).await.map_err(errno::of)?
            }
            _ => None,
        };
        match restated {
            Some(object) => {
                self.restated(ino);
                Ok(self.change_times.shown(Attr::file(&object, &self.options)))
            }
            // Its name is gone: whoever has it open is the last to ask.
            None => self.attributes(ino),
        }
    }

    async fn set_directory(&self, ino: u64, wanted: Wanted, _: Caller) -> Answer<Attr> {
        let prefix = self.prefix_of(ino)?;
        let Ok(key) = Key::new(prefix.as_str()) else {
            // The bucket itself has no object that could say it.
            return if wanted.is_nothing() { self.attributes(ino) } else { Err(Errno::PERM) };
        };
        let asker = self.asker(false);
        match directory::marker_of(&self.source, &prefix)? {
            Some(marker) => {
                let edit = move |headers: &mut types::ObjectHeaders| {
                    wanted.write(Kind::Directory, &mut headers.user_metadata);
                };
                self.store().restate(asker, key, marker.version, edit).await.map_err(errno::of)?;
            }
            None => {
                let mut headers = directory_headers();
                wanted.write(Kind::Directory, &mut headers.user_metadata);
                if let Err(store::TreeError::Failed(error)) =
                    self.store().make_directory(asker, key, headers).await
                {
                    return Err(errno::of(error));
                }
            }
        }
        self.restated(ino);
        let attr = self.attributes(ino)?;
        Ok(Attr { mtime: wanted.mtime.unwrap_or(attr.mtime), ..attr })
    }

    async fn set_staged(&self, staged: &Arc<Staged>, wanted: Wanted, size: Option<u64>) -> Answer<Attr> {
        if let Some(size) = size {
            self.resize_staged(staged, size).await?;
        }
        let (untouched, open, committed) = {
            let mut state = staged.state();
            wanted.write(Kind::File, &mut state.headers.user_metadata);
            (state.is_untouched(), state.writers > 0, state.committed)
        };
        // What is said of the version goes to the version at once: nothing else may ever be committed.
        if !wanted.is_nothing() && (untouched || committed) {
            self.restate_under(staged, wanted).await?;
        }
        if !open {
            self.commit(staged, self.asker(false)).await?;
        }
        self.restated(staged.number);
        Ok(self.change_times.shown(staged.attr(&self.options)))
    }

    /// May copy what was committed, also from a network.
    async fn resize_staged(&self, staged: &Arc<Staged>, size: u64) -> Answer<()> {
        let (ground, now, changing) = (self.ground(), (self.options.clock)(), Arc::clone(staged));
        let resizing = tokio::task::spawn_blocking(move || {
            let _whole = changing.committing.blocking_lock();
            changing.state().set_size(&ground, size, now)
        });
        resizing.await.unwrap_or(Err(Errno::IO))
    }

    async fn restate_under(&self, staged: &Arc<Staged>, wanted: Wanted) -> Answer<()> {
        let Some(Ok(key)) = self.inodes.path_of(staged.number).map(Key::new) else { return Ok(()) };
        let found = self.store().hold(self.source.bucket, &key).map_err(errno::of)?;
        let Some((object, _)) = found else { return Ok(()) };
        let edit = move |headers: &mut types::ObjectHeaders| {
            wanted.write(Kind::File, &mut headers.user_metadata);
        };
        self.store().restate(self.asker(false), key, object.version, edit).await.map_err(errno::of)?;
        Ok(())
    }
}
