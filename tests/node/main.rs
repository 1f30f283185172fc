//! The node as its users meet it: the release binary, over the wire and through its commands.

mod admin;
mod asked;
mod churn;
mod cli;
mod config;
mod crash;
mod credentials;
mod disk_full;
mod docs;
mod edges;
mod fence;
mod first_steps;
mod fleet;
mod hangup;
mod linear;
mod moving;
mod moving_far;
mod place;
mod powercut;
mod quota;
mod reload;
mod reload_backends;
mod service;
mod steps;
mod stopping;
mod verifying;
