//! Doors for the fuzz targets in `tests/fuzz`: what reads a client's bytes and is private here.
//!
//! Only with the feature `fuzz`; a node is built without it.

pub use crate::auth::fuzz as auth;
pub use crate::ops::{
    complete_multipart_upload::parse as parse_complete, delete_objects::parse as parse_delete,
    list_parts::part_marker, object_tagging::parse as parse_tagging,
};
pub use crate::query::{Query, page_size};

pub mod conditions {
    pub use crate::conditions::*;
}
pub mod dates {
    pub use crate::dates::*;
}
pub mod headers {
    pub use crate::headers::*;
}
pub mod percent {
    pub use crate::percent::*;
}
pub mod rfc2047 {
    pub use crate::rfc2047::*;
}

use crate::error::Result;
use crate::framing::Framing;
use crate::head::{self, Extent};
use crate::ops;

/// How far a buffer that begins with a head reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadEnd {
    Whole(usize),
    Part(usize),
    Malformed,
}

pub fn head_end(buffer: &[u8], from: usize) -> HeadEnd {
    match head::extent(buffer, from) {
        Extent::Whole(length) => HeadEnd::Whole(length),
        Extent::Part(scanned) => HeadEnd::Part(scanned),
        Extent::Malformed => HeadEnd::Malformed,
    }
}

/// Where a body ends, as the guard counts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyEnd(Framing);

impl BodyEnd {
    pub fn chunked() -> Self {
        Self(Framing::chunked())
    }

    /// `None`: bytes that no body has there.
    pub fn consume(&mut self, bytes: &[u8]) -> Option<usize> {
        self.0.consume(bytes).ok()
    }

    pub fn ended(&self) -> bool {
        self.0.ended()
    }
}

pub fn check_head(head: &[u8]) -> Result<BodyEnd> {
    head::check(head).map(BodyEnd)
}

pub fn find_header<'a>(bytes: &'a [u8], wanted: &str) -> Option<&'a [u8]> {
    head::find_header(bytes, wanted)
}

pub fn as_group<'a>(marker: &'a str, prefix: &str, delimiter: Option<&str>) -> Option<&'a str> {
    ops::as_group(marker, prefix, delimiter)
}
