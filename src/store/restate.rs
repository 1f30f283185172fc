//! Changes of what is said of an object, not of its content: version, ETag and Last-Modified stay.

use meta::Order;
use types::{Key, MAX_USER_METADATA_BYTES, ObjectHeaders, Version};

use crate::{Asker, Object, Store, StoreError};

impl Store {
    /// The object as it is then. `None`: the key has another version by now, or none.
    pub async fn restate<F>(
        &self,
        asker: Asker,
        key: Key,
        version: Version,
        edit: F,
    ) -> Result<Option<Object>, StoreError>
    where
        F: FnOnce(&mut ObjectHeaders) + Send + 'static,
    {
        self.commit_alone(Order::Shared, move |txn| {
            txn.caused_by(asker.origin);
            let current = txn.object(asker.bucket, &key)?;
            let Some(mut object) = current.filter(|object| object.version == version) else {
                return Ok(None);
            };
            edit(&mut object.headers);
            let size = object.headers.user_metadata_bytes();
            if size > MAX_USER_METADATA_BYTES {
                return Err(StoreError::TooLarge { size: size as u64, max: MAX_USER_METADATA_BYTES as u64 });
            }
            txn.restate_object(asker.bucket, &key, &object);
            Ok(Some(object))
        })
        .await
    }
}
