//! A node built anew from the configuration and its backends: the newest whole snapshot, then what the backends
//! say of what was written after it (`recover.rs`).
//!
//! Everything is done beside the place where the records will lie; they get there in one step at the end. Broken
//! off before, it leaves nothing that a node would use, and is begun anew.

use backend::{Backend, Local, SyncRule};
use meta::Meta;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::AsyncWriteExt as _;
use types::ByteRange;

use super::manifest::{File, Manifest};
use super::recover::Recovery;
use super::{SnapshotAt, list, place};
use crate::fleet::Fleet;
use crate::settings::InForce;
use crate::{BackendSource, Before, Options, OrderError, StoreError, lock};

/// In the data directory, until all is done.
pub(crate) const UNFINISHED: &str = "restoring";
const META: &str = "meta";
const BLOCK_CACHE_BYTES: usize = 32 << 20;

#[derive(Debug, Clone, Default)]
pub struct RestoreOptions {
    /// The newest one that is whole, if none is named.
    pub snapshot: Option<String>,
    /// Whose snapshots, where those of several nodes lie.
    pub node: Option<String>,
    /// Backends that are gone: what was written there after the snapshot is not looked for.
    pub without: Vec<String>,
}

/// What came of a restore.
#[derive(Debug, Clone, Default)]
pub struct Restored {
    pub snapshot: String,
    pub taken: types::Timestamp,
    /// Whence it came.
    pub backend: String,
    pub objects: u64,
    /// Written after the snapshot, and recovered under their names.
    pub recovered: u64,
    /// Recovered under another name: an older version that was still there, a part of an upload, what a mount wrote.
    pub set_beside: Vec<String>,
    /// Deleted after the snapshot.
    pub deleted: u64,
    /// Their only bytes were in the lost data directory.
    pub lost: Vec<String>,
    /// Copies that the snapshot knew and nobody has.
    pub missing_copies: u64,
    /// Copies that were made after it.
    pub found_copies: u64,
    /// Bytes that could not be recovered, and why; they stay where they are.
    pub left: Vec<String>,
}

/// The backends, opened without knowing whose they are.
struct Source {
    name: String,
    backend: Arc<dyn Backend>,
}

/// Restores into a data directory without records. Blocks between its awaits: for a process of its own.
pub async fn restore(options: Options, what: &RestoreOptions) -> Result<Restored, OrderError> {
    let dir = options.data_dir.clone();
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(StoreError::from)?;
    let _lock = lock(&dir)?;
    if dir.join(META).exists() {
        let why = format!("{} has records already: a restore never replaces any", dir.display());
        return Err(OrderError::Refused(why));
    }
    let sources = sources(&options, what)?;
    let (manifest, holders) = choose(&sources, what).await?;
    let work = dir.join(UNFINISHED);
    begin(&work)?;
    fetch_all(&manifest, &holders, &work.join(META)).await?;
    let meta = Meta::open(&meta::Options {
        path: work.join(META),
        sync: true,
        block_cache_bytes: BLOCK_CACHE_BYTES,
    })?;
    if meta.node_id()? != manifest.node {
        return Err(OrderError::Refused("the records are another node's than the snapshot says".to_owned()));
    }
    let sync = SyncRule { file: true, directory: true };
    let local = Arc::new(Local::open(&dir.join("blobs"), sync).map_err(StoreError::from)?);
    let now = (options.clock)();
    let fleet = Fleet::open(&meta, &local, &options.backends, now)?;
    let settings = InForce::new(&options);
    settings.open_buckets(&meta, &options.buckets, now)?;
    let mut restored = Restored {
        snapshot: manifest.id.clone(),
        taken: manifest.taken,
        backend: holders.first().map(|source| source.name.clone()).unwrap_or_default(),
        ..Restored::default()
    };
    let recovery = Recovery::new(&meta, &fleet, &settings, &manifest, now);
    recovery.run(&what.without, &mut restored).await?;
    meta.close()?;
    drop(fleet);
    drop(meta);
    finish(&dir, &work)?;
    Ok(restored)
}

