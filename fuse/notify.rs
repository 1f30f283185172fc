//! What a commit changes, told to the kernel, before the commit is acknowledged.
//!
//! Commits are heard of on the committer's thread and put in a queue; one thread of the mount's own works
//! through it. It may wait for the kernel's locks, behind requests that the event loops answer, so
//! nothing that an event loop does may wait for it.

use crossbeam::channel::{Receiver, Sender};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use store::{Change, Gate, Listener, Origin};
use tokio::sync::oneshot;
use types::{BucketId, Timestamp};

use crate::directory::{self, Source};
use crate::inode::{Inodes, ROOT};
use crate::names;

/// Changes that are told together; what they have in common is told once.
const MAX_BATCH: usize = 1024;

/// The kernel's side of a mount.
pub trait Kernel: Send + Sync + 'static {
    /// What it knows of a name in a directory, also that there is nothing.
    fn drop_name(&self, parent: u64, name: &str);
    /// Attributes, and the listing if it is a directory's.
    fn drop_inode(&self, ino: u64);
}

enum Message {
    /// And how many commits had been heard of before.
    Changes(Vec<Change>, u64),
    Fence(oneshot::Sender<()>),
}

/// Hears of commits for one mount.
pub struct Notices {
    bucket: BucketId,
    origin: Origin,
    inodes: Arc<Inodes>,
    queue: Sender<Message>,
    /// Messages that are not worked through.
    pending: Arc<AtomicU64>,
    told: Arc<AtomicU64>,
}

impl Listener for Notices {
    fn committed(&self, changes: &[Change]) {
        let ours = |change: &&Change| change.bucket == self.bucket && self.is_inside(change.key.as_str());
        if !changes.iter().any(|change| ours(&change)) {
            return;
        }
        let commits = self.inodes.changed();
        // After the count: an answer that is under way sees either it, or is seen here.
        let table = self.inodes.lock();
        let foreign = |change: &&Change| {
            let path = change.key.as_str().get(self.inodes.prefix().len()..).unwrap_or_default();
            let deleted = change.version.is_none();
            ours(change) && change.origin != self.origin && table.may_remember(path, deleted, commits)
        };
        let changes: Vec<Change> = changes.iter().filter(foreign).cloned().collect();
        drop(table);
        if !changes.is_empty() {
            self.pending.fetch_add(1, Ordering::SeqCst);
            // A thread that is gone has no kernel behind it any more.
            let _ = self.queue.send(Message::Changes(changes, commits));
        }
    }
}

impl Gate for Notices {
    fn passed(&self) -> Option<oneshot::Receiver<()>> {
        if self.pending.load(Ordering::SeqCst) == 0 {
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        self.queue.send(Message::Fence(sender)).ok().map(|()| receiver)
    }
}

impl Notices {
    /// Names and inodes that the kernel was told to let go of.
    pub fn told(&self) -> u64 {
        self.told.load(Ordering::Relaxed)
    }

    /// Commits whose notices are under way.
    pub fn waiting(&self) -> u64 {
        self.pending.load(Ordering::Relaxed)
    }

    fn is_inside(&self, key: &str) -> bool {
        key.starts_with(self.inodes.prefix())
    }

