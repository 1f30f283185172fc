//! From the configuration to the options of the rooms below.

use crate::config::{Config, Durability, Kind, S3};
use crate::process;
use anyhow::Context as _;
use s3api::{Bucket, Credential, Proxies, RateLimits};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use store::{BackendSource, Opener, Store};
use types::Timestamp;

/// Until a provider's address has answered.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Of one call to a provider, the first included.
const ATTEMPTS: u32 = 3;
/// Open files that are not connections: RocksDB's tables, blobs that are read or written.
const FILES_BESIDE_CONNECTIONS: u64 = 1024;

/// The only clock of the node.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

pub fn of_store(config: &Config) -> store::Options {
    let bucket = |bucket: &crate::config::Bucket| store::BucketOptions {
        name: bucket.name.clone(),
        quota: bucket.quota_bytes,
        policy: bucket.policy,
    };
    store::Options {
        data_dir: config.data_dir.clone(),
        durability: match config.durability {
            Durability::PowerLoss => store::Durability::PowerLoss,
            Durability::ProcessCrash => store::Durability::ProcessCrash,
        },
        buckets: config.buckets.iter().map(bucket).collect(),
        backends: config.backends.iter().map(|backend| of_backend(backend, sync_rule(config))).collect(),
        max_object_size_bytes: config.s3.max_object_size_bytes,
        multipart_expiry: config.s3.multipart_expiry,
        replace_after: store::REPLACE_AFTER,
        clock: now,
        omitted_sync: omitted_sync(),
    }
}

/// The bucket of a mount is a configured one.
pub fn of_mount(mount: &crate::config::Mount, store: &Store) -> anyhow::Result<fuse::Options> {
    let bucket = store.bucket(&mount.bucket).context("the mount's bucket is not configured")?;
    Ok(fuse::Options {
        bucket,
        bucket_name: mount.bucket.clone(),
        path: mount.path.clone(),
        prefix: mount.prefix.clone(),
        read_only: mount.read_only,
        nonempty: mount.nonempty,
        allow_other: mount.allow_other,
        uid: mount.uid.unwrap_or_else(|| rustix::process::getuid().as_raw()),
        gid: mount.gid.unwrap_or_else(|| rustix::process::getgid().as_raw()),
        file_mode: mount.file_mode,
        dir_mode: mount.dir_mode,
        threads: None,
        clock: now,
    })
}

/// For the power-cut tests only: a sync left out on purpose must be noticed by them.
fn omitted_sync() -> Option<store::OmittedSync> {
    match std::env::var("S3O_TEST_OMIT_SYNC").ok()?.as_str() {
        "file" => Some(store::OmittedSync::File),
        "dir" => Some(store::OmittedSync::Directory),
        "wal" => Some(store::OmittedSync::Log),
        _ => None,
    }
}

/// As the embedded backend does it.
fn sync_rule(config: &Config) -> backend::SyncRule {
    let durable = config.durability == Durability::PowerLoss;
    let omitted = omitted_sync();
    backend::SyncRule {
        file: durable && omitted != Some(store::OmittedSync::File),
        directory: durable && omitted != Some(store::OmittedSync::Directory),
    }
}

fn of_backend(configured: &crate::config::Backend, sync: backend::SyncRule) -> store::BackendOptions {
    let source = match &configured.kind {
        Kind::Embedded => BackendSource::Embedded,
        Kind::Disk { path } => {
            let (path, name) = (path.clone(), configured.name.clone());
            BackendSource::Other(Opener(Arc::new(move |before| open_disk(&path, &name, before, sync))))
        }
        Kind::S3(provider) => {
            let provider = provider.clone();
            BackendSource::Other(Opener(Arc::new(move |_| {
                Ok(Arc::new(backend::S3::new(of_provider(&provider))) as Arc<dyn backend::Backend>)
            })))
        }
    };
    let mut options = store::BackendOptions::of(&configured.name, source).with_quota(configured.quota_bytes);
    options.copy_bytes_per_second = configured.copy_bytes_per_second;
    options.copy_calls_per_second = configured.copy_calls_per_second;
    if let Kind::S3(provider) = &configured.kind {
        options.signing = Some(signing(provider));
        options.readable = matches!(provider.layout, backend::Layout::Readable);
        options.monthly = store::MonthlyLimits {
            calls: provider.monthly.calls,
            ingress_bytes: provider.monthly.ingress_bytes,
            egress_bytes: provider.monthly.egress_bytes,
        };
    }
    options
}

/// A disk that was used before may be missing at a start; one that is new must be there.
fn open_disk(
    path: &Path,
    name: &str,
    before: &store::Before,
    sync: backend::SyncRule,
) -> Result<Arc<dyn backend::Backend>, String> {
    let disk = backend::Disk::new(backend::DiskOptions {
        path: path.to_owned(),
        node: before.node.clone(),
        backend: name.to_owned(),
        initialised: before.used,
        sync,
    });
    match disk.attach() {
        Ok(()) => {}
        Err(error) if before.used => {
            tracing::warn!(backend = name, path = %path.display(), %error, "the disk is missing");
        }
        Err(error) => return Err(error.to_string()),
    }
    Ok(Arc::new(disk))
}

