//! ListObjectsV2 (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html>).

use super::listing::{self, Names};
use super::{Call, Reply, answer};
use crate::error::{Code, Result, S3Error};
use crate::token;
use crate::xml::Writer;
use store::{ListRequest, ListStart};

const ROOT: &str = "ListBucketResult";

pub async fn list_objects_v2(call: &Call<'_>) -> Reply {
    let names = Names::of(call)?;
    listing::check_optional_attributes(call)?;
    let bucket = call.bucket.name.as_str();
    let max = call.query.page_size("max-keys")?;
    let prefix = call.query.get("prefix").unwrap_or_default();
    let delimiter = call.query.text("delimiter");
    let request = ListRequest {
        prefix: prefix.to_owned(),
        delimiter: delimiter.map(str::to_owned),
        start: start(call)?,
        max,
    };
    let page = call.store.list(call.bucket.id, request).await?;
    let next = page.next.as_ref().filter(|_| max > 0).and_then(|next| token::encode(bucket, next));

    let mut xml = Writer::new(ROOT, listing::capacity(&page.entries));
    xml.text("Name", bucket);
    names.write(&mut xml, "Prefix", prefix);
    names.write_optional(&mut xml, "StartAfter", call.query.text("start-after"));
    xml.optional("ContinuationToken", call.query.text("continuation-token"));
    // URL-safe as it is: clients do not decode it even where they decode names.
    xml.optional("NextContinuationToken", next.as_deref());
    xml.raw("KeyCount", page.entries.len());
    xml.raw("MaxKeys", max);
    names.write_optional(&mut xml, "Delimiter", delimiter);
    names.write_type(&mut xml);
    xml.raw("IsTruncated", next.is_some());
    let owner = (call.query.get("fetch-owner") == Some("true")).then_some(bucket);
    listing::write_entries(&mut xml, &page.entries, names, owner);
    Ok(answer::document(xml.finish(ROOT).into_bytes()))
}

/// The token wins over `start-after`; an empty one counts as absent.
fn start(call: &Call<'_>) -> Result<ListStart> {
    if let Some(text) = call.query.text("continuation-token") {
        return token::decode(call.bucket.name.as_str(), text).ok_or_else(|| {
            S3Error::new(Code::InvalidArgument, "The continuation token provided is incorrect")
                .with("ArgumentName", "continuation-token")
        });
    }
    Ok(match call.query.text("start-after") {
        Some(text) => ListStart::After(text.to_owned()),
        None => ListStart::Beginning,
    })
}
