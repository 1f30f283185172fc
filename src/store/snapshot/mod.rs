//! Snapshots: copies of the records on backends, so that a node whose data directory is lost can be built anew.
//!
//! A snapshot is a checkpoint of the metadata engine: files that never change, called by what they hold. Those
//! that a backend has from earlier snapshots are not sent again. Last goes the manifest, which names them all: a
//! snapshot without one does not exist. What none of the kept manifests names is deleted.

mod joint;
mod manifest;
mod note;
mod place;
mod recover;
mod rejoin;
mod restore;
mod seal;
mod sums;

use backend::{BackendError, Location, NewReplica};
use bytes::Bytes;
use meta::Traffic;
use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::sync::OwnedMutexGuard;
use types::{BlobId, Timestamp};

use crate::allowance::SLICE;
use crate::member::Member;
use crate::toll::Toll;
use crate::{OrderError, Store, StoreError};
pub(crate) use joint::Joint;
use manifest::{File, Manifest};
use place::Kept;
pub(crate) use restore::UNFINISHED;
pub use restore::{RestoreOptions, Restored, restore};
pub(crate) use sums::Sums;

/// Where a checkpoint lies in the data directory while it is sent.
const CHECKPOINT: &str = "snapshot";
/// From a number that was handed out to its note: whoever took one hands the note in at once.
const NOTED_WITHIN: Duration = Duration::from_millis(500);
const PIECE_BYTES: usize = 1 << 20;
/// Besides the files: listings, the manifest, older manifests, deletions.
const AROUND_CALLS: u64 = 8;

#[derive(Debug, Clone)]
pub struct SnapshotOrder {
    /// None: all but the data directory itself.
    pub backends: Vec<String>,
    /// How many of the newest are kept on each.
    pub keep: usize,
}

/// What became of a snapshot on one backend.
#[derive(Debug, Clone)]
pub struct SnapshotSent {
    pub backend: String,
    pub id: String,
    pub files: u64,
    pub bytes: u64,
    /// Of these, what the backend did not have yet.
    pub sent_files: u64,
    pub sent_bytes: u64,
    /// Older snapshots that were deleted.
    pub pruned: u64,
    /// Why it is not there.
    pub error: Option<String>,
}

/// A snapshot on a backend.
#[derive(Debug, Clone)]
pub struct SnapshotAt {
    pub backend: String,
    pub node: String,
    pub id: String,
    pub taken: Timestamp,
    pub bytes: u64,
    /// Everything that it names is there.
    pub whole: bool,
}

/// A snapshot on its way, step by step. Dropped, what was sent so far stays for the next one.
pub struct Snapshotting {
    store: Store,
    manifest: Arc<Manifest>,
    checkpoint: Checkpoint,
    ways: VecDeque<Way>,
    keep: usize,
    failed: bool,
    _alone: OwnedMutexGuard<Sums>,
}

/// The way to one backend.
struct Way {
    member: Arc<Member>,
    kept: Option<Kept>,
    /// The next file.
    next: usize,
    sent: SnapshotSent,
}

/// What one step did.
#[derive(Debug, Clone, Default)]
pub struct SnapshotStep {
    pub sent_bytes: u64,
    /// A backend is done with.
    pub ended: Option<SnapshotSent>,
}

/// The files of a checkpoint; gone when it is dropped.
struct Checkpoint(PathBuf);

