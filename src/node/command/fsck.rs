//! `s3-orchestrator fsck`: compares what a stopped node keeps, and prints every difference.

use super::{Global, Run, output};
use crate::{config_file, options, telemetry};
use serde_json::json;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use store::{FsckOptions, FsckSummary};

/// Compare metadata, quotas, queues and files of a node that is not running.
///
/// Prints every difference, and a summary as the last line. Where bytes are missing or damaged, the objects that
/// they belong to are named. Exit code 0 if nothing is wrong (any more), 1 otherwise.
#[derive(Debug, clap::Args)]
pub struct FsckArgs {
    /// The configuration; ./s3-orchestrator.toml by default.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Check this directory instead of the one of the configuration.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Correct reference counts, ledgers and queue, and move files that no record knows to
    /// DATA_DIR/set-aside. Damaged or missing bytes cannot be repaired.
    #[arg(long)]
    repair: bool,
    /// Read every byte and hold it against its checksum, not only the sizes of files.
    #[arg(long)]
    verify: bool,
    /// One JSON object a line, for scripts.
    #[arg(long)]
    json: bool,
}

impl Run for FsckArgs {
    fn run(&self, global: &Global) -> anyhow::Result<ExitCode> {
        output::told(self.json, fsck(self, global))
    }
}

fn fsck(args: &FsckArgs, global: &Global) -> anyhow::Result<ExitCode> {
    let mut config = config_file::load(&config_file::existing(args.config.as_deref())?)?;
    if let Some(dir) = &args.data_dir {
        config.data_dir.clone_from(dir);
    }
    telemetry::init(global.log, &config.log, None, None)?;
    anyhow::ensure!(config.data_dir.is_dir(), "there is no data directory {}", config.data_dir.display());
    let mut output = Output { json: args.json, out: io::stdout().lock(), failed: None };
    let what = FsckOptions { repair: args.repair, verify: args.verify };
    let summary = store::fsck(options::of_store(&config), what, &mut |difference| {
        output.difference(&difference.to_string());
    })?;
    output.summary(&summary)?;
    Ok(if summary.differences == summary.repaired { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Output<W> {
    json: bool,
    out: W,
    /// Kept until the end: a closed pipe must not stop a repair half-way.
    failed: Option<io::Error>,
}

impl<W: Write> Output<W> {
    fn difference(&mut self, text: &str) {
        let line = if self.json { json!({ "difference": text }).to_string() } else { text.to_owned() };
        if let Err(error) = writeln!(self.out, "{line}") {
            self.failed = Some(error);
        }
    }

    fn summary(mut self, summary: &FsckSummary) -> io::Result<()> {
        let fields = [
            ("objects", summary.objects),
            ("blobs", summary.blobs),
            ("uploads", summary.uploads),
            ("parts", summary.parts),
            ("files", summary.files),
            ("tasks", summary.tasks),
            ("differences", summary.differences),
            ("repaired", summary.repaired),
        ];
        let line = if self.json {
            let map: serde_json::Map<_, _> =
                fields.iter().map(|(k, v)| ((*k).to_owned(), json!(v))).collect();
            json!({ "summary": map }).to_string()
        } else {
            let words: Vec<_> = fields.iter().map(|(k, v)| format!("{v} {k}")).collect();
            words.join(", ")
        };
        writeln!(self.out, "{line}")?;
        self.out.flush()?;
        self.failed.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn shown(json: bool) -> String {
        let mut bytes = Vec::new();
        let mut output = Output { json, out: &mut bytes, failed: None };
        output.difference("blob 7: no file");
        let summary = FsckSummary { objects: 3, differences: 1, ..FsckSummary::default() };
        output.summary(&summary).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn for_people() {
        let text = shown(false);
        assert!(text.starts_with("blob 7: no file\n3 objects, "), "{text}");
        assert!(text.ends_with("1 differences, 0 repaired\n"), "{text}");
    }

    #[test]
    fn for_scripts() {
        for line in shown(true).lines() {
            serde_json::from_str::<serde_json::Value>(line).unwrap();
        }
        assert!(shown(true).contains(r#""differences":1"#));
    }
}
