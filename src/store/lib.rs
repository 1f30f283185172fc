//! The streaming core: the only door to objects, for both faces and the workers.
//!
//! It conducts: a verb checks early, reserves, streams the body to the backend, has it verified,
//! and hands the metadata engine one batch. It never knows HTTP, XML or errno, reads no
//! configuration, and nothing but it writes or reads a blob.
//!
//! Start with [`put`](Store::put) and [`open`](Store::open).

mod error;
mod options;

pub use error::{DigestMismatch, SourceError, StoreError};
pub use meta::ObjectRecord as Object;
pub use options::*;
