//! Where bytes lie: files of blobs on a local disk.
//!
//! A backend does not know buckets, keys or records: it is handed a blob's id and bytes. Nothing is
//! ever written in place, and a file that has a name is whole and durable.
//!
//! Start with [`Local`].

mod local;

pub use local::{Local, NewFile, StoredFile, SyncRule};
