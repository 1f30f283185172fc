//! The store, held against a model of itself, against callers that go away, against damaged disks.

#![allow(clippy::unwrap_used)]

mod bucket;
mod cancel;
mod check;
mod damage;
mod expiry;
mod model;
mod op;
mod quota;
mod random;
mod rig;
