//! `s3-orchestrator generate`: what a package has of the command line, made from the table of commands
//! itself: manual pages and completions. Hidden, since only packages are made with it.

use super::{Global, Run};
use crate::cli::Cli;
use crate::manual;
use anyhow::Context as _;
use clap::{Command, CommandFactory as _};
use clap_complete::Shell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The shells, and where each looks for completions, below the directory.
const COMPLETIONS: [(Shell, &str); 3] = [
    (Shell::Bash, "completions/s3-orchestrator"),
    (Shell::Zsh, "completions/_s3-orchestrator"),
    (Shell::Fish, "completions/s3-orchestrator.fish"),
];

/// Write manual pages and shell completions below a directory, as packages have them.
#[derive(Debug, clap::Args)]
#[command(hide = true)]
pub struct GenerateArgs {
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

impl Run for GenerateArgs {
    fn run(&self, _: &Global) -> anyhow::Result<ExitCode> {
        let mut command = shown();
        for (file, text) in manual::pages(&mut command)? {
            put(&self.dir.join("man1").join(file), &text)?;
        }
        for (shell, file) in COMPLETIONS {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut command, manual::NAME, &mut text);
            put(&self.dir.join(file), &text)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The command line without what is hidden: completions would offer it.
fn shown() -> Command {
    let all = Cli::command();
    let mut shown = Command::new(manual::NAME).version(env!("CARGO_PKG_VERSION"));
    if let (Some(about), Some(more)) = (all.get_about(), all.get_long_about()) {
        shown = shown.about(about.clone()).long_about(more.clone());
    }
    let commands = all.get_subcommands().filter(|command| !command.is_hide_set());
    shown.args(all.get_arguments()).subcommands(commands.cloned()).subcommand_required(true)
}

/// Readable for everybody, whatever the node keeps to itself.
fn put(file: &Path, text: &[u8]) -> anyhow::Result<()> {
    let dir = file.parent().unwrap_or(Path::new("."));
    let written = fs::create_dir_all(dir).and_then(|()| fs::write(file, text));
    written.with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_hidden_stays_hidden() {
        let names: Vec<_> = shown().get_subcommands().map(|command| command.get_name().to_owned()).collect();
        assert!(names.iter().any(|name| name == "serve"), "{names:?}");
        assert!(!names.iter().any(|name| name == "generate"), "{names:?}");
    }
}
