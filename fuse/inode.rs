//! The inodes that the kernel knows: numbers to names, and the tree of known directories.
//!
//! A file's number is the version of its object, a directory's a hash of its prefix, so both are the same after a
//! remount. The table grows and shrinks with the kernel's caches: an entry lives while the kernel counts
//! lookups on it.
//!
//! Every answer that the kernel will cache is checked against [`Inodes::changes`]: if a commit came between
//! reading the records and entering the answer, the records are read again. With that, a notice to the
//! kernel that is sent after a commit finds every answer from before it, in this table and in the kernel.

use parking_lot::{Mutex, MutexGuard};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use store::Held;
use types::Timestamp;

use crate::staged::Staged;

pub const ROOT: u64 = 1;
/// Versions never have it.
const DIRECTORY_BIT: u64 = 1 << 63;

pub struct Node {
    pub parent: u64,
    pub name: Box<str>,
    lookups: u64,
    pub kind: NodeKind,
}

pub enum NodeKind {
    File(Held),
    /// It has a number, and no version yet.
    Staged(Arc<Staged>),
    Directory(Directory),
}

#[derive(Default)]
pub struct Directory {
    /// Directories in it that the kernel knows and that were there when it last asked.
    children: HashMap<Box<str>, u64>,
    /// It was there when the kernel last asked: nothing lies in one that is gone.
    live: bool,
    /// How many commits were heard of when it came to be here.
    entered: u64,
    /// Moves with every change in it.
    generation: u64,
    /// The generation that the kernel may hold a listing of.
    listed: Option<u64>,
    /// Names that the kernel asked for, by hash: what it may remember, also that there is nothing.
    asked: AskedNames,
    /// When it last changed, as far as it was seen.
    pub changed: Timestamp,
}

/// Grows never; a directory in which much was asked for is taken to have been asked for everything.
#[derive(Default)]
struct AskedNames(Option<Box<[u64; ASKED_WORDS]>>);

const ASKED_WORDS: usize = 32;

impl AskedNames {
    fn place(name: &str) -> (usize, u64) {
        let hash = hash(0, name.as_bytes());
        ((hash >> 6) as usize % ASKED_WORDS, 1 << (hash & 63))
    }

    fn note(&mut self, name: &str) {
        let (word, bit) = Self::place(name);
        let words = self.0.get_or_insert_with(|| Box::new([0; ASKED_WORDS]));
        if let Some(word) = words.get_mut(word) {
            *word |= bit;
        }
    }

    fn may_have(&self, name: &str) -> bool {
        let (word, bit) = Self::place(name);
        self.0.as_ref().and_then(|words| words.get(word)).is_some_and(|word| word & bit != 0)
    }
}

#[derive(Default)]
pub struct Table {
    nodes: HashMap<u64, Node>,
    /// Files in the making, by the name that they will take.
    staged: HashMap<Name, Vec<Arc<Staged>>>,
    /// Who was sent back to look a name up again, to find a file in the making there.
    awaited: HashMap<(Name, u32), Awaited>,
    /// How many commits were heard of when it was locked.
    as_of: u64,
}

pub type Name = (u64, Box<str>);

/// One system call that opens for writing: its next lookups of the name find this.
pub struct Awaited {
    since: Instant,
    pub staged: Option<Arc<Staged>>,
}

/// A system call that did not come back for it never will.
const AWAITED_FOR: Duration = Duration::from_secs(10);

pub struct Inodes {
    table: Mutex<Table>,
    changes: AtomicU64,
    /// Makes directories' numbers differ between buckets.
    seed: u64,
    prefix: String,
}

impl Inodes {
    pub fn new(bucket: &str, prefix: &str, now: Timestamp) -> Self {
        let root = Directory { live: true, changed: now, ..Directory::default() };
        let root = Node { parent: ROOT, name: "".into(), lookups: 1, kind: NodeKind::Directory(root) };
        Self {
            table: Mutex::new(Table { nodes: HashMap::from([(ROOT, root)]), ..Table::default() }),
            changes: AtomicU64::new(0),
            seed: hash(0, bucket.as_bytes()),
            prefix: prefix.to_owned(),
        }
    }

