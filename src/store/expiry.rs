//! The end of multipart uploads that nobody finished; when it runs is the node's affair.

use meta::Order;

use crate::{Store, StoreError, UploadRef};

/// What one pass ends at most: clients wait beside it.
const PASS_UPLOADS: usize = 512;

impl Store {
    /// Ends uploads without activity for the configured time, and forgets finished ones.
    pub async fn expire_uploads(&self) -> Result<u64, StoreError> {
        let until = self.now().saturating_sub_ms(self.0.settings.multipart_expiry_ms());
        let due = self.blocking(move |inner| Ok(inner.meta.expiring(until, PASS_UPLOADS)?)).await?;
        let mut expired = 0;
        for (since, bucket, key, id) in due {
            let upload = UploadRef { bucket, key, id };
            let ended = self
                .commit(Order::Alone, move |txn| {
                    txn.end_expiry(since, id);
                    // A task from before the upload was finished must not end the note early.
                    if txn.finished(id)?.is_some_and(|note| note.modified <= until) {
                        txn.forget_finished(id);
                    }
                    let UploadRef { bucket, key, id } = upload;
                    let Some(_) = txn.upload(bucket, &key, id)? else { return Ok(0) };
                    let parts = txn.parts(id)?;
                    match parts.iter().map(|(_, part)| part.modified).max() {
                        Some(active) if active > until => {
                            txn.queue_expiry(bucket, &key, id, active);
                            Ok(0)
                        }
                        _ => txn
                            .end_upload(bucket, &key, id, &parts, |_| false)
                            .map(|()| 1)
                            .map_err(Into::into),
                    }
                })
                .await?;
            expired += ended;
        }
        Ok(expired)
    }
}
