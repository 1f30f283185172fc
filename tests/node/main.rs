//! The node as its users meet it: the release binary, over the wire and through its commands.

mod churn;
mod crash;
mod disk_full;
mod hangup;
mod linear;
mod powercut;
mod quota;