impl Drop for Checkpoint {
    fn drop(&mut self) {
        // What cannot be removed is removed by the next one.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Store {
    /// Begins a snapshot: takes a consistent copy of the records, while writes go on. Waits for one that is
    /// under way.
    pub async fn snapshot(&self, order: &SnapshotOrder) -> Result<Snapshotting, OrderError> {
        let members = self.snapshot_members(&order.backends)?;
        let mut alone = Arc::clone(&self.0.snapshots).lock_owned().await;
        let next = self.0.meta.next_number();
        tokio::time::sleep(NOTED_WITHIN).await;
        let dir = self.0.options.data_dir.join(CHECKPOINT);
        let mut sums = std::mem::take(&mut *alone);
        let now = self.now();
        let taken = self.blocking(move |inner| {
            let checkpoint = Checkpoint(dir);
            match std::fs::remove_dir_all(&checkpoint.0) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
            // Never the same time twice, nor an earlier one: it orders them.
            let last = inner.meta.last_snapshot()?.map_or(0, |last| last.0 + 1);
            let taken = now.max(Timestamp(last));
            inner.meta.checkpoint(&checkpoint.0)?;
            let files = sums.files(&checkpoint.0)?;
            let id = format!("{:013}", taken.0);
            Ok((checkpoint, Manifest { node: inner.node.clone(), id, taken, next, files }, sums))
        });
        let (checkpoint, manifest, sums) = taken.await?;
        *alone = sums;
        let way = |member: Arc<Member>| Way {
            sent: SnapshotSent {
                backend: member.name.clone(),
                id: manifest.id.clone(),
                files: manifest.files.len() as u64,
                bytes: manifest.bytes(),
                sent_files: 0,
                sent_bytes: 0,
                pruned: 0,
                error: None,
            },
            member,
            kept: None,
            next: 0,
        };
        let ways = members.into_iter().map(way).collect();
        let (store, keep) = (self.clone(), order.keep.max(1));
        let manifest = Arc::new(manifest);
        Ok(Snapshotting { store, manifest, checkpoint, ways, keep, failed: false, _alone: alone })
    }

    fn snapshot_members(&self, names: &[String]) -> Result<Vec<Arc<Member>>, OrderError> {
        let fleet = &self.0.fleet;
        let mut members = Vec::new();
        for name in names {
            let member = fleet.named(name).ok_or_else(|| OrderError::no_backend(&self.0, name))?;
            if member.is_embedded() {
                let why = format!("{name} is the data directory: a snapshot there would be lost with it");
                return Err(OrderError::Refused(why));
            }
            members.push(member);
        }
        if names.is_empty() {
            members.extend(fleet.members().iter().filter(|member| !member.is_embedded()).cloned());
        }
        if members.is_empty() {
            let why = "there is no backend beside the data directory to keep a snapshot";
            return Err(OrderError::Refused(why.to_owned()));
        }
        Ok(members)
    }

    /// This node's snapshots on every backend that answers, the newest first; and why others do not.
    pub async fn snapshots(&self) -> (Vec<SnapshotAt>, Vec<(String, String)>) {
        let (mut all, mut silent) = (Vec::new(), Vec::new());
        for member in self.0.fleet.members().iter().filter(|member| !member.is_embedded()) {
            match list(&member.name, &*member.backend, Some(&self.0.node)).await {
                Ok(found) => all.extend(found.into_iter().map(|(at, _)| at)),
                Err(error) => silent.push((member.name.clone(), error.to_string())),
            }
        }
        all.sort_by(|a, b| b.id.cmp(&a.id).then_with(|| a.backend.cmp(&b.backend)));
        (all, silent)
    }

    /// When the last snapshot was taken that came to all of its backends.
    pub async fn last_snapshot(&self) -> Result<Option<Timestamp>, StoreError> {
        self.blocking(|inner| Ok(inner.meta.last_snapshot()?)).await
    }
}

/// The snapshots on a backend, of one node or of all.
async fn list(
    name: &str,
    backend: &dyn backend::Backend,
    node: Option<&str>,
) -> Result<Vec<(SnapshotAt, Manifest)>, BackendError> {
    let kept = Kept::list(backend, node).await?;
    let mut all = Vec::new();
    for (location, size) in kept.manifests.values() {
        let Some(manifest) = place::read(backend, location, *size, Manifest::decode).await? else { continue };
        let at = SnapshotAt {
            backend: name.to_owned(),
            node: manifest.node.clone(),
            id: manifest.id.clone(),
            taken: manifest.taken,
            bytes: manifest.bytes(),
            whole: kept.has_all(&manifest),
        };
        all.push((at, manifest));
    }
    Ok(all)
}

impl Snapshotting {
    pub fn id(&self) -> &str {
        &self.manifest.id
    }

