//! `s3-orchestrator check`: is this configuration good?

use super::{Global, Run, output};
use crate::config;
use crate::config_file::{environment, existing};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Say whether a configuration is good: exit code 0 if it is, 1 if not.
///
/// Every mistake is printed as FILE:LINE:COLUMN, with what would be right.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// The configuration; ./s3-orchestrator.toml by default.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One JSON document instead of text.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Verdict {
    file: PathBuf,
    good: bool,
    problems: Vec<Problem>,
}

#[derive(Debug, Serialize)]
struct Problem {
    severity: &'static str,
    line: usize,
    column: usize,
    message: String,
}

impl Run for CheckArgs {
    fn run(&self, _: &Global) -> anyhow::Result<ExitCode> {
        output::told(self.json, self.work())
    }
}

impl CheckArgs {
    fn work(&self) -> anyhow::Result<ExitCode> {
        let file = existing(self.config.as_deref())?;
        match self.json {
            true => in_json(&file),
            false => in_text(&file),
        }
    }
}

fn in_text(file: &Path) -> anyhow::Result<ExitCode> {
    crate::config_file::load(file)?;
    output::text(&format!("{}: ok\n", file.display()))?;
    Ok(ExitCode::SUCCESS)
}

fn in_json(file: &Path) -> anyhow::Result<ExitCode> {
    let (good, problems) = match config::load(file, &environment) {
        Ok(loaded) => (true, loaded.warnings),
        Err(config::LoadError::Bad { problems, .. }) => (false, problems),
        Err(unreadable) => return Err(unreadable.into()),
    };
    let problems = problems.into_iter().map(Problem::from).collect();
    output::json(&Verdict { file: file.to_owned(), good, problems })?;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl From<config::Problem> for Problem {
    fn from(problem: config::Problem) -> Self {
        let config::Problem { severity, line, column, message } = problem;
        Self { severity: severity.name(), line, column, message }
    }
}
