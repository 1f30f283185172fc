//! The S3 face: HTTP requests in, S3 answers out.
//!
//! It knows requests, responses, signatures, XML and S3's errors, and nothing of RocksDB, files or
//! backends: everything it does to objects goes through [`store::Store`]. It holds no state that
//! outlives a connection.
//!
//! Start with [`server::serve`]; then `router.rs`, `operation.rs` and one file per verb in `ops/`.

mod anonymous;
pub mod audit;
pub mod auth;
pub mod body;
mod buffers;
mod conditions;
mod connection;
pub mod copy_source;
pub mod cors;
mod dates;
mod dispatch;
pub mod edge;
pub mod error;
mod exchange;
pub mod face;
pub mod form;
mod framing;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod guard;
mod head;
mod headers;
mod http2;
pub mod limits;
mod multiplexed;
pub mod observer;
pub mod operation;
mod ops;
pub mod options;
mod percent;
mod places;
pub mod proxies;
mod query;
pub mod range;
pub mod rates;
mod refusal;
pub mod request_body;
pub mod request_id;
pub mod response;
mod rfc2047;
pub mod router;
pub mod server;
pub mod tls;
pub mod token;
mod upload_id;
mod wire;
pub mod xml;

pub use audit::{Audit, Outcome};
pub use cors::CorsRule;
pub use edge::Edge;
pub use error::{Code, S3Error};
pub use face::Face;
pub use observer::{Entry, Observer, TraceParent};
pub use options::{Anonymous, Bucket, Credential, LiveOptions, Options, Rights, Secret};
pub use proxies::{ForwardedHeader, Network, Proxies, Remote};
pub use rates::{Rate, RateLimits, Refill};
pub use request_body::RequestBody;
pub use request_id::RequestId;
pub use response::{LateAnswer, PollChunks, ResponseBody};
pub use server::{Answered, Handler, serve};
pub use tls::{Identity, Tls};