    /// Files that are to be on each backend, and their bytes.
    pub fn size(&self) -> (u64, u64) {
        (self.manifest.files.len() as u64, self.manifest.bytes())
    }

    /// The next step; `None` at the end. A backend that fails is given up, the others go on.
    pub async fn step(&mut self) -> Result<Option<SnapshotStep>, StoreError> {
        let Some(way) = self.ways.front_mut() else { return Ok(None) };
        let ended = match way.go(&self.store, &self.manifest, &self.checkpoint, self.keep).await {
            Ok(Some(sent_bytes)) => return Ok(Some(SnapshotStep { sent_bytes, ended: None })),
            Ok(None) => None,
            Err(error) => Some(error.to_string()),
        };
        self.failed |= ended.is_some();
        let ended = self.ways.pop_front().map(|way| SnapshotSent { error: ended, ..way.sent });
        if self.ways.is_empty() && !self.failed {
            let taken = self.manifest.taken;
            self.store.blocking(move |inner| Ok(inner.meta.note_snapshot(taken)?)).await?;
        }
        Ok(Some(SnapshotStep { sent_bytes: 0, ended }))
    }
}

impl Way {
    /// Sends one file, or ends: `None`.
    async fn go(
        &mut self,
        store: &Store,
        manifest: &Manifest,
        checkpoint: &Checkpoint,
        keep: usize,
    ) -> Result<Option<u64>, StoreError> {
        let kept = match self.kept.take() {
            Some(kept) => kept,
            None => {
                let kept = self.look(&manifest.node).await?;
                self.must_fit_the_month(store, &kept, manifest)?;
                kept
            }
        };
        let has = |file: &File| kept.files.get(&(manifest.node.clone(), file.sum.clone())).copied();
        while let Some(file) = manifest.files.get(self.next) {
            let before = has(file);
            if before == Some(file.size) {
                self.next += 1;
                continue;
            }
            let at = place::file(&manifest.node, &file.sum);
            if before.is_some() {
                self.remove(std::slice::from_ref(&at)).await?;
            }
            self.send(&checkpoint.0.join(&file.name), file, at).await?;
            self.next += 1;
            self.sent.sent_files += 1;
            self.sent.sent_bytes += file.size;
            let mut kept = kept;
            // Two files of a snapshot may hold the same.
            kept.files.insert((manifest.node.clone(), file.sum.clone()), file.size);
            self.kept = Some(kept);
            return Ok(Some(file.size));
        }
        let backend = &*self.member.backend;
        let text = Bytes::from(manifest.encode());
        self.member.may_call(1).await;
        self.member
            .judge(place::write(backend, place::manifest(&manifest.node, &manifest.id), text).await)?;
        self.prune(kept, manifest, keep).await?;
        Ok(None)
    }

    /// What is there already. Uploads that an earlier snapshot did not end are ended.
    async fn look(&self, node: &str) -> Result<Kept, StoreError> {
        let member = &self.member;
        // The listings; hardly any has a second page.
        member.may_call(2).await;
        let kept = member.judge(Kept::list(&*member.backend, Some(node)).await)?;
        let below = place::file(node, "");
        for location in member.judge(member.backend.unfinished(below.as_str(), usize::MAX).await)? {
            let sum = location.as_str().strip_prefix(below.as_str()).unwrap_or_default();
            if !kept.files.contains_key(&(node.to_owned(), sum.to_owned())) {
                member.may_call(member.calls_to_delete(0, 1)).await;
                member.judge(member.backend.abandon(&location).await)?;
            }
        }
        Ok(kept)
    }

