//! The store, held against a model of itself, against callers that go away, against damaged disks.

#![allow(clippy::unwrap_used)]

mod bucket;
mod cancel;
mod caps;
mod check;
mod copies;
mod damage;
mod expiry;
mod far;
mod faults;
mod fleet;
mod format;
mod lifecycle;
mod lost;
mod many_gets;
mod model;
mod moving;
mod op;
mod placing;
mod quota;
mod random;
mod rebalancing;
mod reconcile;
mod recount;
mod restore;
mod rig;
mod scrub;
