//! Holding a backend against the records, and adopting what lies there.

use super::{Fault, report};
use crate::node::Node;
use crate::workers::ordered::{IMPORT, RECONCILE, ReconcileOrder};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use types::BucketName;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub backend: String,
    /// Only names that begin so.
    pub prefix: String,
    /// Foreign bytes become objects of this bucket.
    pub bucket: Option<String>,
    /// Delete bytes of ours that nobody names.
    pub clean: bool,
    pub dry_run: bool,
    /// It is called an import.
    pub import: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ordered {
    /// What `jobs` calls it.
    pub job: String,
}

pub async fn answer(node: Arc<Node>, request: Request) -> Result<Ordered, Fault> {
    let Request { backend, prefix, bucket, clean, dry_run, import } = request;
    report::known_backend(&node, &backend)?;
    if let Some(name) = &bucket {
        let known = BucketName::new(name.clone()).ok().and_then(|name| node.store.bucket(&name));
        known.ok_or_else(|| Fault::not_found(format!("there is no bucket {name}")))?;
    }
    let order = ReconcileOrder { prefix, bucket, clean, dry_run };
    let order = serde_json::to_string(&order).unwrap_or_default();
    let kind = if import { &IMPORT } else { &RECONCILE };
    Ok(Ordered { job: report::begin(&node, kind, &backend, &order).await? })
}