    /// A snapshot that would use up a month's limit is not begun: clients have the rest.
    fn must_fit_the_month(&self, store: &Store, kept: &Kept, manifest: &Manifest) -> Result<(), StoreError> {
        let member = &self.member;
        if !member.has_limits() {
            return Ok(());
        }
        let there = |file: &&File| kept.files.contains_key(&(manifest.node.clone(), file.sum.clone()));
        let (mut calls, mut ingress_bytes) = (AROUND_CALLS, 0);
        for file in manifest.files.iter().filter(|file| !there(file)) {
            calls += 1 + file.size / backend::PART_BYTES;
            ingress_bytes += file.size;
        }
        let traffic = member.count(&store.0.meta, store.now());
        match member.used_up(traffic, Traffic { calls, ingress_bytes, egress_bytes: 0 }) {
            false => Ok(()),
            true => {
                Err(StoreError::Unavailable("this month's limits leave no room for a snapshot".to_owned()))
            }
        }
    }

    async fn send(&self, path: &std::path::Path, file: &File, at: Location) -> Result<(), StoreError> {
        let member = &self.member;
        let new = NewReplica { size: Some(file.size), ..NewReplica::of(BlobId(0)) };
        let mut source = tokio::fs::File::open(path).await?;
        let mut toll = Toll::new(None, member, file.size);
        toll.begin().await;
        let mut writer = member.judge(member.backend.begin_aside(at, new).await)?;
        let mut left = usize::try_from(file.size).unwrap_or(usize::MAX);
        while left > 0 {
            let mut piece = vec![0; left.min(PIECE_BYTES)];
            source.read_exact(&mut piece).await?;
            left -= piece.len();
            toll.take(piece.len() as u64).await;
            member.judge(writer.write(Bytes::from(piece)).await)?;
        }
        member.judge(writer.finish(Vec::new()).await)?;
        Ok(())
    }

    /// Deletes the snapshots beyond the newest, then the files that none names any more, and what is said of objects
    /// that all of them have.
    async fn prune(&mut self, kept: Kept, newest: &Manifest, keep: usize) -> Result<(), StoreError> {
        let backend = &*self.member.backend;
        let older = kept.manifests.iter().rev().filter(|((_, id), _)| *id != newest.id);
        let mut named: BTreeSet<String> = newest.files.iter().map(|file| file.sum.clone()).collect();
        let (mut doomed, mut all_read, mut in_all) = (Vec::new(), true, newest.next);
        for (nth, (_, (location, size))) in older.enumerate() {
            if nth + 1 >= keep {
                doomed.push(location.clone());
                continue;
            }
            self.member.may_call(1).await;
            match place::read(backend, location, *size, Manifest::decode).await? {
                Some(manifest) => {
                    in_all = in_all.min(manifest.next);
                    named.extend(manifest.files.into_iter().map(|file| file.sum));
                }
                None => all_read = false,
            }
        }
        self.remove(&doomed).await?;
        self.sent.pruned = doomed.len() as u64;
        if !all_read {
            tracing::warn!(
                backend = self.member.name,
                "a snapshot there cannot be read: no file of any snapshot is deleted"
            );
            return Ok(());
        }
        let unnamed = kept.files.keys().filter(|(_, sum)| !named.contains(sum));
        let mut unnamed: Vec<Location> = unnamed.map(|(node, sum)| place::file(node, sum)).collect();
        let joints = kept.joints.iter().filter(|((_, blob), _)| blob.0 < in_all);
        unnamed.extend(joints.map(|(_, (location, _))| location.clone()));
        self.remove(&unnamed).await
    }

    /// As many at a time as the backend may be called for in a moment.
    async fn remove(&self, locations: &[Location]) -> Result<(), StoreError> {
        let (member, mut left) = (&self.member, locations);
        while !left.is_empty() {
            let calls = usize::try_from(member.calls_within(SLICE)).unwrap_or(usize::MAX);
            let fits = if member.calls_to_delete(left.len(), 0) <= calls as u64 { left.len() } else { calls };
            let (now, later) = left.split_at(fits.min(left.len()));
            member.may_call(member.calls_to_delete(now.len(), 0)).await;
            member.judge(place::remove(&*member.backend, now).await)?;
            left = later;
        }
        Ok(())
    }
}
