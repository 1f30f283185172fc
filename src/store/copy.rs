//! CopyObject: a reference more on the blob. No byte moves.

use meta::{Account, Draft, Order};
use types::ByteRange;
use types::checksum::Hasher;

use crate::ingest::out_of_room;
use crate::{CopyRequest, OpenObject, Store, StoreError, Written};

impl Store {
    pub async fn copy(&self, source: &OpenObject, request: CopyRequest) -> Result<Written, StoreError> {
        let CopyRequest { bucket, destination, headers, tags, conditions, algorithm } = request;
        let object = source.object().clone();
        let mut checksum = object.checksum;
        if let Some(algorithm) = algorithm.filter(|wanted| Some(*wanted) != checksum.map(|c| c.algorithm())) {
            let mut hasher = Hasher::new(algorithm);
            let mut reader = source.read(ByteRange::whole(object.size));
            while let Some(piece) = reader.next().await {
                hasher.update(&piece?);
            }
            checksum = Some(hasher.finish());
        }
        let mut headers = headers.unwrap_or_else(|| object.headers.clone());
        if let Some(tags) = tags {
            headers.tags = tags;
        }
        let current = self.find(bucket, &destination).await?;
        let net = object.size.saturating_sub(current.map_or(0, |c| c.size));
        let room = self.0.meta.ledger().reserve(&[(Account::Bucket(bucket), net)]).map_err(out_of_room)?;
        let draft = Draft {
            blob: object.blob,
            inline: object.inline,
            size: object.size,
            etag: object.etag,
            modified: self.now(),
            checksum,
            headers,
        };
        // The pin goes along: until the commit, nothing else may hold the blob.
        let pin = source.pin();
        self.commit(Order::Shared, move |txn| {
            txn.reference_blob(draft.blob)?;
            let record = txn.write_object(bucket, &destination, draft, &conditions)?;
            txn.check_quota(Account::Bucket(bucket), &room)?;
            drop(pin);
            Ok(Written::of(&record))
        })
        .await
    }
}
