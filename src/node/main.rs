//! The daemon and its commands.
//!
//! This room reads configuration, environment, clock and randomness, and hands them down as
//! options: nothing below it does. It decides when background work runs and how the process starts
//! and stops, and holds no rule about objects.
//!
//! Start with `daemon.rs`; commands that ask a running node start in `cli.rs`.

mod admin;
mod audit_file;
mod backends;
mod cli;
mod command;
mod config;
mod config_file;
mod daemon;
mod doctor;
mod finding;
mod first_run;
mod health;
mod hints;
mod jobs;
mod log_ring;
mod manual;
mod mounts;
mod new_key;
mod node;
mod observe;
mod options;
mod process;
mod reload;
mod reports;
mod service;
mod telemetry;
mod times;
mod usage;
mod webhooks;
mod workers;

use clap::Parser as _;
use cli::Cli;
use command::{Run as _, Trouble};
use std::process::ExitCode;

/// Long-running, many threads, buffers of many sizes: it gives memory back, which the system's
/// allocator hardly does.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = match command::mount_helper::translated(std::env::args_os()) {
        Some(arguments) => Cli::parse_from(arguments),
        None => Cli::parse(),
    };
    process::keep_private();
    match cli.command.run(&cli.global) {
        Ok(code) => code,
        Err(error) if command::output::is_enough(&error) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::from(error.downcast_ref::<Trouble>().map_or(1, Trouble::exit_code))
        }
    }
}

/// A configuration's errors begin with their place; everything else with the program's name.
fn report(error: &anyhow::Error) {
    use std::io::Write as _;
    let mut stderr = std::io::stderr();
    // There is nobody to tell if standard error is closed.
    let _ = match error.downcast_ref::<config::LoadError>() {
        Some(error) => writeln!(stderr, "{error}"),
        None => writeln!(stderr, "s3-orchestrator: error: {error:#}"),
    };
}
