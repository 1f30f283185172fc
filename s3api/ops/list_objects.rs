//! ListObjects, version 1
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjects.html>).

use super::listing::{self, Names};
use super::{Call, Reply, answer};
use crate::xml::Writer;
use store::{ListEntry, ListRequest, ListStart};

const ROOT: &str = "ListBucketResult";

pub async fn list_objects(call: &Call<'_>) -> Reply {
    let names = Names::of(call)?;
    listing::check_optional_attributes(call)?;
    let max = call.query.page_size("max-keys")?;
    let prefix = call.query.get("prefix").unwrap_or_default();
    let delimiter = call.query.text("delimiter");
    let marker = call.query.get("marker").unwrap_or_default();
    let request = ListRequest {
        prefix: prefix.to_owned(),
        delimiter: delimiter.map(str::to_owned),
        start: start(marker, prefix, delimiter),
        max,
    };
    let page = call.store.list(call.bucket.id, request).await?;
    let truncated = page.next.is_some() && max > 0;

    let mut xml = Writer::new(ROOT, listing::capacity(&page.entries));
    xml.text("Name", call.bucket.name.as_str());
    names.write(&mut xml, "Prefix", prefix);
    names.write(&mut xml, "Marker", marker);
    // With a delimiter only: otherwise the last key is the next marker.
    if let Some(last) = page.entries.last().filter(|_| truncated && delimiter.is_some()) {
        names.write(&mut xml, "NextMarker", name(last));
    }
    xml.raw("MaxKeys", max);
    names.write_optional(&mut xml, "Delimiter", delimiter);
    names.write_type(&mut xml);
    xml.raw("IsTruncated", truncated);
    listing::write_entries(&mut xml, &page.entries, names, Some(call.bucket.name.as_str()));
    Ok(answer::document(xml.finish(ROOT).into_bytes()))
}

fn name(entry: &ListEntry) -> &str {
    match entry {
        ListEntry::Object(key, _) => key.as_str(),
        ListEntry::CommonPrefix(prefix) => prefix,
    }
}

fn start(marker: &str, prefix: &str, delimiter: Option<&str>) -> ListStart {
    match listing::as_group(marker, prefix, delimiter) {
        _ if marker.is_empty() => ListStart::Beginning,
        Some(group) => ListStart::AfterGroup(group.to_owned()),
        None => ListStart::After(marker.to_owned()),
    }
}
