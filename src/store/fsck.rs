//! Compares records, ledger, intents, queue and files of a stopped node.

mod bytes;

use backend::Location;
use meta::{
    Account, BlobRecord, CleanupTask, Content, Counters, MetaError, ObjectRecord, PartRecord, Place, Table,
    Target,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use types::{BlobId, Timestamp};

use crate::compare::{Comparison, Stretch, Wrong};
use crate::member::Member;
use crate::{Inner, Options, Store, StoreError};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    Unreadable(String),
    References {
        blob: BlobId,
        recorded: u32,
        counted: u32,
    },
    MissingBlob {
        blob: BlobId,
        named_by: String,
    },
    MissingBytes {
        blob: BlobId,
        names: Names,
    },
    WrongSize {
        blob: BlobId,
        recorded: u64,
        found: u64,
        names: Names,
    },
    /// Bytes that fail their checksum, or cannot be read.
    Damaged {
        blob: BlobId,
        why: String,
        names: Names,
    },
    StrayFile {
        blob: BlobId,
    },
    StrayInline {
        blob: BlobId,
    },
    ForeignFile(PathBuf),
    UnqueuedBlob {
        blob: BlobId,
    },
    /// As `MissingBytes`, `WrongSize` and `StrayFile`, on a backend beside the data directory.
    MissingReplica {
        blob: BlobId,
        backend: String,
    },
    ReplicaSize {
        blob: BlobId,
        backend: String,
        recorded: u64,
        found: u64,
    },
    StrayReplica {
        backend: String,
        location: String,
    },
    /// As `Damaged`, on a backend beside the data directory.
    DamagedReplica {
        blob: BlobId,
        backend: String,
        why: String,
    },
    /// A backend could not be looked at: what it has is not compared.
    NotListed {
        backend: String,
        why: String,
    },
    Ledger {
        account: Account,
        recorded: Counters,
        counted: Counters,
    },
}

/// Which objects and parts a damaged blob belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names {
    pub first: Vec<String>,
    pub more: usize,
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.first.is_empty() {
            write!(f, " (of {}", self.first.join(", "))?;
            if self.more > 0 {
                write!(f, " and {} more", self.more)?;
            }
            f.write_str(")")?;
        }
        Ok(())
    }
}

