//! `[[backends]]` as a configuration has them; further keys of one follow on lines of their own.

use crate::Credential;
use crate::servers::{self, Server};
use std::path::Path;

pub fn disk(name: &str, path: &Path) -> String {
    format!("[[backends]]\nname = \"{name}\"\nkind = \"disk\"\npath = \"{}\"", path.display())
}

/// A bucket at an S3 endpoint.
pub fn provider(name: &str, url: &str, bucket: &str, credential: &Credential) -> String {
    let Credential { access_key, secret, .. } = credential;
    format!(
        "[[backends]]\nname = \"{name}\"\nkind = \"s3\"\nendpoint = \"{url}\"\nbucket = \"{bucket}\"\n\
         path_style = true\naccess_key_id = \"{access_key}\"\nsecret_access_key = \"{secret}\""
    )
}

/// The bucket of one of other people's servers.
pub fn foreign(name: &str, server: &Server) -> String {
    provider(name, &server.endpoint(), servers::BUCKET, &servers::credential())
}
