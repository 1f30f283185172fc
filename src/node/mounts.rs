//! The mounts of a running node: those of the configuration, and those that come and go.

use crate::config;
use crate::options;
use anyhow::Context as _;
use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use store::Store;

/// What is going on in a mount may take so long to end when the node stops.
const GRACE: Duration = Duration::from_secs(10);

/// Calls may wait for the disk and for the kernel: not for the threads that serve sockets.
pub struct Mounts {
    store: Store,
    running: Mutex<Vec<Arc<fuse::Mount>>>,
}

impl Mounts {
    pub fn new(store: &Store) -> Self {
        Self { store: store.clone(), running: Mutex::new(Vec::new()) }
    }

    /// Those of the configuration: a node that cannot have one does not start.
    pub fn start(&self, mounts: &[config::Mount]) -> anyhow::Result<()> {
        for mount in mounts {
            self.add(options::of_mount(mount, &self.store)?)?;
        }
        Ok(())
    }

    pub fn add(&self, options: fuse::Options) -> anyhow::Result<()> {
        let place = options.path.display().to_string();
        let mount =
            fuse::Mount::start(&self.store, options).with_context(|| format!("cannot mount on {place}"))?;
        let mut running = self.running.lock();
        // What somebody else unmounted is forgotten when the next comes.
        running.retain(|mount| mount.is_alive());
        running.push(Arc::new(mount));
        Ok(())
    }

    /// Also those that somebody else unmounted, until the next comes.
    pub fn all(&self) -> Vec<Arc<fuse::Mount>> {
        self.running.lock().clone()
    }

    /// At the end: all at the same time.
    pub fn stop(&self) {
        let running = std::mem::take(&mut *self.running.lock());
        let waiting: Vec<_> = running
            .into_iter()
            .map(|mount| std::thread::spawn(move || (mount.path().to_owned(), mount.unmount(GRACE))))
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

fn late(path: &PathBuf) {
    tracing::warn!(path = %path.display(), "files are still open in the mount; they end with the node");
}