/// What `fsck` does beside comparing.
#[derive(Debug, Clone, Copy, Default)]
pub struct FsckOptions {
    /// Corrects references, ledger and queue, and sets stray files aside.
    pub repair: bool,
    /// Reads every byte and holds it against its checksum.
    pub verify: bool,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(what) => write!(f, "unreadable: {what}"),
            Self::References { blob, recorded, counted } => {
                write!(f, "blob {blob}: {recorded} references recorded, {counted} counted")
            }
            Self::MissingBlob { blob, named_by } => {
                write!(f, "blob {blob}: no record, but {named_by} names it")
            }
            Self::MissingBytes { blob, names } => write!(f, "blob {blob}: its bytes are missing{names}"),
            Self::WrongSize { blob, recorded, found, names } => {
                write!(f, "blob {blob}: {recorded} bytes recorded, {found} found{names}")
            }
            Self::Damaged { blob, why, names } => write!(f, "blob {blob}: {why}{names}"),
            Self::StrayFile { blob } => write!(f, "blob {blob}: a file that no record, intent or task names"),
            Self::StrayInline { blob } => write!(f, "blob {blob}: an inline value that no record names"),
            Self::ForeignFile(path) => write!(f, "{}: not a file of ours", path.display()),
            Self::MissingReplica { blob, backend } => {
                write!(f, "blob {blob}: its bytes on {backend} are missing")
            }
            Self::ReplicaSize { blob, backend, recorded, found } => {
                write!(f, "blob {blob}: {recorded} bytes recorded, {found} found on {backend}")
            }
            Self::StrayReplica { backend, location } => {
                write!(f, "{location} on {backend}: bytes that no record, intent or task names")
            }
            Self::DamagedReplica { blob, backend, why } => write!(f, "blob {blob}: on {backend}: {why}"),
            Self::NotListed { backend, why } => write!(f, "{backend} was not compared: {why}"),
            Self::UnqueuedBlob { blob } => {
                write!(f, "blob {blob}: unreferenced, but not on the cleanup queue")
            }
            Self::Ledger { account, recorded, counted } => {
                write!(f, "ledger of {account:?}: recorded {recorded:?}, counted {counted:?}")
            }
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FsckSummary {
    pub objects: u64,
    pub blobs: u64,
    pub uploads: u64,
    pub parts: u64,
    pub files: u64,
    pub tasks: u64,
    pub differences: u64,
    pub repaired: u64,
}

struct WholeFile {
    blob: BlobId,
    file: BlobId,
}

/// What the tables say, counted anew.
#[derive(Default)]
struct Census {
    summary: FsckSummary,
    blobs: BTreeMap<BlobId, BlobRecord>,
    references: BTreeMap<BlobId, u32>,
    inline: BTreeSet<BlobId>,
    /// Unreferenced blobs on the cleanup queue.
    queued: BTreeSet<BlobId>,
    /// Bytes that tasks and intents name, and no record.
    named: BTreeSet<(BlobId, Target)>,
    accounts: BTreeMap<Account, Counters>,
    /// Of the right size; what they hold is another question. A replica that was made later lies in a
    /// file with an id of its own.
    whole_files: Vec<WholeFile>,
    found: Vec<Difference>,
}

/// Opens the data directory as a node would, so an unfinished write of a crash is on the queue and
/// no difference. It deletes nothing.
pub fn fsck(
    options: Options,
    what: FsckOptions,
    report: &mut dyn FnMut(Difference),
) -> Result<FsckSummary, StoreError> {
    let store = Store::open_dir(options)?;
    let inner = &store.0;
    let mut census = Census::default();
    census.objects(inner)?;
    census.parts(inner)?;
    census.blobs(inner)?;
    census.queue(inner)?;
    census.compare_blobs();
    census.compare_files(inner)?;
    census.compare_backends(&store, what.verify)?;
    if what.verify {
        census.verify(inner);
    }
    census.compare_ledger(inner)?;
    census.name_the_damaged(inner)?;
    census.summary.differences = census.found.len() as u64;
    if what.repair {
        census.repair(inner)?;
    }
    census.found.drain(..).for_each(&mut *report);
    inner.meta.close()?;
    Ok(census.summary)
}

impl Census {
    fn objects(&mut self, inner: &Inner) -> Result<(), StoreError> {
        Ok(inner.meta.walk(Table::Objects, |key, value| {
            self.summary.objects += 1;
            match (meta::keyspace::split_bucket(key), ObjectRecord::decode(value)) {
                (Ok((bucket, _)), Ok(record)) => {
                    *self.references.entry(record.blob).or_default() += 1;
                    let account = self.accounts.entry(Account::Bucket(bucket)).or_default();
                    account.bytes += record.size;
                    account.objects += 1;
                }
                (_, Err(error)) | (Err(error), _) => self.unreadable("object", error),
            }
            Ok(())
        })?)
    }

    fn parts(&mut self, inner: &Inner) -> Result<(), StoreError> {
        let mut buckets = BTreeMap::new();
        inner.meta.walk(Table::Uploads, |key, _| {
            self.summary.uploads += 1;
            match meta::keyspace::split_upload(key) {
                Ok((bucket, _, id)) => drop(buckets.insert(id.sequence, bucket)),
                Err(error) => self.unreadable("upload", error),
            }
            Ok(())
        })?;
        Ok(inner.meta.walk(Table::Parts, |key, value| {
            let (sequence, number) = match meta::keyspace::split_part(key) {
                Ok(parsed) => parsed,
                Err(error) => {
                    self.unreadable("part", error);
                    return Ok(());
                }
            };
            if number == 0 {
                return Ok(());
            }
            self.summary.parts += 1;
            match (PartRecord::decode(value), buckets.get(&sequence)) {
                (Ok(part), Some(bucket)) => {
                    *self.references.entry(part.blob).or_default() += 1;
                    self.accounts.entry(Account::Bucket(*bucket)).or_default().bytes += part.size;
                }
                (Ok(_), None) => {
                    self.found.push(Difference::Unreadable("a part without its upload".to_owned()))
                }
                (Err(error), _) => self.unreadable("part", error),
            }
            Ok(())
        })?)
    }

    fn blobs(&mut self, inner: &Inner) -> Result<(), StoreError> {
        inner.meta.walk(Table::Blobs, |key, value| {
            self.summary.blobs += 1;
            match (meta::keyspace::split_blob(key), BlobRecord::decode(value)) {
                (Ok(id), Ok(record)) => {
                    if let Content::Parts(parts) = &record.content {
                        parts.iter().for_each(|p| *self.references.entry(p.blob).or_default() += 1);
                    }
                    self.blobs.insert(id, record);
                }
                (_, Err(error)) | (Err(error), _) => self.unreadable("blob", error),
            }
            Ok(())
        })?;
        Ok(inner.meta.walk(Table::Inline, |key, value| {
            match (meta::keyspace::split_blob(key), meta::decode_inline(value.to_vec())) {
                (Ok(id), decoded) => {
                    self.inline.insert(id);
                    if let Err(error) = decoded {
                        self.damaged(id, error.0.to_owned());
                    }
                }
                (Err(error), _) => self.unreadable("inline value", error),
            }
            Ok::<(), MetaError>(())
        })?)
    }

