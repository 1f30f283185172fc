//! Takes up a renewed certificate: whoever renews it need not know this node.

use super::Stop;
use crate::config::tls::Files;
use crate::node::Node;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

const EVERY: Duration = Duration::from_secs(2);

pub async fn run(node: Arc<Node>, mut stop: Stop) {
    let Some(live) = &node.tls else { return };
    let mut seen = node.config().s3.tls.as_ref().map(|tls| Stamp::of(&tls.files));
    while stop.or_sleep(EVERY).await {
        let config = node.config();
        let Some(tls) = &config.s3.tls else { continue };
        let now = Stamp::of(&tls.files);
        if seen.as_ref() == Some(&now) {
            continue;
        }
        // Tools write certificate and key one after the other: until both fit, the old ones stay.
        match tls.files.load() {
            Ok(identity) => {
                live.replace(identity, tls.handshake_timeout);
                tracing::info!(certificate = %tls.files.certificate.display(), "certificate replaced");
            }
            Err(error) => tracing::warn!(%error, "the new certificate is not good; the old one stays"),
        }
        seen = Some(now);
    }
}

/// What changes when a file does, also where a link is turned to another file.
#[derive(PartialEq, Eq)]
struct Stamp(Vec<(PathBuf, Option<(SystemTime, u64, u64)>)>);

impl Stamp {
    fn of(files: &Files) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        let stamp = |file: &Path| {
            let about = std::fs::metadata(file).ok()?;
            Some((about.modified().ok()?, about.ino(), about.len()))
        };
        let all = [Some(&files.certificate), Some(&files.key), files.client_ca.as_ref()];
        Self(all.into_iter().flatten().map(|file| (file.clone(), stamp(file))).collect())
    }
}
