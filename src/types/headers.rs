//! What a client says about an object, kept as it was said.

use crate::tags::Tags;

/// User metadata: names without `x-amz-meta-` and values, together
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html>).
pub const MAX_USER_METADATA_BYTES: usize = 2048;

/// The headers stored with an object and returned with it. Values are valid UTF-8; how non-ASCII
/// values travel (RFC 2047) is the face's affair.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ObjectHeaders {
    /// `None`: the client gave none (shown as `binary/octet-stream`).
    pub content_type: Option<String>,
    pub cache_control: Option<String>,
    pub content_disposition: Option<String>,
    /// Without `aws-chunked`.
    pub content_encoding: Option<String>,
    pub content_language: Option<String>,
    pub expires: Option<String>,
    pub website_redirect_location: Option<String>,
    /// `None` is STANDARD.
    pub storage_class: Option<String>,
    /// Names in lower case without `x-amz-meta-`, in the order of the request.
    pub user_metadata: Vec<(String, String)>,
    pub tags: Tags,
}

impl ObjectHeaders {
    pub fn user_metadata_bytes(&self) -> usize {
        self.user_metadata.iter().map(|(name, value)| name.len() + value.len()).sum()
    }
}