    /// The thread ends when the last of its `Notices` is gone.
    pub fn start(
        source: Source,
        origin: Origin,
        inodes: Arc<Inodes>,
        kernel: Arc<dyn Kernel>,
        clock: fn() -> Timestamp,
    ) -> std::io::Result<(Arc<Self>, JoinHandle<()>)> {
        let (queue, inbox) = crossbeam::channel::unbounded();
        let pending = Arc::new(AtomicU64::new(0));
        let bucket = source.bucket;
        let told = Arc::new(AtomicU64::new(0));
        let teller = Teller { source, inodes: Arc::clone(&inodes), kernel, clock, told: Arc::clone(&told) };
        let done = Arc::clone(&pending);
        let thread = std::thread::Builder::new()
            .name("fuse-notify".to_owned())
            .spawn(move || teller.run(&inbox, &done))?;
        Ok((Arc::new(Self { bucket, origin, inodes, queue, pending, told }), thread))
    }
}

struct Teller {
    source: Source,
    inodes: Arc<Inodes>,
    kernel: Arc<dyn Kernel>,
    clock: fn() -> Timestamp,
    told: Arc<AtomicU64>,
}

/// What the kernel must let go of.
#[derive(Default)]
struct Effects {
    names: HashSet<(u64, String)>,
    inodes: HashSet<u64>,
}

impl Teller {
    fn run(&self, inbox: &Receiver<Message>, pending: &AtomicU64) {
        while let Ok(first) = inbox.recv() {
            let mut effects = Effects::default();
            let mut fences = Vec::new();
            let (mut count, mut told) = (0, 0);
            let mut next = Some(first);
            while let Some(message) = next.take() {
                match message {
                    Message::Fence(fence) => fences.push(fence),
                    Message::Changes(changes, commits) => {
                        told += 1;
                        count += changes.len();
                        changes.iter().for_each(|change| self.work_out(change, commits, &mut effects));
                    }
                }
                if count < MAX_BATCH {
                    next = inbox.try_recv().ok();
                }
            }
            let notices = effects.names.len() + effects.inodes.len();
            self.told.fetch_add(notices as u64, Ordering::Relaxed);
            for (parent, name) in effects.names {
                self.kernel.drop_name(parent, &name);
            }
            for ino in effects.inodes {
                self.kernel.drop_inode(ino);
            }
            pending.fetch_sub(told, Ordering::SeqCst);
            for fence in fences {
                // Whoever waited may have given up.
                let _ = fence.send(());
            }
        }
    }

    fn work_out(&self, change: &Change, commits: u64, effects: &mut Effects) {
        let Some(text) = change.key.as_str().strip_prefix(self.inodes.prefix()) else { return };
        if names::flaw(text).is_some() {
            return;
        }
        let is_marker = text.is_empty() || text.ends_with('/');
        let mut names: Vec<&str> = text.split('/').collect();
        if is_marker {
            names.pop();
        }
        let directories = if is_marker { names.len() } else { names.len() - 1 };
        let known = self.known(&names, directories, (change, commits), effects);
        if change.version.is_none() {
            self.vanish(&names, &known, effects);
        }
    }

    /// The directories on the way that the kernel knows, root first. What it may have cached of the first name that
    /// it does not know as a directory is dropped.
    fn known(
        &self,
        names: &[&str],
        directories: usize,
        (change, commits): (&Change, u64),
        effects: &mut Effects,
    ) -> Vec<u64> {
        let now = (self.clock)();
        let mut table = self.inodes.lock();
        let mut known = vec![ROOT];
        let mut at = ROOT;
        for name in names.iter().take(directories) {
            let Some(child) = table.child(at, name) else { break };
            if table.entered_since(child, commits) {
                effects.names.insert((at, (*name).to_owned()));
            }
            known.push(child);
            at = child;
        }
        if let Some(name) = names.get(known.len() - 1) {
            // A directory of the name hides whatever happened to an object.
            if table.child(at, name).is_none() {
                effects.names.insert((at, (*name).to_owned()));
            }
        }
        if table.touch(at, now) {
            effects.inodes.insert(at);
        }
        if let Some(version) = change.version.filter(|version| table.get(version.0).is_some()) {
            effects.inodes.insert(version.0);
        }
        known
    }

    /// Something was deleted: directories may be gone with it, from the innermost outwards.
    fn vanish(&self, names: &[&str], known: &[u64], effects: &mut Effects) {
        for depth in (1..known.len()).rev() {
            let (Some(above), Some(name)) = (known.get(depth - 1), names.get(depth - 1)) else { return };
            let prefix = names.get(..depth).unwrap_or_default().join("/");
            let prefix = format!("{}{prefix}/", self.inodes.prefix());
            // What cannot be read is told as gone: the kernel asks again.
            if directory::exists(&self.source, &prefix).unwrap_or(false) {
                return;
            }
            let mut table = self.inodes.lock();
            table.gone(*above, name);
            table.touch(*above, (self.clock)());
            effects.names.insert((*above, (*name).to_owned()));
            effects.inodes.insert(*above);
        }
    }
}
