//! The node as its users meet it: the release binary, over the wire and through its commands.

mod churn;
mod cli;
mod config;
mod crash;
mod disk_full;
mod docs;
mod edges;
mod hangup;
mod linear;
mod place;
mod powercut;
mod quota;
mod steps;