    pub fn lock(&self) -> MutexGuard<'_, Table> {
        let mut table = self.table.lock();
        table.as_of = self.changes();
        table
    }

    /// How many commits were heard of.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    /// On the committer's thread, before anybody is told of the commit.
    pub fn changed(&self) -> u64 {
        self.changes.fetch_add(1, Ordering::SeqCst)
    }

    /// The table, if no commit came since `changes` was read.
    pub fn lock_unchanged(&self, changes: u64) -> Option<MutexGuard<'_, Table>> {
        let table = self.lock();
        (table.as_of == changes).then_some(table)
    }

    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The prefix of a directory, with a slash at its end unless it is empty.
    pub fn prefix_of(&self, ino: u64) -> Option<String> {
        self.lock().prefix_of(ino, &self.prefix)
    }

    /// The key of a file, or the prefix of a directory.
    pub fn path_of(&self, ino: u64) -> Option<String> {
        let table = self.lock();
        let node = table.nodes.get(&ino)?;
        match node.kind {
            NodeKind::Directory(_) => table.prefix_of(ino, &self.prefix),
            NodeKind::File(_) | NodeKind::Staged(_) => {
                Some(table.prefix_of(node.parent, &self.prefix)? + &node.name)
            }
        }
    }

    pub fn held(&self, ino: u64) -> Option<Held> {
        match &self.lock().nodes.get(&ino)?.kind {
            NodeKind::File(held) => Some(held.clone()),
            NodeKind::Directory(_) | NodeKind::Staged(_) => None,
        }
    }

    /// The number for the directory at `prefix`, as long as the kernel has none for it.
    pub fn number(&self, prefix: &str) -> u64 {
        hash(self.seed, prefix.as_bytes()) | DIRECTORY_BIT
    }

    pub fn forget(&self, ino: u64, lookups: u64) {
        self.lock().forget(ino, lookups);
    }

    pub fn staged(&self, ino: u64) -> Option<Arc<Staged>> {
        match &self.lock().nodes.get(&ino)?.kind {
            NodeKind::Staged(staged) => Some(Arc::clone(staged)),
            NodeKind::Directory(_) | NodeKind::File(_) => None,
        }
    }

    /// Files in the making, and their bytes.
    pub fn staged_room(&self) -> (usize, u64) {
        let staged = self.lock().all_staged();
        (staged.len(), staged.iter().map(|staged| staged.shown().size).sum())
    }

    /// All but the root.
    pub fn len(&self) -> usize {
        self.lock().nodes.len() - 1
    }
}

impl Table {
    pub fn get(&self, ino: u64) -> Option<&Node> {
        self.nodes.get(&ino)
    }

    pub fn directory(&self, ino: u64) -> Option<&Directory> {
        match &self.nodes.get(&ino)?.kind {
            NodeKind::Directory(directory) => Some(directory),
            NodeKind::File(_) | NodeKind::Staged(_) => None,
        }
    }

    pub fn directory_mut(&mut self, ino: u64) -> Option<&mut Directory> {
        match &mut self.nodes.get_mut(&ino)?.kind {
            NodeKind::Directory(directory) => Some(directory),
            NodeKind::File(_) | NodeKind::Staged(_) => None,
        }
    }

    /// The directory `name` in `parent`, if the kernel knows it and it was there.
    pub fn child(&self, parent: u64, name: &str) -> Option<u64> {
        self.directory(parent)?.children.get(name).copied()
    }

    /// Whether a directory may have come to be here with a commit, or after it: the answer that names it may still be
    /// on its way to the kernel, which meanwhile remembers that there was nothing.
    pub fn entered_since(&self, ino: u64, commits: u64) -> bool {
        self.directory(ino).is_some_and(|directory| directory.entered >= commits)
    }

    /// `None` where a directory on the way is gone.
    pub fn prefix_of(&self, ino: u64, prefix: &str) -> Option<String> {
        let mut names = Vec::new();
        let mut at = ino;
        while at != ROOT {
            let node = self.nodes.get(&at)?;
            self.directory(at).filter(|directory| directory.live)?;
            names.push(&*node.name);
            at = node.parent;
        }
        let mut path = prefix.to_owned();
        for name in names.iter().rev() {
            path.push_str(name);
            path.push('/');
        }
        Some(path)
    }