fn sources(options: &Options, what: &RestoreOptions) -> Result<Vec<Source>, OrderError> {
    let mut sources = Vec::new();
    for options in options.backends.iter().filter(|options| !what.without.contains(&options.name)) {
        let BackendSource::Other(open) = &options.source else { continue };
        let backend = open.0(&Before { node: String::new(), used: true });
        let refused = |why| OrderError::Refused(format!("backend {}: {why}", options.name));
        sources.push(Source { name: options.name.clone(), backend: backend.map_err(refused)? });
    }
    for name in &what.without {
        if !options.backends.iter().any(|options| options.name == *name) {
            return Err(OrderError::NotFound(format!("there is no backend \"{name}\"")));
        }
    }
    Ok(sources)
}

/// The snapshot, and the backends that have all of it.
async fn choose<'a>(
    sources: &'a [Source],
    what: &RestoreOptions,
) -> Result<(Manifest, Vec<&'a Source>), OrderError> {
    let mut found: Vec<(SnapshotAt, Manifest, &Source)> = Vec::new();
    for source in sources {
        let listed = list(&source.name, &*source.backend, what.node.as_deref()).await;
        let listed = listed.map_err(|error| {
            let name = &source.name;
            OrderError::Refused(format!("backend {name}: {error} (if it is gone: --without {name})"))
        })?;
        found.extend(listed.into_iter().map(|(at, manifest)| (at, manifest, source)));
    }
    found.retain(|(at, ..)| at.whole && what.snapshot.as_ref().is_none_or(|id| *id == at.id));
    let mut nodes: Vec<&str> = found.iter().map(|(at, ..)| at.node.as_str()).collect();
    nodes.sort_unstable();
    nodes.dedup();
    if nodes.len() > 1 {
        let why =
            format!("there are snapshots of several nodes: choose one with --node: {}", nodes.join(", "));
        return Err(OrderError::Refused(why));
    }
    let Some(newest) = found.iter().map(|(at, ..)| at.id.clone()).max() else {
        return Err(OrderError::NotFound("no backend has such a snapshot, all of it".to_owned()));
    };
    found.retain(|(at, ..)| at.id == newest);
    let manifest = found.first().map(|(_, manifest, _)| manifest.clone());
    let manifest = manifest.ok_or_else(|| OrderError::NotFound(newest))?;
    Ok((manifest, found.into_iter().map(|(_, _, source)| source).collect()))
}

/// What an earlier attempt left is no use.
fn begin(work: &Path) -> Result<(), StoreError> {
    match std::fs::remove_dir_all(work) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    Ok(std::fs::create_dir_all(work.join(META))?)
}

async fn fetch_all(manifest: &Manifest, holders: &[&Source], into: &Path) -> Result<(), StoreError> {
    for file in &manifest.files {
        let mut trouble = None;
        for source in holders {
            match fetch(&*source.backend, &manifest.node, file, into.join(&file.name)).await {
                Ok(()) => {
                    trouble = None;
                    break;
                }
                Err(error) => trouble = Some(error),
            }
        }
        if let Some(error) = trouble {
            return Err(StoreError::Unavailable(format!("{} of the snapshot: {error}", file.name)));
        }
    }
    Ok(std::fs::File::open(into)?.sync_all()?)
}

async fn fetch(backend: &dyn Backend, node: &str, file: &File, to: PathBuf) -> Result<(), StoreError> {
    let mut target = tokio::fs::File::create(&to).await?;
    if file.size > 0 {
        let location = place::file(node, &file.sum);
        let mut reader = backend.read(&location, ByteRange { start: 0, end: file.size }).await?;
        while let Some(piece) = reader.next().await? {
            target.write_all(&piece).await?;
        }
    }
    target.flush().await?;
    target.sync_all().await?;
    match super::sums::sum_of(&to)? == file.sum {
        true => Ok(()),
        false => Err(StoreError::Corrupt("it is not what the snapshot says".to_owned())),
    }
}

/// The one step that makes a node of it.
fn finish(dir: &Path, work: &Path) -> Result<(), StoreError> {
    let sync = |dir: &Path| std::fs::File::open(dir)?.sync_all();
    sync(&work.join(META))?;
    std::fs::rename(work.join(META), dir.join(META))?;
    sync(dir)?;
    std::fs::remove_dir_all(work)?;
    Ok(sync(dir)?)
}
