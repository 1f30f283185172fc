//! The daemon and its commands.
//!
//! This room reads configuration, environment, clock and randomness, and hands them down as
//! options: nothing below it does. It decides when background work runs and how the process starts
//! and stops, and holds no rule about objects.
//!
//! Start with `daemon.rs`.

mod check;
mod cli;
mod config;
mod daemon;
mod first_run;
mod fsck;
mod hints;
mod options;
mod process;
mod telemetry;
mod workers;

use clap::Parser as _;
use cli::{Cli, Command};
use std::process::ExitCode;

/// Long-running, many threads, buffers of many sizes: it gives memory back, which the system's
/// allocator hardly does.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    process::keep_private();
    let outcome = match &cli.command {
        Command::Serve(args) => daemon::serve(args, cli.log).map(|()| ExitCode::SUCCESS),
        Command::Check(args) => check::check(args).map(|()| ExitCode::SUCCESS),
        Command::Fsck(args) => fsck::run(args, cli.log),
    };
    outcome.unwrap_or_else(|error| {
        report(&error);
        ExitCode::FAILURE
    })
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