    /// One lookup more on a file; the newest record of its version counts.
    pub fn enter_file(&mut self, parent: u64, name: &str, version: u64, held: Held) {
        let node = self.nodes.entry(version).or_insert_with(|| Node {
            parent,
            name: name.into(),
            lookups: 0,
            kind: NodeKind::File(held.clone()),
        });
        node.lookups += 1;
        node.parent = parent;
        if *node.name != *name {
            node.name = name.into();
        }
        node.kind = NodeKind::File(held);
    }

    /// One lookup more on a file in the making.
    pub fn enter_staged(&mut self, parent: u64, name: &str, staged: &Arc<Staged>) {
        let node = self.nodes.entry(staged.number).or_insert_with(|| Node {
            parent,
            name: name.into(),
            lookups: 0,
            kind: NodeKind::Staged(Arc::clone(staged)),
        });
        node.lookups += 1;
        let named = self.staged.entry((parent, name.into())).or_default();
        if !named.iter().any(|known| Arc::ptr_eq(known, staged)) {
            named.push(Arc::clone(staged));
        }
    }

    pub fn staged_at(&self, parent: u64, name: &str) -> &[Arc<Staged>] {
        self.staged.get(&(parent, name.into())).map_or(&[], Vec::as_slice)
    }

    pub fn all_staged(&self) -> Vec<Arc<Staged>> {
        self.staged.values().flatten().cloned().collect()
    }

    pub fn has_staged_in(&self, parent: u64) -> bool {
        self.staged.keys().any(|(above, _)| *above == parent)
    }

    /// It will not take its name any more, or has taken it.
    pub fn end_staged(&mut self, staged: &Arc<Staged>) {
        let Some(node) = self.nodes.get(&staged.number) else { return };
        let name = (node.parent, node.name.clone());
        if let Some(named) = self.staged.get_mut(&name) {
            named.retain(|known| !Arc::ptr_eq(known, staged));
            if named.is_empty() {
                self.staged.remove(&name);
            }
        }
    }

    /// It has become a version.
    pub fn became_version(&mut self, staged: &Arc<Staged>, held: Held) {
        self.end_staged(staged);
        if let Some(node) = self.nodes.get_mut(&staged.number) {
            node.kind = NodeKind::File(held);
        }
    }

    pub fn await_open(&mut self, parent: u64, name: &str, thread: u32) {
        self.awaited.retain(|_, awaited| awaited.since.elapsed() < AWAITED_FOR);
        self.awaited.insert(((parent, name.into()), thread), Awaited { since: Instant::now(), staged: None });
    }

    pub fn awaited(&mut self, parent: u64, name: &str, thread: u32) -> Option<&mut Awaited> {
        if self.awaited.is_empty() {
            return None;
        }
        self.awaited.get_mut(&((parent, name.into()), thread))
    }

    pub fn end_awaited(&mut self, staged: &Arc<Staged>) {
        self.awaited
            .retain(|_, awaited| !awaited.staged.as_ref().is_some_and(|known| Arc::ptr_eq(known, staged)));
    }

    /// What had a name in one directory has another in another.
    pub fn rename(&mut self, from: (u64, &str), to: (u64, &str), version: Option<u64>) {
        let (old, new): (Name, Name) = ((from.0, from.1.into()), (to.0, to.1.into()));
        self.gone(to.0, to.1);
        let child = self.directory_mut(from.0).and_then(|above| above.children.remove(from.1));
        if let Some(child) = child {
            if let Some(above) = self.directory_mut(to.0) {
                above.children.insert(to.1.into(), child);
            }
            self.move_node(child, &new);
        }
        if let Some(version) = version {
            self.move_node(version, &new);
        }
        if let Some(moved) = self.staged.remove(&old) {
            for staged in &moved {
                self.move_node(staged.number, &new);
            }
            self.staged.entry(new).or_default().extend(moved);
        }
    }

