//! A store in a directory of its own, a clock that the test owns, bodies in pieces.

use bytes::Bytes;
use std::cell::Cell;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use store::{
    BucketOptions, Difference, Durability, FsckOptions, FsckSummary, Options, Source, SourceError, Store,
    StoreError,
};
use tempfile::TempDir;
use testkit::Rng;
use types::{BucketId, BucketName, Checksum, Key, Timestamp};

/// How long an upload lives without activity.
pub const EXPIRY: Duration = Duration::from_secs(3600);
/// One PUT or part; above the smallest part that need not be the last.
pub const MAX_OBJECT_BYTES: u64 = 6 << 20;

thread_local! {
    static NOW_MS: Cell<u64> = const { Cell::new(1_000_000_000_000) };
}

/// The store asks on the thread that polls it, which is the test's: each test has a time of its own.
pub fn now() -> Timestamp {
    Timestamp(NOW_MS.get())
}

pub fn advance(by: Duration) {
    NOW_MS.set(NOW_MS.get() + u64::try_from(by.as_millis()).expect("no test waits that long"));
}

pub fn key(text: &str) -> Key {
    Key::new(text).expect("a key")
}

/// Where a store lives; it may be opened again and again.
pub struct Rig {
    home: TempDir,
    images: u32,
    pub options: Options,
}

impl Rig {
    pub fn new(durability: Durability) -> Self {
        let home = match durability {
            Durability::ProcessCrash if Path::new("/dev/shm").is_dir() => tempfile::tempdir_in("/dev/shm"),
            _ => tempfile::tempdir(),
        };
        let home = home.expect("a temporary directory");
        let name = BucketName::new("bucket").expect("a name");
        let mut options = Options::new(home.path().join("data-0"), vec![BucketOptions::new(name)], now);
        options.durability = durability;
        options.max_object_size_bytes = MAX_OBJECT_BYTES;
        options.multipart_expiry = EXPIRY;
        without_reserves(&options.data_dir);
        Self { home, images: 0, options }
    }

    pub fn with_quota(mut self, quota: Option<u64>) -> Self {
        self.options.buckets.iter_mut().for_each(|bucket| bucket.quota = quota);
        self
    }

    /// Waits for the last work of a store that was dropped: only then is the directory free.
    pub fn open(&self) -> (Store, BucketId) {
        let store = retry(|| Store::open_dir(self.options.clone()));
        let bucket = store.bucket(&BucketName::new("bucket").expect("a name")).expect("the bucket");
        (store, bucket)
    }

    pub fn fsck(&self) -> (FsckSummary, Vec<Difference>) {
        self.fsck_and(FsckOptions { verify: true, repair: false })
    }

    pub fn fsck_and(&self, what: FsckOptions) -> (FsckSummary, Vec<Difference>) {
        let mut found = Vec::new();
        let summary = retry(|| {
            found.clear();
            store::fsck(self.options.clone(), what, &mut |difference| found.push(difference))
        });
        (summary, found)
    }

    /// The metadata of a store that is not open.
    pub fn meta(&self) -> meta::Meta {
        let options = meta::Options {
            path: self.options.data_dir.join("meta"),
            sync: false,
            block_cache_bytes: 1 << 20,
        };
        retry(|| meta::Meta::open(&options).map_err(StoreError::from))
    }

    /// Goes on with a copy of what is on the disk now, as it would be if the process died. Nothing may be
    /// under way.
    pub fn move_to_image(&mut self) -> PathBuf {
        self.images += 1;
        let image = self.home.path().join(format!("data-{}", self.images));
        let old = std::mem::replace(&mut self.options.data_dir, image.clone());
        copy_when_still(&old, &image);
        old
    }

    /// A copy of what is on the disk now, beside the store that goes on. Nothing may be under way.
    pub fn image(&self) -> Self {
        let home = tempfile::tempdir_in(self.home.path()).expect("a temporary directory");
        let mut options = self.options.clone();
        options.data_dir = home.path().join("data-0");
        copy_when_still(&self.options.data_dir, &options.data_dir);
        Self { home, images: 0, options }
    }

    pub fn blob_files(&self) -> Vec<PathBuf> {
        let files = files_under(&self.options.data_dir.join("blobs"));
        files.into_iter().map(|file| self.options.data_dir.join("blobs").join(file)).collect()
    }
}