    fn queue(&mut self, inner: &Inner) -> Result<(), StoreError> {
        let always = Timestamp(u64::MAX);
        for queued in inner.meta.cleanups(always, None, usize::MAX)? {
            self.summary.tasks += 1;
            match queued.task {
                CleanupTask::Blob { blob, .. } => drop(self.queued.insert(blob)),
                CleanupTask::Stray { blob, target, size, .. } => {
                    let account = self.accounts.entry(Account::Backend(target.backend)).or_default();
                    account.awaiting_bytes += size;
                    self.named.insert((blob, target));
                }
            }
        }
        for queued in inner.meta.sweeps(always, usize::MAX)? {
            self.named.insert((queued.task.blob, queued.task.target));
        }
        for (blob, intent) in inner.meta.intents()? {
            self.named.extend(intent.targets.into_iter().map(|target| (blob, target)));
        }
        Ok(())
    }

    fn unreadable(&mut self, what: &str, error: meta::codec::DecodeError) {
        self.found.push(Difference::Unreadable(format!("{what}: {}", error.0)));
    }

    fn compare_blobs(&mut self) {
        for blob in self.references.keys().filter(|id| !self.blobs.contains_key(id)) {
            self.found.push(Difference::MissingBlob {
                blob: *blob,
                named_by: "an object, part or blob".to_owned(),
            });
        }
        for (id, record) in &self.blobs {
            let counted = self.references.get(id).copied().unwrap_or(0);
            if counted != record.references {
                let recorded = record.references;
                self.found.push(Difference::References { blob: *id, recorded, counted });
            }
            if counted == 0 && !self.queued.contains(id) {
                self.found.push(Difference::UnqueuedBlob { blob: *id });
            }
            for replica in record.replicas() {
                let account = self.accounts.entry(Account::Backend(replica.backend)).or_default();
                if record.references > 0 {
                    account.bytes += record.size;
                    account.objects += 1;
                } else {
                    account.awaiting_bytes += record.size;
                }
            }
            if is_at(record, Place::Inline) && !self.inline.remove(id) {
                self.found.push(Difference::MissingBytes { blob: *id, names: Names::default() });
            }
        }
        let strays = std::mem::take(&mut self.inline);
        self.found.extend(strays.into_iter().map(|blob| Difference::StrayInline { blob }));
    }

    fn compare_files(&mut self, inner: &Inner) -> Result<(), StoreError> {
        let mut sizes = BTreeMap::new();
        inner.local.files(&mut |file, size| match file {
            Ok(id) => drop(sizes.insert(id, size)),
            Err(path) => self.found.push(Difference::ForeignFile(path)),
        })?;
        self.summary.files = sizes.len() as u64;
        for (id, record, location) in self.recorded_files(inner) {
            let file = inner.local_file(&location);
            match file.and_then(|file| Some((file, sizes.remove(&file)?))) {
                Some((file, size)) if size == record.size => {
                    self.whole_files.push(WholeFile { blob: id, file });
                }
                Some((_, found)) => {
                    let (recorded, names) = (record.size, Names::default());
                    self.found.push(Difference::WrongSize { blob: id, recorded, found, names });
                }
                // Cleanup deletes the file first and the record after it.
                None if record.references == 0 => {}
                None => self.found.push(Difference::MissingBytes { blob: id, names: Names::default() }),
            }
        }
        let named = self.named.iter().filter(|(_, target)| target.backend == meta::EMBEDDED);
        let embedded = inner.fleet.get(meta::EMBEDDED);
        for (blob, target) in named {
            let location = embedded.as_ref().and_then(|member| member.location(*blob, &target.place));
            if let Some(file) = location.and_then(|location| inner.local_file(&location)) {
                sizes.remove(&file);
            }
        }
        let strays = sizes.into_keys();
        self.found.extend(strays.map(|blob| Difference::StrayFile { blob }));
        Ok(())
    }

    /// Replicas in files of the data directory.
    fn recorded_files(&self, inner: &Inner) -> Vec<(BlobId, BlobRecord, Location)> {
        let mut files = Vec::new();
        for (id, record) in &self.blobs {
            for replica in record.replicas().iter().filter(|r| r.backend == meta::EMBEDDED) {
                let location = match &replica.place {
                    Place::Inline => continue,
                    Place::File => backend::Backend::locate(&*inner.local, *id, None),
                    Place::Object(name) => Location::new(std::sync::Arc::clone(name)),
                };
                files.push((*id, record.clone(), location));
            }
        }
        files
    }

