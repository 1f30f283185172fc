//! The operations, one verb per file under AWS's name.
//!
//! Each turns a request whose caller is known and allowed into calls of the store, and what comes
//! back into an answer. What can be refused without the body is refused before it is first polled:
//! only then does a client that waits for `100 Continue` send it.

mod answer;
mod call;

pub mod abort_multipart_upload;
pub mod complete_multipart_upload;
pub mod copy_object;
pub mod create_bucket;
pub mod create_multipart_upload;
pub mod delete_object;
pub mod delete_objects;
pub mod get_bucket_location;
pub mod get_bucket_versioning;
pub mod get_object;
pub mod get_object_attributes;
pub mod head_bucket;
pub mod head_object;
pub mod list_buckets;
pub mod list_multipart_uploads;
pub mod list_objects;
pub mod list_objects_v2;
pub mod list_parts;
mod listing;
pub mod object_tagging;
mod part;
pub mod post_object;
pub mod put_object;
pub mod upload_part;
pub mod upload_part_copy;

pub use call::Call;
#[cfg(feature = "fuzz")]
pub use listing::as_group;

pub type Reply = crate::error::Result<http::Response<crate::ResponseBody>>;

#[cfg(test)]
mod tests;
