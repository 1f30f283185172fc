//! ListBuckets: the credential's own bucket is all there is for it.

use super::{Call, Reply, answer};
use crate::xml::Writer;

const ROOT: &str = "ListAllMyBucketsResult";

pub fn list_buckets(call: &Call<'_>) -> Reply {
    let name = call.bucket.name.as_str();
    let mut xml = Writer::new(ROOT, 512);
    xml.person("Owner", name);
    xml.open("Buckets");
    // Paged like AWS: one bucket is one page, and a prefix may leave it out.
    if name.starts_with(call.query.get("prefix").unwrap_or_default()) {
        xml.open("Bucket");
        xml.text("Name", name);
        xml.time("CreationDate", call.bucket.created);
        xml.close("Bucket");
    }
    xml.close("Buckets");
    xml.optional("Prefix", call.query.get("prefix"));
    Ok(answer::document(xml.finish(ROOT).into_bytes()))
}