    pub fn move_node(&mut self, ino: u64, to: &Name) {
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.parent = to.0;
            node.name = to.1.clone();
        }
    }

    /// The number that `enter_directory` will give: that of the known one, else the wanted one or the next that is
    /// free.
    pub fn directory_number(&self, parent: u64, name: &str, wanted: u64) -> u64 {
        if let Some(known) = self.child(parent, name) {
            return known;
        }
        // Not even that of the one that was there before: the kernel would find its old inode, and with it what it
        // remembers of names in it.
        let mut ino = wanted;
        while self.nodes.contains_key(&ino) {
            ino = ino.wrapping_add(1) | DIRECTORY_BIT;
        }
        ino
    }

    /// One lookup more on a directory, which is there.
    pub fn enter_directory(&mut self, parent: u64, name: &str, wanted: u64) -> u64 {
        let ino = self.directory_number(parent, name, wanted);
        let as_of = self.as_of;
        let node = self.nodes.entry(ino).or_insert_with(|| Node {
            parent,
            name: name.into(),
            lookups: 0,
            kind: NodeKind::Directory(Directory::default()),
        });
        node.lookups += 1;
        if let NodeKind::Directory(directory) = &mut node.kind {
            if !directory.live {
                directory.entered = as_of;
            }
            directory.live = true;
        }
        if let Some(above) = self.directory_mut(parent) {
            above.children.insert(name.into(), ino);
        }
        ino
    }

    /// The kernel is told what `name` is, and may remember it.
    pub fn asked(&mut self, parent: u64, name: &str) {
        if let Some(directory) = self.directory_mut(parent) {
            directory.asked.note(name);
        }
    }

    /// Whether the kernel may remember anything that a change of this path, seen from the root, makes wrong. With what
    /// was `deleted` the directories above it may be gone, those too that were found a moment ago and not looked into.
    /// A directory that was found since the commit became visible (`commits`) may still be absent for the kernel.
    pub fn may_remember(&self, path: &str, deleted: bool, commits: u64) -> bool {
        let mut at = ROOT;
        let mut names = path.split('/').filter(|name| !name.is_empty()).peekable();
        let is_marker = path.ends_with('/');
        while let Some(name) = names.next() {
            if names.peek().is_none() && !is_marker {
                // Its directory is known: attributes, and perhaps a listing.
                return true;
            }
            match self.child(at, name) {
                Some(child) if self.entered_since(child, commits) => return true,
                Some(child) => at = child,
                None => {
                    let directory = self.directory(at);
                    return (deleted && at != ROOT)
                        || directory.is_some_and(|d| d.listed.is_some() || d.asked.may_have(name));
                }
            }
        }
        true
    }

    /// There is no directory `name` in `parent` any more.
    pub fn gone(&mut self, parent: u64, name: &str) {
        let child = self.directory_mut(parent).and_then(|above| above.children.remove(name));
        if let Some(directory) = child.and_then(|ino| self.directory_mut(ino)) {
            directory.live = false;
        }
    }

    /// Something in the directory changed; false if it is not known.
    pub fn touch(&mut self, ino: u64, now: Timestamp) -> bool {
        let Some(directory) = self.directory_mut(ino) else { return false };
        directory.generation += 1;
        directory.changed = directory.changed.max(now);
        true
    }

    /// The kernel opens the directory and will cache what it lists: whether its old listing still holds.
    pub fn list(&mut self, ino: u64) -> Option<bool> {
        let directory = self.directory_mut(ino)?;
        Some(directory.listed.replace(directory.generation) == Some(directory.generation))
    }

    pub fn forget(&mut self, ino: u64, lookups: u64) {
        let Some(node) = self.nodes.get_mut(&ino) else { return };
        node.lookups = node.lookups.saturating_sub(lookups);
        if node.lookups == 0 && ino != ROOT {
            self.remove(ino);
        }
    }

    fn remove(&mut self, ino: u64) {
        let Some(node) = self.nodes.remove(&ino) else { return };
        if let NodeKind::Directory(_) = node.kind
            && let Some(above) = self.directory_mut(node.parent)
            && above.children.get(&node.name) == Some(&ino)
        {
            above.children.remove(&node.name);
        }
    }
}

