//! The mounts of a running node: those of the configuration, and those that come and go.

use crate::config;
use crate::options;
use anyhow::{anyhow, bail};
use parking_lot::Mutex;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use store::Store;

/// What is going on in a mount may take so long to end when the node stops.
const GRACE: Duration = Duration::from_secs(10);
/// Each has threads of its own.
const MAX_MOUNTS: usize = 256;

/// Calls may wait for the disk and for the kernel: not for the threads that serve sockets.
pub struct Mounts {
    store: Store,
    running: Mutex<Vec<Running>>,
    /// One after the other, so that two do not get the same place.
    adding: Mutex<()>,
}

#[derive(Clone)]
pub struct Running {
    pub mount: Arc<fuse::Mount>,
    /// Of the configuration: it comes again with the node.
    pub lasting: bool,
    /// It has left its place, and files in it are still open.
    pub leaving: bool,
}

impl Running {
    fn wanted(&self) -> bool {
        self.mount.is_alive() || (self.lasting && !self.leaving)
    }
}

/// Where the words of the system lead nowhere.
fn hint(place: &Path, error: &io::Error) -> &'static str {
    match error.kind() {
        // It is the helper that was not found.
        io::ErrorKind::NotFound if place.exists() => {
            "; who is not root needs fusermount3 of the package fuse3, and the packaged service its mounts.conf: \
             see s3-orchestrator-mount(8)"
        }
        io::ErrorKind::PermissionDenied => {
            "; the packaged service needs its mounts.conf: see s3-orchestrator-mount(8)"
        }
        _ => "",
    }
}

/// How an order to unmount ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmounted {
    Ended,
    /// Files are still open; they can be used until they are closed.
    InUse,
    NotMounted,
}

impl Mounts {
    pub fn new(store: &Store) -> Self {
        Self { store: store.clone(), running: Mutex::default(), adding: Mutex::default() }
    }

    /// Those of the configuration: a node that cannot have one does not start.
    pub fn start(&self, mounts: &[config::Mount]) -> anyhow::Result<()> {
        mounts.iter().try_for_each(|mount| self.add(mount, true).map(|_| ()))
    }

    pub fn add(&self, mount: &config::Mount, lasting: bool) -> anyhow::Result<Running> {
        let options = options::of_mount(mount, &self.store)?;
        let place = options.path.clone();
        let _one = self.adding.lock();
        if self.all().len() >= MAX_MOUNTS {
            bail!("there are {MAX_MOUNTS} mounts already");
        }
        let mount = fuse::Mount::start(&self.store, options).map_err(|error| {
            let hint = hint(&place, &error);
            anyhow!("cannot mount on {}: {error}{hint}", place.display())
        })?;
        let running = Running { mount: Arc::new(mount), lasting, leaving: false };
        let mut all = self.running.lock();
        // One of the configuration that somebody else unmounted has its successor.
        all.retain(|other| other.mount.is_alive() || other.mount.path() != running.mount.path());
        all.push(running.clone());
        drop(all);
        Ok(running)
    }

    /// From the mounts of one configuration to those of the next; what is the same in both goes on, or is tried
    /// once more. Says what could not be had.
    pub fn follow(&self, before: &[config::Mount], after: &[config::Mount]) -> Vec<String> {
        let mut notes = Vec::new();
        for gone in before.iter().filter(|mount| !after.contains(mount)) {
            if let Some(running) = self.lasting_at(&gone.path)
                && self.remove(running.mount.path()) == Unmounted::InUse
            {
                let path = gone.path.display();
                notes.push(format!("{path} is unmounted; files in it are still open until they are closed"));
            }
        }
        let missing = |mount: &&config::Mount| self.lasting_at(&mount.path).is_none();
        let added = after.iter().filter(missing).filter_map(|mount| self.add(mount, true).err());
        notes.extend(added.map(|why| format!("{why:#}")));
        notes
    }

    /// The living mount of the configuration that was wanted there.
    fn lasting_at(&self, path: &Path) -> Option<Running> {
        let wanted = |running: &Running| running.lasting && !running.leaving && running.mount.is_alive();
        self.all().into_iter().find(|running| wanted(running) && running.mount.options().path == path)
    }

    /// What somebody else unmounted is forgotten, unless the configuration wants it.
    pub fn all(&self) -> Vec<Running> {
        let mut running = self.running.lock();
        let ended: Vec<_> = running.extract_if(.., |running| !running.wanted()).collect();
        let all = running.clone();
        drop(running);
        // Their end waits for the store, which nobody here should.
        drop(ended);
        all
    }

    pub fn remove(&self, path: &Path) -> Unmounted {
        let at =
            |running: &Running| running.mount.path() == path && running.mount.is_alive() && !running.leaving;
        let Some(found) = self.all().into_iter().find(at) else { return Unmounted::NotMounted };
        let ended = found.mount.unmount(GRACE);
        let mut running = self.running.lock();
        let same = |running: &Running| Arc::ptr_eq(&running.mount, &found.mount);
        match ended {
            true => running.retain(|running| !same(running)),
            // Its files still hear of changes.
            false => running.iter_mut().filter(|running| same(running)).for_each(|r| r.leaving = true),
        }
        if ended { Unmounted::Ended } else { Unmounted::InUse }
    }

    /// At the end: all at the same time.
    pub fn stop(&self) {
        let running = std::mem::take(&mut *self.running.lock());
        let waiting: Vec<_> = running
            .into_iter()
            .map(|Running { mount, .. }| {
                std::thread::spawn(move || (mount.path().to_owned(), mount.unmount(GRACE)))
            })
            .collect();
        for ended in waiting {
            match ended.join() {
                Ok((_, true)) => {}
                Ok((path, false)) => late(&path),
                Err(_) => tracing::error!("unmounting panicked"),
            }
        }
    }
}

fn late(path: &Path) {
    tracing::warn!(path = %path.display(), "files are still open in the mount; they end with the node");
}
