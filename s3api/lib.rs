//! The S3 face: HTTP requests in, S3 answers out.
//!
//! It knows requests, responses, signatures, XML and S3's errors, and nothing of RocksDB, files or
//! backends: everything it does to objects goes through [`store::Store`]. It holds no state that
//! outlives a connection.
//!
//! Start with [`server::serve`]; then `router.rs`, `operation.rs` and one file per verb in `ops/`.

pub mod audit;
pub mod auth;
pub mod body;
mod connection;
pub mod error;
mod exchange;
mod framing;
mod guard;
mod head;
pub mod limits;
pub mod options;
mod refusal;
pub mod request_body;
pub mod request_id;
pub mod response;
pub mod server;

pub use audit::Audit;
pub use error::{Code, S3Error};
pub use options::{Anonymous, Bucket, Credential, Options, Rights, Secret};
pub use request_body::RequestBody;
pub use request_id::RequestId;
pub use response::{LateAnswer, PollChunks, ResponseBody};
pub use server::{Answered, Handler, serve};