    /// Lists every other backend and holds what it has against the records; with `verify` also its
    /// bytes.
    fn compare_backends(&mut self, store: &Store, verify: bool) -> Result<(), StoreError> {
        let members = store.0.fleet.members();
        let members: Vec<_> = members.iter().filter(|member| !member.is_embedded()).cloned().collect();
        if members.is_empty() {
            return Ok(());
        }
        // A runtime of its own, on a thread of its own: the caller may be inside of one.
        std::thread::scope(|scope| {
            let comparing = scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                for member in &members {
                    runtime.block_on(self.compare_backend(store, member, verify));
                }
                Ok(())
            });
            comparing.join().unwrap_or_else(|_| Err(StoreError::Storage("a listing panicked".to_owned())))
        })
    }

    async fn compare_backend(&mut self, store: &Store, member: &Member, verify: bool) {
        let stretch = match Stretch::list(member, "", None, usize::MAX).await {
            Ok(stretch) => stretch,
            Err(error) => {
                let (backend, why) = (member.name.clone(), error.to_string());
                self.found.push(Difference::NotListed { backend, why });
                return;
            }
        };
        self.summary.files += stretch.found.len() as u64;
        let mut comparison = Comparison::new(stretch);
        self.blobs.iter().for_each(|(id, record)| comparison.record(member, *id, record));
        self.named.iter().for_each(|(blob, target)| comparison.named(member, *blob, target));
        let wrong: Vec<Wrong> = std::mem::take(&mut comparison.wrong);
        let strays = comparison.unnamed().filter(|found| member.number_in(&found.location).is_some());
        self.found.extend(strays.map(|found| Difference::StrayReplica {
            backend: member.name.clone(),
            location: found.location.as_str().to_owned(),
        }));
        if verify {
            self.verify_backend(store, member, &wrong).await;
        }
        self.found.extend(wrong.into_iter().map(|wrong| {
            let (blob, backend, recorded) = (wrong.blob, member.name.clone(), wrong.recorded);
            match wrong.found {
                Some(found) => Difference::ReplicaSize { blob, backend, recorded, found },
                None => Difference::MissingReplica { blob, backend },
            }
        }));
    }

    fn compare_ledger(&mut self, inner: &Inner) -> Result<(), StoreError> {
        inner.meta.walk(Table::Ledger, |key, _| {
            if meta::split_usage_key(key).is_none()
                && let Ok(account) = Account::from_key(key)
            {
                self.accounts.entry(account).or_default();
            }
            Ok(())
        })?;
        for (account, counted) in &self.accounts {
            let recorded = inner.meta.ledger().counters(*account);
            if recorded != *counted {
                self.found.push(Difference::Ledger { account: *account, recorded, counted: *counted });
            }
        }
        Ok(())
    }

    fn repair(&mut self, inner: &Inner) -> Result<(), StoreError> {
        let mut writes = Vec::new();
        for difference in &self.found {
            match difference {
                Difference::References { blob, counted, .. } => {
                    if let Some(record) = self.blobs.get_mut(blob) {
                        record.references = *counted;
                        writes.push((
                            Table::Blobs,
                            meta::keyspace::blob(*blob).to_vec(),
                            Some(record.encode()),
                        ));
                    }
                }
                Difference::Ledger { account, counted, .. } => {
                    writes.push((Table::Ledger, account.key(), Some(counted.encode())));
                }
                Difference::UnqueuedBlob { blob } => writes.push(cleanup(*blob)),
                Difference::StrayFile { blob } => drop(inner.local.set_aside(Ok(*blob))?),
                Difference::ForeignFile(path) => drop(inner.local.set_aside(Err(path))?),
                _ => continue,
            }
            self.summary.repaired += 1;
        }
        Ok(inner.meta.rewrite(writes)?)
    }
}

fn cleanup(blob: BlobId) -> (Table, Vec<u8>, Option<Vec<u8>>) {
    let key = meta::keyspace::task(meta::TaskKind::Cleanup, 0, blob.0).to_vec();
    (Table::Tasks, key, Some(CleanupTask::Blob { blob, attempts: 0 }.encode()))
}

fn is_at(record: &BlobRecord, place: Place) -> bool {
    record.replicas().iter().any(|replica| replica.place == place)
}

impl Inner {
    /// The number in the name of a file of the data directory.
    fn local_file(&self, location: &Location) -> Option<BlobId> {
        let name = location.as_str().rsplit('/').next()?;
        BlobId::parse(name)
    }
}
