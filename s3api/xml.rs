//! XML of requests and answers.

mod reader;
mod writer;

pub use reader::{Element, malformed, parse};
pub use writer::{Writer, checksum_element};
