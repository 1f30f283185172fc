//! ListObjects and ListMultipartUploads.

use meta::Item;
use types::BucketId;

use crate::{
    ListEntry, ListRequest, ListStart, ListUploadsRequest, Listing, Store, StoreError, Upload, UploadEntry,
    UploadListing,
};

impl Store {
    pub async fn list(&self, bucket: BucketId, request: ListRequest) -> Result<Listing, StoreError> {
        self.collect().await;
        self.blocking(move |inner| {
            let start = request.start.into();
            let delimiter = request.delimiter.as_deref();
            let page = inner.meta.list(bucket, &request.prefix, delimiter, &start, request.max)?;
            let entries: Vec<ListEntry> = page
                .items
                .into_iter()
                .map(|item| match item {
                    Item::Entry(key, object) => ListEntry::Object(key, object),
                    Item::Group(text) => ListEntry::CommonPrefix(text),
                })
                .collect();
            let next = entries.last().filter(|_| page.more).map(|last| match last {
                ListEntry::Object(key, _) => ListStart::After(key.as_str().to_owned()),
                ListEntry::CommonPrefix(text) => ListStart::AfterGroup(text.clone()),
            });
            Ok(Listing { entries, next })
        })
        .await
    }

    pub async fn list_uploads(
        &self,
        bucket: BucketId,
        request: ListUploadsRequest,
    ) -> Result<UploadListing, StoreError> {
        self.blocking(move |inner| {
            let query = meta::UploadsQuery {
                prefix: &request.prefix,
                delimiter: request.delimiter.as_deref(),
                key_marker: request.key_marker.as_deref(),
                id_marker: request.id_marker,
                skip_group: request.skip_group.as_deref(),
                max: request.max,
            };
            let page = inner.meta.uploads(bucket, &query)?;
            let entry = |item| match item {
                Item::Entry(key, (id, record)) => UploadEntry::Upload(Upload::of(key, id, record)),
                Item::Group(text) => UploadEntry::CommonPrefix(text),
            };
            Ok(UploadListing { entries: page.items.into_iter().map(entry).collect(), truncated: page.more })
        })
        .await
    }
}
