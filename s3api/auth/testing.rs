//! What the tests of signatures need: one known credential, a clock, a signer.

#![allow(clippy::unwrap_used)]

use super::chunked::ChunkSigning;
use super::keys::SigningKeys;
use super::scope::Scope;
use crate::options::{Anonymous, Bucket, Credential, Options, Rights, Secret};
use crate::{Proxies, RateLimits};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use types::{BucketId, BucketName, Timestamp};

pub const ACCESS_KEY: &str = "AKID_APP1_WRITER";
pub const SECRET: &str = "a secret for tests only";
/// 2026-11-24T01:50:00Z.
pub const NOW: Timestamp = Timestamp(1_795_485_000_000);

pub fn credential() -> Credential {
    let bucket = Bucket {
        name: BucketName::new("app1-files").unwrap(),
        id: BucketId(1),
        created: Timestamp(0),
        anonymous: Anonymous::default(),
        anonymous_prefixes: Vec::new(),
        cors: Vec::new(),
    };
    Credential {
        access_key_id: ACCESS_KEY.into(),
        secret: Secret::new(SECRET.into()),
        rights: Rights::ALL,
        rate: None,
        bucket: Arc::new(bucket),
    }
}

pub fn options() -> Options {
    Options {
        credentials: HashMap::from([(ACCESS_KEY.to_owned(), credential())]),
        buckets: HashMap::new(),
        domain: None,
        external_url: None,
        sigv2_presigned: true,
        max_head_bytes: 1 << 16,
        max_xml_bytes: 1 << 20,
        head_timeout: Duration::from_secs(1),
        idle_timeout: Duration::from_secs(1),
        body_timeout: Duration::from_secs(1),
        min_body_bytes_per_second: 1,
        max_connections: 1,
        max_requests_in_flight: 1,
        rates: RateLimits::default(),
        proxies: Proxies::default(),
        max_buffer_bytes: 64 << 20,
        shutdown_grace: Duration::from_secs(1),
        clock: || NOW,
    }
}

pub fn chunk_signing() -> ChunkSigning {
    let text = format!("{ACCESS_KEY}/20261124/eu/s3/aws4_request");
    let scope = Scope::parse(&text).unwrap();
    let key = SigningKeys::new().get(Some(&credential()), &scope);
    ChunkSigning::new(key, "20261124T015000Z", scope.scope, &"0".repeat(64))
}
