//! Every key that a configuration may have, by table. The manual page is held to these lists.

pub const TOP: &[&str] = &[
    "data_dir",
    "durability",
    "stuck_after",
    "placement",
    "s3",
    "buckets",
    "backends",
    "mounts",
    "admin",
    "log",
    "telemetry",
    "webhooks",
    "scrub",
    "snapshots",
];

pub const S3: &[&str] = &[
    "listen",
    "domain",
    "external_url",
    "max_object_size",
    "multipart_expiry",
    "sigv2_presigned",
    "max_connections",
    "max_requests_in_flight",
    "max_buffer_memory",
    "max_head_size",
    "max_xml_size",
    "head_timeout",
    "idle_timeout",
    "body_timeout",
    "min_body_rate",
    "shutdown_grace",
    "trusted_proxies",
    "forwarded_header",
    "tls",
    "per_address",
    "per_credential",
];

pub const PER_ADDRESS: &[&str] = &["requests_per_second", "burst", "bytes_per_second", "connections"];

pub const PER_CREDENTIAL: &[&str] = &["requests_per_second", "burst", "bytes_per_second"];

pub const CORS: &[&str] = &["origins", "methods", "headers", "expose_headers", "max_age"];

pub const TLS: &[&str] = &["certificate", "key", "client_ca", "handshake_timeout"];

pub const BUCKETS: &[&str] = &[
    "name",
    "quota",
    "copies",
    "acknowledge",
    "placement",
    "anonymous",
    "anonymous_prefixes",
    "credentials",
    "cors",
    "lifecycle",
];

pub const LIFECYCLE: &[&str] = &["prefix", "tags", "expire_after"];

pub const CREDENTIALS: &[&str] = &[
    "access_key_id",
    "secret_access_key",
    "secret_access_key_file",
    "rights",
    "requests_per_second",
    "burst",
    "bytes_per_second",
];

/// What `[[backends]]` has whatever its kind, and what each kind has beside it.
pub const OF_ALL: &[&str] = &["name", "kind", "quota", "max_copy_bandwidth", "max_copy_calls"];
pub const OF_DISK: &[&str] = &["path"];
pub const OF_S3: &[&str] = &[
    "endpoint",
    "region",
    "bucket",
    "access_key_id",
    "secret_access_key",
    "secret_access_key_file",
    "path_style",
    "layout",
    "lacks",
    "stall_timeout",
    "monthly_calls",
    "monthly_egress",
    "monthly_ingress",
];
pub const BACKENDS: &[&str] =
    &joined::<{ OF_ALL.len() + OF_DISK.len() + OF_S3.len() }>(&[OF_ALL, OF_DISK, OF_S3]);

pub const MOUNTS: &[&str] = &[
    "bucket",
    "path",
    "prefix",
    "read_only",
    "nonempty",
    "allow_other",
    "uid",
    "gid",
    "file_mode",
    "dir_mode",
];

pub const ADMIN: &[&str] = &["listen"];

pub const LOG: &[&str] = &["format", "level", "audit_file"];

pub const TELEMETRY: &[&str] = &["otlp_endpoint", "sample_ratio"];

pub const SCRUB: &[&str] = &["period", "rate", "providers"];

pub const SNAPSHOTS: &[&str] = &["backends", "every", "keep"];

pub const WEBHOOKS: &[&str] =
    &["name", "url", "events", "bucket", "prefix", "secret", "secret_file", "timeout", "ca"];

/// Of `credentials.toml` in the data directory, which the node writes itself.
pub const CHANGES_TOP: &[&str] = &["credentials"];
pub const CHANGES: &[&str] = &["access_key_id", "bucket", "secret_access_key", "rights", "removed"];

