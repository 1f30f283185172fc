//! What a file system does to names: mkdir, rmdir, unlink, rename. Each is one commit.
//!
//! A directory exists because keys lie below it, or because an object `dir/` marks it. One that a mount
//! empties gets its mark in the commit that empties it, so that it stays until it is removed.
//!
//! None of these waits for mounts: the kernel of the mount that asks holds locks meanwhile.

use bytes::Bytes;
use meta::{Account, Draft, MetaError, NotMoved, Order, Origin, Start, Txn};
use types::{BucketId, Key, ObjectHeaders, Timestamp, WriteConditions};

use crate::ingest::Ingested;
use crate::purpose::Purpose;
use crate::{Object, Promised, Source, SourceError, Store, StoreError};

/// A tree of more keys is not renamed in one commit: everybody else waits for it.
pub const MAX_MOVED_KEYS: usize = 1 << 17;
pub const DIRECTORY_TYPE: &str = "application/x-directory";

/// Why nothing was done, in POSIX's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    Missing,
    Exists,
    NotEmpty,
    IsDirectory,
    NotDirectory,
    /// Into itself.
    Inside,
    TooMany,
    NameTooLong,
}

/// Who asks, and where.
#[derive(Debug, Clone, Copy)]
pub struct Asker {
    pub bucket: BucketId,
    pub origin: Origin,
    /// Whether the answer comes when every mount shows the change; not while a kernel's lock is held for the
    /// caller. Names change without, whatever is asked.
    pub waits: bool,
}

#[derive(Debug, Clone)]
pub struct Rename {
    /// Keys of files, or prefixes of directories with their slash.
    pub from: Key,
    pub to: Key,
    pub no_replace: bool,
    pub exchange: bool,
    /// The mark of the directory that `from` is in; none for the root of a mount.
    pub left: Option<Key>,
}

#[derive(Debug)]
pub enum TreeError {
    Refused(Refusal),
    Failed(StoreError),
}

impl From<Refusal> for TreeError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<StoreError> for TreeError {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

impl From<MetaError> for TreeError {
    fn from(error: MetaError) -> Self {
        Self::Failed(error.into())
    }
}

pub type TreeAnswer<T> = Result<T, TreeError>;

/// What a mark needs: its blob, which came in before the commit.
struct Mark {
    body: Ingested,
    headers: ObjectHeaders,
    now: Timestamp,
}

impl Mark {
    fn put(self, txn: &mut Txn<'_>, bucket: BucketId, key: &Key) -> Result<Object, StoreError> {
        let Ingested { blob, etag, checksum, room, .. } = self.body;
        let draft = Draft {
            blob: blob.id,
            inline: blob.is_inline(),
            size: blob.size,
            etag,
            modified: self.now,
            checksum: Some(checksum),
            headers: self.headers,
        };
        txn.add_blob(blob);
        let record = txn.write_object(bucket, key, draft, &WriteConditions::default())?;
        txn.check_quota(Account::Bucket(bucket), &room)?;
        Ok(record)
    }
}

struct Nothing;

impl Source for Nothing {
    async fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        Ok(None)
    }
}

impl Store {
    /// Makes the mark of a directory; its key ends with a slash.
    pub async fn make_directory(&self, asker: Asker, key: Key, headers: ObjectHeaders) -> TreeAnswer<Object> {
        let Asker { bucket, origin, .. } = asker;
        let mark = self.mark(bucket, &key, headers).await?;
        self.commit_alone(Order::Shared, move |txn| {
            txn.caused_by(origin);
            let file = key.as_str().strip_suffix('/').and_then(|name| Key::new(name).ok());
            let taken = match file {
                Some(file) => txn.object(bucket, &file)?.is_some(),
                None => false,
            };
            if taken || txn.object(bucket, &key)?.is_some() {
                return Err(Refusal::Exists.into());
            }
            Ok(mark.put(txn, bucket, &key)?)
        })
        .await
    }

