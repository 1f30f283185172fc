//! The S3 face as a value: the door to objects, what it was told, and the keys it has derived.

use std::sync::Arc;
use store::Store;

use crate::LiveOptions;
use crate::auth::SigningKeys;
use crate::buffers::Buffers;
use crate::rates::Purses;

/// Give it to [`crate::serve`].
pub struct Face {
    pub store: Store,
    pub options: LiveOptions,
    pub keys: SigningKeys,
    pub(crate) buffers: Buffers,
    /// Of credentials.
    pub(crate) purses: Arc<Purses<String>>,
}

impl Face {
    pub fn new(store: Store, options: LiveOptions) -> Self {
        let buffers = Buffers::new(options.current().max_buffer_bytes);
        Self { store, options, keys: SigningKeys::default(), buffers, purses: Arc::default() }
    }
}
