//! `s3-orchestrator doctor`: can a node work here?

use super::{Global, Run, output};
use crate::doctor::{self, Check, Verdict};
use serde::Serialize;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

/// Look for what keeps a node from working here, and say what to do: exit code 1 if there is
/// anything.
///
/// Looks at configuration, permissions, disk, syncs, room, clock, open files, port and FUSE, and tries each backend
/// with objects of its own, as `probe` does. A running node is neither needed nor disturbed.
#[derive(Debug, clap::Args)]
pub struct DoctorArgs {
    /// The configuration: by default ./s3-orchestrator.toml, or the system's if there is none.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Look at this data directory instead of the one of the configuration.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// One JSON document instead of text.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Diagnosis {
    verdict: Verdict,
    checks: Vec<Check>,
}

impl Run for DoctorArgs {
    fn run(&self, _: &Global) -> anyhow::Result<ExitCode> {
        let mut checks = doctor::examine(self.config.as_deref(), self.data_dir.as_deref());
        // What is worst comes first.
        checks.sort_by_key(|check| std::cmp::Reverse(check.verdict));
        let verdict = checks.first().map_or(Verdict::Good, |check| check.verdict);
        match self.json {
            true => output::json(&Diagnosis { verdict, checks })?,
            false => output::text(&text(&checks))?,
        }
        Ok(if verdict == Verdict::Error { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

fn text(checks: &[Check]) -> String {
    let mut text = String::new();
    for check in checks {
        let word = match check.verdict {
            Verdict::Good => "ok",
            Verdict::Note => "note",
            Verdict::Warning => "warning",
            Verdict::Error => "ERROR",
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{word:<8} {}: {}", check.name, check.message);
        if let Some(remedy) = &check.remedy {
            let _ = writeln!(text, "         -> {remedy}");
        }
    }
    text
}