    /// Removes the mark of a directory below which nothing else lies. `left` is the mark of the directory that it
    /// is in.
    pub async fn remove_directory(&self, asker: Asker, key: Key, left: Option<Key>) -> TreeAnswer<()> {
        let Asker { bucket, origin, .. } = asker;
        let mark = self.mark_of(bucket, left.as_ref()).await?;
        self.commit_alone(Order::Alone, move |txn| {
            txn.caused_by(origin);
            let first = txn.first_below(bucket, key.as_str(), &Start::Beginning)?;
            if first.is_none() {
                return Err(Refusal::Missing.into());
            }
            let other = txn.first_below(bucket, key.as_str(), &Start::After(key.as_str().to_owned()))?;
            if other.is_some() {
                return Err(Refusal::NotEmpty.into());
            }
            stay(txn, bucket, left.as_ref(), key.as_str(), mark)?;
            txn.delete_object(bucket, &key, &WriteConditions::default())?;
            Ok(())
        })
        .await
    }

    /// Deletes a file. `left` is the mark of the directory that it is in.
    pub async fn remove_file(&self, asker: Asker, key: Key, left: Option<Key>) -> TreeAnswer<()> {
        let Asker { bucket, origin, .. } = asker;
        let quick: bool = {
            let (key, left) = (key.clone(), left.clone());
            self.commit_alone(Order::Shared, move |txn| {
                txn.caused_by(origin);
                match &left {
                    Some(mark) if txn.object(bucket, mark)?.is_none() => return Ok(false),
                    _ => {}
                }
                let gone = txn.delete_object(bucket, &key, &WriteConditions::default())?;
                gone.map(|_| true).ok_or(TreeError::Refused(Refusal::Missing))
            })
            .await?
        };
        if quick {
            return Ok(());
        }
        let mark = self.mark_of(bucket, left.as_ref()).await?;
        self.commit_alone(Order::Alone, move |txn| {
            txn.caused_by(origin);
            if txn.object(bucket, &key)?.is_none() {
                return Err(Refusal::Missing.into());
            }
            stay(txn, bucket, left.as_ref(), key.as_str(), mark)?;
            txn.delete_object(bucket, &key, &WriteConditions::default())?;
            Ok(())
        })
        .await
    }

    pub async fn rename(&self, asker: Asker, rename: Rename) -> TreeAnswer<()> {
        let Asker { bucket, origin, .. } = asker;
        let left = rename.left.as_ref().filter(|_| stays_alone(&rename));
        let mark = self.mark_of(bucket, left).await?;
        self.commit_alone(Order::Alone, move |txn| {
            txn.caused_by(origin);
            if rename.exchange {
                return exchange(txn, bucket, &rename);
            }
            match rename.from.as_str().ends_with('/') {
                true => rename_directory(txn, bucket, &rename, mark),
                false => rename_file(txn, bucket, &rename, mark),
            }
        })
        .await
    }

    /// For a directory that may be left with nothing in it.
    async fn mark_of(&self, bucket: BucketId, left: Option<&Key>) -> Result<Option<Mark>, StoreError> {
        match left {
            Some(key) => self.mark(bucket, key, directory_headers()).await.map(Some),
            None => Ok(None),
        }
    }

    async fn mark(&self, bucket: BucketId, key: &Key, headers: ObjectHeaders) -> Result<Mark, StoreError> {
        let promised = Promised { size: Some(0), ..Promised::default() };
        let purpose = Purpose { bucket, key, headers: &headers, part: None };
        let body = self.ingest(purpose, &promised, 0, Nothing).await?;
        Ok(Mark { body, headers, now: self.now() })
    }
}

pub fn directory_headers() -> ObjectHeaders {
    ObjectHeaders { content_type: Some(DIRECTORY_TYPE.to_owned()), ..ObjectHeaders::default() }
}

