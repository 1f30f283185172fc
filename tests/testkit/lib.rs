//! What the tests of the running node share.
//!
//! Here: a node in a directory of its own ([`node`]), a small S3 client that signs and knows what it does not know
//! ([`client`]), sections for backends ([`backends`]), bodies whose every byte names its origin ([`body`]), seeded chance ([`rng`]), futures that are dropped half-way ([`cancel`]), a model of what a key may
//! hold ([`model`]), a mixed load that fills the model ([`load`]), file systems that lose power ([`loopfs`]), system calls that
//! kill or fail ([`trace`]), other people's S3 servers ([`servers`]), a proxy that fails on order ([`proxy`]) and a
//! linearizability checker ([`linear`]).
//!
//! Never here: a dependency on the rooms of the node. The kit speaks to it as any client does, over the wire and
//! through its commands, so a fault in a shared type cannot hide itself.
//!
//! Start at [`node::Node::start`].

pub mod backends;
pub mod body;
pub mod cancel;
pub mod client;
pub mod fsck;
pub mod linear;
pub mod load;
pub mod loopfs;
pub mod model;
pub mod node;
pub mod proxy;
pub mod rng;
pub mod servers;
pub mod sign;
pub mod trace;
pub mod xml;

pub use body::{Bodies, Content};
pub use client::{Answer, Entry, ListPage, ListQuery, RequestError, S3Client};
pub use node::{BucketConfig, Credential, Node, NodeConfig};
pub use rng::{Rng, Seed};
