//! ListMultipartUploads
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListMultipartUploads.html>).

use super::listing::{self, Names};
use super::{Call, Reply, answer};
use crate::error::Result;
use crate::xml::Writer;
use crate::{Bucket, upload_id};
use store::{ListUploadsRequest, Upload, UploadEntry};
use types::BucketId;

const ROOT: &str = "ListMultipartUploadsResult";

pub async fn list_multipart_uploads(call: &Call<'_>) -> Reply {
    let names = Names::of(call)?;
    let max = call.query.page_size("max-uploads")?;
    let request = request(call, max)?;
    let (prefix, delimiter) = (request.prefix.clone(), request.delimiter.clone());
    let page = call.store.list_uploads(call.bucket.id, request).await?;
    let truncated = page.truncated && max > 0;

    let mut xml = Writer::new(ROOT, 1024 + page.entries.len() * 512);
    xml.text("Bucket", call.bucket.name.as_str());
    names.write(&mut xml, "KeyMarker", call.query.get("key-marker").unwrap_or_default());
    xml.text("UploadIdMarker", call.query.get("upload-id-marker").unwrap_or_default());
    if let Some(last) = page.entries.last().filter(|_| truncated) {
        write_next(&mut xml, last, names, call.bucket.id);
    }
    names.write(&mut xml, "Prefix", &prefix);
    names.write_optional(&mut xml, "Delimiter", delimiter.as_deref());
    names.write_type(&mut xml);
    xml.raw("MaxUploads", max);
    xml.raw("IsTruncated", truncated);
    for entry in &page.entries {
        match entry {
            UploadEntry::Upload(upload) => write_upload(&mut xml, upload, names, call.bucket),
            UploadEntry::CommonPrefix(prefix) => listing::write_prefix(&mut xml, prefix, names),
        }
    }
    Ok(answer::document(xml.finish(ROOT).into_bytes()))
}

fn request(call: &Call<'_>, max: usize) -> Result<ListUploadsRequest> {
    let prefix = call.query.get("prefix").unwrap_or_default();
    let delimiter = call.query.text("delimiter");
    let key_marker = call.query.text("key-marker");
    // Without a key marker it is ignored.
    let id_text = call.query.text("upload-id-marker").filter(|_| key_marker.is_some());
    let id_marker = id_text.map(|text| upload_id::marker(text, call.bucket.id)).transpose()?;
    // With an id the marker names an upload, not a group.
    let skip_group = match id_marker {
        None => key_marker.and_then(|marker| listing::as_group(marker, prefix, delimiter)),
        Some(_) => None,
    };
    Ok(ListUploadsRequest {
        prefix: prefix.to_owned(),
        delimiter: delimiter.map(str::to_owned),
        key_marker: key_marker.map(str::to_owned),
        id_marker,
        skip_group: skip_group.map(str::to_owned),
        max,
    })
}

fn write_next(xml: &mut Writer, last: &UploadEntry, names: Names, bucket: BucketId) {
    match last {
        UploadEntry::Upload(upload) => {
            names.write(xml, "NextKeyMarker", upload.key.as_str());
            xml.raw("NextUploadIdMarker", upload_id::show(bucket, upload.id));
        }
        UploadEntry::CommonPrefix(prefix) => {
            names.write(xml, "NextKeyMarker", prefix);
            xml.raw("NextUploadIdMarker", "");
        }
    }
}

fn write_upload(xml: &mut Writer, upload: &Upload, names: Names, bucket: &Bucket) {
    xml.open("Upload");
    names.write(xml, "Key", upload.key.as_str());
    xml.raw("UploadId", upload_id::show(bucket.id, upload.id));
    xml.person("Initiator", bucket.name.as_str());
    xml.person("Owner", bucket.name.as_str());
    xml.text("StorageClass", upload.headers.storage_class.as_deref().unwrap_or("STANDARD"));
    xml.time("Initiated", upload.initiated);
    if let Some((algorithm, kind)) = upload.checksum {
        xml.raw("ChecksumAlgorithm", algorithm.name());
        xml.raw("ChecksumType", kind.name());
    }
    xml.close("Upload");
}
