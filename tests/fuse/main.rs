//! The file face on a real kernel mount: the release binary, its S3 endpoint and its mount side by side.
//!
//! They need /dev/fuse and root.

#![allow(clippy::unwrap_used)]

mod coherence;
mod commands;
mod described;
#[path = "../bench/fill.rs"]
mod fill;
mod life;
mod many;
mod names;
mod naming;
mod property;
mod reading;
mod remote;
mod rig;
mod suites;
mod tools;
mod watchdog;
mod writing;