/// An empty file in the place of each reserve: laying 80 MiB for each store would be most of the work.
fn without_reserves(dir: &Path) {
    std::fs::create_dir_all(dir).expect("a data directory");
    for name in ["ballast", "start-reserve"] {
        std::fs::write(dir.join(name), b"").expect("a reserve");
    }
}

fn retry<T>(mut open: impl FnMut() -> Result<T, StoreError>) -> T {
    let begun = Instant::now();
    loop {
        match open() {
            Ok(opened) => return opened,
            Err(StoreError::Storage(why)) if begun.elapsed() < Duration::from_secs(20) => {
                assert!(why.contains("another s3-orchestrator") || why.contains("lock"), "{why}");
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(error) => panic!("opening: {error}"),
        }
    }
}

/// Relative paths of regular files.
pub fn files_under(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                dirs.push(path);
            } else if let Ok(relative) = path.strip_prefix(root) {
                found.push(relative.to_owned());
            }
        }
    }
    found.sort_unstable();
    found
}

/// RocksDB moves files in the background: a copy counts when the names were the same before and after.
fn copy_when_still(from: &Path, to: &Path) {
    for _ in 0..100 {
        let files = files_under(from);
        let copied = files.iter().all(|file| {
            let target = to.join(file);
            std::fs::create_dir_all(target.parent().unwrap_or(to)).is_ok()
                && std::fs::copy(from.join(file), target).is_ok()
        });
        if copied && files == files_under(from) {
            return;
        }
        std::fs::remove_dir_all(to).expect("removing a torn image");
    }
    panic!("the data directory does not come to rest");
}

/// A body in pieces of any length, which may break off.
pub struct Body {
    pieces: VecDeque<Bytes>,
    trailer: Option<Checksum>,
    broken: bool,
    lazy: bool,
}

impl Body {
    pub fn whole(bytes: Bytes) -> Self {
        Self { pieces: VecDeque::from([bytes]), trailer: None, broken: false, lazy: false }
    }

    pub fn of(pieces: Vec<Bytes>) -> Self {
        Self { pieces: VecDeque::from(pieces), trailer: None, broken: false, lazy: false }
    }

    pub fn in_pieces(mut bytes: Bytes, rng: &mut Rng) -> Self {
        let mut pieces = VecDeque::new();
        let largest = *rng.pick(&[1 << 10, 16 << 10, 100_000, 1 << 20]);
        while !bytes.is_empty() {
            let len = (1 + rng.below(largest)).min(bytes.len() as u64) as usize;
            pieces.push_back(bytes.split_to(len));
        }
        Self { pieces, trailer: None, broken: false, lazy: false }
    }

    pub fn with_trailer(mut self, trailer: Option<Checksum>) -> Self {
        self.trailer = trailer;
        self
    }

    /// Fails half-way.
    pub fn broken(mut self) -> Self {
        self.pieces.truncate(self.pieces.len() / 2);
        self.broken = true;
        self
    }

    /// Waits before every piece, so that a future can be dropped there.
    pub fn lazy(mut self) -> Self {
        self.lazy = true;
        self
    }
}

impl Source for Body {
    async fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        if self.lazy {
            tokio::task::yield_now().await;
        }
        match self.pieces.pop_front() {
            None if self.broken => Err("the client hung up".into()),
            piece => Ok(piece),
        }
    }

    fn trailer(&self) -> Option<Checksum> {
        self.trailer
    }
}

/// The same bytes for the same seed.
pub fn content(seed: u64, len: u64) -> Bytes {
    let mut rng = Rng::new(seed);
    let mut bytes = Vec::with_capacity(len as usize + 8);
    while (bytes.len() as u64) < len {
        bytes.extend_from_slice(&rng.next().to_le_bytes());
    }
    bytes.truncate(len as usize);
    Bytes::from(bytes)
}

pub fn md5_of(bytes: &[u8]) -> [u8; 16] {
    use md5::Digest as _;
    md5::Md5::digest(bytes).into()
}

pub async fn read_all(open: &store::OpenObject, range: types::ByteRange) -> Result<Vec<u8>, StoreError> {
    let mut reader = open.read(range);
    let mut bytes = Vec::new();
    while let Some(piece) = reader.next().await {
        bytes.extend_from_slice(&piece?);
    }
    Ok(bytes)
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}