/// What a reload cannot change, as dotted names in the file; what lies below them cannot either.
/// `*` stands for the name of a bucket or backend.
pub const FIXED: &[&str] = &[
    "data_dir",
    "durability",
    "s3.listen",
    "s3.max_buffer_memory",
    "backends",
    "admin",
    "log.format",
    "log.audit_file",
    "telemetry",
];
/// The exceptions.
pub const FLEXIBLE: &[&str] = &[
    "backends.*.quota",
    "backends.*.max_copy_bandwidth",
    "backends.*.max_copy_calls",
    "backends.*.monthly_calls",
    "backends.*.monthly_egress",
    "backends.*.monthly_ingress",
    "backends.*.access_key_id",
    "backends.*.secret_access_key",
    "backends.*.secret_access_key_file",
    "backends.*.region",
];
/// What a provider knows the node by: it changes while the node runs, unless the place changes with it.
pub const SIGNING: &[&str] = &["access_key_id", "secret_access_key", "secret_access_key_file", "region"];

/// Each table as it is written in the file, with its keys.
pub const TABLES: &[(&str, &[&str])] = &[
    ("the top level", TOP),
    ("[s3]", S3),
    ("[s3.tls]", TLS),
    ("[s3.per_address]", PER_ADDRESS),
    ("[s3.per_credential]", PER_CREDENTIAL),
    ("[[buckets]]", BUCKETS),
    ("[[buckets.credentials]]", CREDENTIALS),
    ("[[buckets.cors]]", CORS),
    ("[[buckets.lifecycle]]", LIFECYCLE),
    ("[[backends]]", BACKENDS),
    ("[[mounts]]", MOUNTS),
    ("[admin]", ADMIN),
    ("[log]", LOG),
    ("[telemetry]", TELEMETRY),
    ("[[webhooks]]", WEBHOOKS),
    ("[scrub]", SCRUB),
    ("[snapshots]", SNAPSHOTS),
];

const fn joined<const N: usize>(lists: &[&[&'static str]]) -> [&'static str; N] {
    let mut all = [""; N];
    let (mut at, mut list) = (0, 0);
    while list < lists.len() {
        let mut key = 0;
        while key < lists[list].len() {
            all[at] = lists[list][key];
            (at, key) = (at + 1, key + 1);
        }
        list += 1;
    }
    all
}

/// What to say of a key that `valid` does not have.
pub fn unknown(key: &str, table: &str, valid: &[&str]) -> String {
    let slip = nearest(key, valid).filter(|near| strsim::damerau_levenshtein(key, near) == 1);
    let hint = slip
        .map(|near| format!("did you mean `{near}`?"))
        .or_else(|| misplaced(key, table))
        .or_else(|| nearest(key, valid).map(|near| format!("did you mean `{near}`?")))
        .unwrap_or_else(|| format!("valid keys here: {}", valid.join(", ")));
    format!("unknown key `{key}` in {table}; {hint}")
}

/// The word of `valid` that `word` was probably meant to be.
pub fn nearest<'a>(word: &str, valid: &[&'a str]) -> Option<&'a str> {
    let distance = |candidate: &&str| strsim::damerau_levenshtein(word, candidate);
    let near = *valid.iter().min_by_key(|candidate| distance(candidate))?;
    // Half of the word may be wrong: further away a list of the valid keys helps more.
    (distance(&near) <= (near.len() / 2).max(1)).then_some(near)
}

/// A right key in the wrong place is the commonest slip of TOML: a key below another table's header.
fn misplaced(key: &str, table: &str) -> Option<String> {
    let home = TABLES.iter().find(|(title, keys)| *title != table && keys.contains(&key))?;
    Some(format!("it belongs in {}", home.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised() {
        assert_eq!(nearest("lisen", S3), Some("listen"));
        assert_eq!(nearest("data-dir", TOP), Some("data_dir"));
        assert_eq!(nearest("max_conections", S3), Some("max_connections"));
        assert_eq!(nearest("xyzzy", ADMIN), None);
        assert!(unknown("xyzzy", "[admin]", ADMIN).ends_with("valid keys here: listen"));
        assert!(unknown("domain", "[admin]", ADMIN).ends_with("it belongs in [s3]"));
    }

    #[test]
    fn the_manual_page_names_every_key() {
        let page = include_str!("../../../man/s3-orchestrator.toml.5").replace("\\-", "-");
        for (table, keys) in TABLES {
            for key in *keys {
                assert!(page.contains(key), "{key} of {table} is not in the manual");
            }
        }
    }
}