/// Marks the directory `left` if all that lies below it is what begins with `going`.
fn stay(
    txn: &mut Txn<'_>,
    bucket: BucketId,
    left: Option<&Key>,
    going: &str,
    mark: Option<Mark>,
) -> TreeAnswer<()> {
    let (Some(left), Some(mark)) = (left, mark) else { return Ok(()) };
    let first = txn.first_below(bucket, left.as_str(), &Start::Beginning)?;
    let is_going = |key: &Key| match going.ends_with('/') {
        true => key.as_str().starts_with(going),
        false => key.as_str() == going,
    };
    if !first.is_some_and(|key| is_going(&key)) {
        return Ok(());
    }
    let behind = match going.ends_with('/') {
        true => Start::AfterGroup(going.to_owned()),
        false => Start::After(going.to_owned()),
    };
    if txn.first_below(bucket, left.as_str(), &behind)?.is_none() {
        mark.put(txn, bucket, left)?;
    }
    Ok(())
}

fn exchange(txn: &mut Txn<'_>, bucket: BucketId, rename: &Rename) -> TreeAnswer<()> {
    let done = txn.exchange_objects(bucket, &rename.from, &rename.to)?;
    if done { Ok(()) } else { Err(Refusal::Missing.into()) }
}

fn rename_file(txn: &mut Txn<'_>, bucket: BucketId, rename: &Rename, mark: Option<Mark>) -> TreeAnswer<()> {
    let Rename { from, to, no_replace, .. } = rename;
    if txn.object(bucket, from)?.is_none() {
        return Err(Refusal::Missing.into());
    }
    let there = txn.object(bucket, to)?.is_some();
    let below = txn.first_below(bucket, &format!("{to}/"), &Start::Beginning)?.is_some();
    match (below, there) {
        (true, _) | (_, true) if *no_replace => return Err(Refusal::Exists.into()),
        (true, _) => return Err(Refusal::IsDirectory.into()),
        _ if from == to => return Ok(()),
        _ => {}
    }
    stay(txn, bucket, rename.left.as_ref(), from.as_str(), mark)?;
    txn.move_object(bucket, from, to)?;
    Ok(())
}

/// Whether nothing may be left in the directory; within it, the new name is.
fn stays_alone(rename: &Rename) -> bool {
    let left = rename.left.as_ref().map_or("", |left| left.as_str());
    !rename.to.as_str().starts_with(left)
}

fn rename_directory(
    txn: &mut Txn<'_>,
    bucket: BucketId,
    rename: &Rename,
    mark: Option<Mark>,
) -> TreeAnswer<()> {
    let Rename { from, to, no_replace, .. } = rename;
    if txn.first_below(bucket, from.as_str(), &Start::Beginning)?.is_none() {
        return Err(Refusal::Missing.into());
    }
    if to.as_str().starts_with(from.as_str()) {
        return if to == from { Ok(()) } else { Err(Refusal::Inside.into()) };
    }
    place_for_directory(txn, bucket, to, *no_replace)?;
    stay(txn, bucket, rename.left.as_ref(), from.as_str(), mark)?;
    match txn.move_tree(bucket, from.as_str(), to.as_str(), MAX_MOVED_KEYS)? {
        Ok(_) => Ok(()),
        Err(NotMoved::TooMany) => Err(Refusal::TooMany.into()),
        Err(NotMoved::TooLong) => Err(Refusal::NameTooLong.into()),
    }
}

/// An empty directory gives way, a file does not.
fn place_for_directory(txn: &mut Txn<'_>, bucket: BucketId, to: &Key, no_replace: bool) -> TreeAnswer<()> {
    let first = txn.first_below(bucket, to.as_str(), &Start::Beginning)?;
    let Some(first) = first else {
        let file = to.as_str().strip_suffix('/').and_then(|name| Key::new(name).ok());
        let there = match file {
            Some(file) => txn.object(bucket, &file)?.is_some(),
            None => false,
        };
        return match there {
            true if no_replace => Err(Refusal::Exists.into()),
            true => Err(Refusal::NotDirectory.into()),
            false => Ok(()),
        };
    };
    if no_replace {
        return Err(Refusal::Exists.into());
    }
    let other = txn.first_below(bucket, to.as_str(), &Start::After(to.as_str().to_owned()))?;
    if first != *to || other.is_some() {
        return Err(Refusal::NotEmpty.into());
    }
    txn.delete_object(bucket, to, &WriteConditions::default())?;
    Ok(())
}