/// FNV-1a with a last mix: the same on every machine and for ever.
fn hash(seed: u64, bytes: &[u8]) -> u64 {
    let mut h = seed ^ 0xcbf2_9ce4_8422_2325;
    for byte in bytes {
        h = (h ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    h ^= h >> 30;
    h = h.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    h ^ (h >> 27)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn inodes() -> Inodes {
        Inodes::new("bucket", "top/", Timestamp(0))
    }

    fn enter(inodes: &Inodes, parent: u64, name: &str) -> u64 {
        let prefix = inodes.prefix_of(parent).unwrap() + name + "/";
        inodes.lock().enter_directory(parent, name, inodes.number(&prefix))
    }

    #[test]
    fn directories_have_the_same_number_as_long_as_nobody_else_has_it() {
        let inodes = inodes();
        let a = enter(&inodes, ROOT, "a");
        let b = enter(&inodes, a, "b");
        assert_eq!(inodes.prefix_of(b).unwrap(), "top/a/b/");
        assert_eq!(enter(&inodes, a, "b"), b);
        inodes.forget(b, 2);
        inodes.forget(a, 1);
        assert_eq!(inodes.len(), 0);
        assert_eq!(enter(&inodes, ROOT, "a"), a);
        let other = Inodes::new("other", "top/", Timestamp(0));
        assert_ne!(enter(&other, ROOT, "a"), a);
    }

    #[test]
    fn nothing_lies_in_a_directory_that_is_gone_and_another_takes_its_place() {
        let inodes = inodes();
        let a = enter(&inodes, ROOT, "a");
        let b = enter(&inodes, a, "b");
        inodes.lock().gone(ROOT, "a");
        assert_eq!(inodes.prefix_of(b), None);
        assert_eq!(inodes.lock().child(ROOT, "a"), None);
        let again = enter(&inodes, ROOT, "a");
        assert_ne!(again, a);
        assert_eq!(inodes.prefix_of(again).unwrap(), "top/a/");
        assert_eq!(inodes.prefix_of(b), None);
        inodes.forget(a, 1);
        assert_eq!(inodes.lock().child(ROOT, "a"), Some(again));
    }

    #[test]
    fn a_number_in_use_is_passed_over() {
        let inodes = inodes();
        let wanted = inodes.number("top/x/");
        let mut table = inodes.lock();
        let first = table.enter_directory(ROOT, "x", wanted);
        let second = table.enter_directory(ROOT, "y", wanted);
        assert_eq!(first, wanted);
        assert_ne!(second, first);
        assert_ne!(second & DIRECTORY_BIT, 0);
    }

    #[test]
    fn what_the_kernel_was_never_told_it_does_not_remember() {
        let inodes = inodes();
        let a = enter(&inodes, ROOT, "a");
        let mut table = inodes.lock();
        // Long after everything was found.
        let remembers = |table: &Table, path| table.may_remember(path, false, 9);
        assert!(remembers(&table, "x") && remembers(&table, "a/x") && remembers(&table, "a/"));
        assert!(!remembers(&table, "b/x") && !remembers(&table, "a/b/x") && !remembers(&table, "b/"));
        assert!(table.may_remember("a/b/x", true, 9) && !table.may_remember("b/x", true, 9));
        // Found with this commit or after it: the answer may be on its way, to a kernel that remembers nothing there.
        assert!(table.may_remember("a/b/x", false, 0));
        table.asked(a, "b");
        assert!(remembers(&table, "a/b/x") && !remembers(&table, "a/c/x"));
        table.list(ROOT);
        assert!(remembers(&table, "b/x"));
    }

    #[test]
    fn a_listing_holds_until_the_directory_changes() {
        let inodes = inodes();
        let mut table = inodes.lock();
        assert_eq!(table.list(ROOT), Some(false));
        assert_eq!(table.list(ROOT), Some(true));
        assert!(table.touch(ROOT, Timestamp(5)));
        assert_eq!(table.list(ROOT), Some(false));
        assert_eq!(table.list(7), None);
        assert!(inodes.changed_is_seen());
    }

    impl Inodes {
        fn changed_is_seen(&self) -> bool {
            let before = self.changes();
            self.changed();
            self.changes() != before
        }
    }
}
