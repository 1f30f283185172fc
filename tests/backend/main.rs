//! Backends: one suite that every kind must pass, over real parts: memory, directories, this node's own S3 face,
//! other people's S3 servers; and what becomes of every call when the network or the provider fails.

#![allow(clippy::unwrap_used)]

mod disk;
mod faults;
mod kinds;
mod probe;
mod scripts;
mod suite;
