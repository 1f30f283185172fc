//! What each fuzz target does with its input; the binaries in `fuzz_targets` only name one.
//!
//! An input never panics, and what comes out must hold together: the same answer wherever the bytes
//! are cut, and what was read is read again from what is written. Inputs are text where the thing
//! itself is text, so that a corpus can be written by hand; `seeds.rs` makes the rest.

pub mod chunks;
pub mod copy_source;
pub mod form;
pub mod head;
pub mod headers;
pub mod keys;
pub mod policy;
pub mod range;
pub mod records;
pub mod signature;
pub mod tokens;
pub mod xml;

mod pieces;
mod text;
