//! What the face is told when it is made. Nothing here reads a file, a clock or the environment.

use crate::cors::CorsRule;
use crate::proxies::Proxies;
use crate::rates::{Rate, RateLimits};
use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use types::{BucketId, BucketName, Timestamp};
use zeroize::Zeroizing;

/// A secret access key: never printed, wiped when dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    pub read: bool,
    pub write: bool,
    pub delete: bool,
}

impl Rights {
    pub const ALL: Rights = Rights { read: true, write: true, delete: true };

    /// As the configuration writes them.
    pub fn words(self) -> Vec<&'static str> {
        let all = [(self.read, "read"), (self.write, "write"), (self.delete, "delete")];
        all.into_iter().filter(|(has, _)| *has).map(|(_, word)| word).collect()
    }
}

/// What requests without credentials may do with a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Anonymous {
    pub read: bool,
    pub write: bool,
}

#[derive(Debug, Clone)]
pub struct Credential {
    pub access_key_id: String,
    pub secret: Secret,
    pub rights: Rights,
    /// Its own, instead of the one for all credentials.
    pub rate: Option<Rate>,
    pub bucket: Arc<Bucket>,
}

#[derive(Debug, Clone)]
pub struct Bucket {
    pub name: BucketName,
    pub id: BucketId,
    pub created: Timestamp,
    pub anonymous: Anonymous,
    /// Anonymous rights end where keys begin with none of these; empty: they hold for all keys.
    pub anonymous_prefixes: Vec<String>,
    pub cors: Vec<CorsRule>,
}

/// The options in force. Each connection and each request takes them as they are when it begins, and
/// keeps them to its end, so that a change cuts off nobody.
#[derive(Debug, Clone)]
pub struct LiveOptions(Arc<ArcSwap<Options>>);

impl LiveOptions {
    pub fn new(options: Options) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(options)))
    }

    pub fn current(&self) -> Arc<Options> {
        self.0.load_full()
    }

    pub fn replace(&self, options: Options) {
        self.0.store(Arc::new(options));
    }
}

/// Limits have a unit and a reason each.
#[derive(Debug, Clone)]
pub struct Options {
    /// By access key id.
    pub credentials: HashMap<String, Credential>,
    /// By name, for anonymous requests.
    pub buckets: HashMap<String, Arc<Bucket>>,
    /// Virtual-host style: `BUCKET.domain`.
    pub domain: Option<String>,
    /// The host that clients sign when a proxy rewrites it: `https://s3.example.org`.
    pub external_url: Option<String>,
    /// Presigned URLs of version 2: on by default, since AWS CLI 1 and boto3 make them.
    pub sigv2_presigned: bool,
    /// The request head, in bytes: 8 KiB of metadata, signature and session token fit well.
    pub max_head_bytes: usize,
    /// Bodies of XML: a manifest of 10,000 parts with checksums has about 2 MiB.
    pub max_xml_bytes: usize,
    /// From the first byte of a head to its last.
    pub head_timeout: Duration,
    /// A connection without a request.
    pub idle_timeout: Duration,
    /// A body, in or out, must move at least `min_body_bytes_per_second`, measured over this time.
    pub body_timeout: Duration,
    pub min_body_bytes_per_second: u64,
    pub max_connections: usize,
    /// Above it: 503 SlowDown.
    pub max_requests_in_flight: usize,
    pub rates: RateLimits,
    pub proxies: Proxies,
    /// For bodies under way, of all requests together: above it 503 SlowDown, after a moment.
    pub max_buffer_bytes: usize,
    /// How long requests in flight may still run after the order to stop.
    pub shutdown_grace: Duration,
    /// Now, from outside, so that tests own the clock.
    pub clock: fn() -> Timestamp,
}