pub fn of_provider(provider: &crate::config::Provider) -> backend::S3Options {
    backend::S3Options {
        endpoint: provider.endpoint.clone(),
        bucket: provider.bucket.clone(),
        signing: signing(provider),
        path_style: provider.path_style,
        layout: provider.layout,
        lacks: provider.lacks,
        stall: provider.stall_timeout,
        connect_timeout: CONNECT_TIMEOUT.min(provider.stall_timeout),
        attempts: ATTEMPTS,
        part_bytes: backend::PART_BYTES,
        kept_bytes: backend::KEPT_BYTES,
        random,
    }
}

fn signing(provider: &crate::config::Provider) -> backend::Signing {
    backend::Signing {
        access_key_id: provider.access_key_id.clone(),
        secret_access_key: provider.secret.expose().to_owned(),
        region: provider.region.clone(),
    }
}

/// Chance, for what must not be guessed or must not happen together.
pub fn random() -> u64 {
    let mut bytes = [0; 8];
    // A system without randomness would not have come so far: signatures and ids need it too.
    getrandom::fill(&mut bytes).expect("the system has randomness");
    u64::from_le_bytes(bytes)
}

/// The part of them that can change while the store is open.
pub fn settings_of_store(config: &Config) -> store::Settings {
    let store::Options { buckets, backends, max_object_size_bytes, multipart_expiry, .. } = of_store(config);
    store::Settings { buckets, backends, max_object_size_bytes, multipart_expiry }
}

pub fn of_face(config: &Config, store: &Store) -> s3api::Options {
    let (buckets, credentials) = tenants(config, store);
    let s3 = &config.s3;
    s3api::Options {
        credentials,
        buckets,
        domain: s3.domain.clone(),
        external_url: s3.external_url.clone(),
        sigv2_presigned: s3.sigv2_presigned,
        max_head_bytes: s3.max_head_bytes,
        max_xml_bytes: s3.max_xml_bytes,
        head_timeout: s3.head_timeout,
        idle_timeout: s3.idle_timeout,
        body_timeout: s3.body_timeout,
        min_body_bytes_per_second: s3.min_body_bytes_per_second,
        max_connections: max_connections(s3),
        max_requests_in_flight: s3.max_requests_in_flight,
        rates: s3.rates,
        proxies: s3.proxies.clone(),
        max_buffer_bytes: s3.max_buffer_bytes,
        shutdown_grace: s3.shutdown_grace,
        clock: now,
    }
}

/// The listener for monitoring: few clients, small requests, no credentials.
pub fn of_monitoring() -> s3api::Options {
    s3api::Options {
        credentials: HashMap::new(),
        buckets: HashMap::new(),
        domain: None,
        external_url: None,
        sigv2_presigned: false,
        max_head_bytes: 8 << 10,
        max_xml_bytes: 0,
        head_timeout: Duration::from_secs(5),
        idle_timeout: Duration::from_secs(75),
        body_timeout: Duration::from_secs(30),
        min_body_bytes_per_second: 1 << 10,
        max_connections: 64,
        max_requests_in_flight: 8,
        max_buffer_bytes: 1 << 20,
        rates: RateLimits::default(),
        proxies: Proxies::default(),
        shutdown_grace: Duration::from_secs(1),
        clock: now,
    }
}

/// Never more connections than there are files to open for them.
fn max_connections(s3: &S3) -> usize {
    let Some(files) = process::raise_open_files() else {
        return s3.max_connections;
    };
    let room = files.saturating_sub(FILES_BESIDE_CONNECTIONS).max(files / 2);
    let room = usize::try_from(room).unwrap_or(usize::MAX);
    if room < s3.max_connections {
        tracing::warn!(files, connections = room, "the limit of open files allows fewer connections");
    }
    room.min(s3.max_connections)
}

fn tenants(config: &Config, store: &Store) -> (HashMap<String, Arc<Bucket>>, HashMap<String, Credential>) {
    let mut buckets = HashMap::new();
    let mut credentials = HashMap::new();
    for configured in &config.buckets {
        let name = configured.name.clone();
        let found = store.bucket(&name).zip(store.bucket_created(&name));
        let (id, created) = found.expect("the store was opened with this bucket");
        let bucket = Arc::new(Bucket {
            name,
            id,
            created,
            anonymous: configured.anonymous,
            anonymous_prefixes: configured.anonymous_prefixes.clone(),
            cors: configured.cors.clone(),
        });
        buckets.insert(configured.name.as_str().to_owned(), Arc::clone(&bucket));
        for credential in &configured.credentials {
            let granted = Credential {
                access_key_id: credential.access_key_id.clone(),
                secret: credential.secret.clone(),
                rights: credential.rights,
                rate: credential.rate,
                bucket: Arc::clone(&bucket),
            };
            credentials.insert(credential.access_key_id.clone(), granted);
        }
    }
    (buckets, credentials)
}
