//! Where snapshots lie on a backend, and what lies there.
//!
//! Files are called by what they hold, so that a snapshot names those of the one before it again, and sends only
//! what is new.

use backend::{Backend, BackendError, Fault, KEPT_ASIDE, Location, NewReplica};
use bytes::Bytes;
use std::collections::BTreeMap;
use types::{BlobId, ByteRange};

use super::manifest::Manifest;

const MANIFEST: &str = ".snapshot";
const JOINTS: &str = "joints/";
/// No number of a blob ends so.
const JOINT: &str = ".joint";
const LIST_PAGE: usize = 1000;
/// A hundred thousand files; nobody's manifest is longer, nor what is said of ten thousand parts.
const TEXT_MAX_BYTES: u64 = 16 << 20;

pub fn manifest(node: &str, id: &str) -> Location {
    Location::new(format!("{KEPT_ASIDE}{node}/{id}{MANIFEST}"))
}

pub fn file(node: &str, sum: &str) -> Location {
    Location::new(format!("{}{sum}", files(node)))
}

fn files(node: &str) -> String {
    format!("{KEPT_ASIDE}{node}/files/")
}

pub fn joint(node: &str, blob: BlobId) -> Location {
    Location::new(format!("{KEPT_ASIDE}{node}/{JOINTS}{blob}{JOINT}"))
}

/// What a backend has of snapshots.
#[derive(Debug, Default)]
pub struct Kept {
    /// Node and id, with the manifest's place and size.
    pub manifests: BTreeMap<(String, String), (Location, u64)>,
    /// Node and sum, with the file's size.
    pub files: BTreeMap<(String, String), u64>,
    /// What objects are made of, by their blobs, with the size of the note.
    pub joints: BTreeMap<(String, BlobId), (Location, u64)>,
}

impl Kept {
    /// Of one node, or of all.
    pub async fn list(backend: &dyn Backend, node: Option<&str>) -> Result<Self, BackendError> {
        let prefix = node.map_or_else(|| KEPT_ASIDE.to_owned(), |node| format!("{KEPT_ASIDE}{node}/"));
        let (mut kept, mut after) = (Self::default(), None);
        loop {
            let page = backend.list(&prefix, after.as_ref(), LIST_PAGE).await?;
            for found in page.found {
                let Some(name) = found.location.as_str().strip_prefix(KEPT_ASIDE) else { continue };
                let Some((node, name)) = name.split_once('/') else { continue };
                if let Some(sum) = name.strip_prefix("files/") {
                    kept.files.insert((node.to_owned(), sum.to_owned()), found.size);
                } else if let Some(blob) = name.strip_prefix(JOINTS) {
                    let blob = blob.strip_suffix(JOINT).and_then(BlobId::parse);
                    let at = (found.location.clone(), found.size);
                    kept.joints.extend(blob.map(|blob| ((node.to_owned(), blob), at)));
                } else if let Some(id) = name.strip_suffix(MANIFEST) {
                    let at = (found.location.clone(), found.size);
                    kept.manifests.insert((node.to_owned(), id.to_owned()), at);
                }
            }
            after = page.next;
            if after.is_none() {
                return Ok(kept);
            }
        }
    }

    /// Whether all that a snapshot is made of is there.
    pub fn has_all(&self, manifest: &Manifest) -> bool {
        let there = |sum: &String| self.files.get(&(manifest.node.clone(), sum.clone()));
        manifest.files.iter().all(|file| there(&file.sum) == Some(&file.size))
    }
}

/// A text, by what decodes it. `None`: it is not whole.
pub async fn read<T>(
    backend: &dyn Backend,
    location: &Location,
    size: u64,
    decode: fn(&str) -> Option<T>,
) -> Result<Option<T>, BackendError> {
    if size == 0 || size > TEXT_MAX_BYTES {
        return Ok(None);
    }
    let mut reader = backend.read(location, ByteRange { start: 0, end: size }).await?;
    let mut bytes = Vec::new();
    while let Some(piece) = reader.next().await? {
        bytes.extend_from_slice(&piece);
    }
    Ok(std::str::from_utf8(&bytes).ok().and_then(decode))
}

/// Writes something small in one piece.
pub async fn write(backend: &dyn Backend, location: Location, bytes: Bytes) -> Result<(), BackendError> {
    let new = NewReplica { size: Some(bytes.len() as u64), ..NewReplica::of(BlobId(0)) };
    let mut writer = backend.begin_aside(location, new).await?;
    writer.write(bytes).await?;
    writer.finish(Vec::new()).await.map(drop)
}

/// What is gone already is deleted.
pub async fn remove(backend: &dyn Backend, locations: &[Location]) -> Result<(), BackendError> {
    if locations.is_empty() {
        return Ok(());
    }
    for removed in backend.remove(locations).await? {
        match removed {
            Err(error) if error.fault != Fault::Absent => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
