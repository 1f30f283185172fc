//! `s3-orchestrator probe`: can this backend be used, and how fast is it?

use super::{Global, Run, output, words};
use crate::config::{Backend, Config, Kind, Monthly};
use crate::{config_file, options, telemetry};
use anyhow::Context as _;
use backend::examine::{Examiner, Step, Verdict};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use types::BlobId;

/// Of the body that goes in parts: enough of them that they travel side by side.
const LARGE_BYTES: usize = 32 << 20;
const FAILS: &str = "fails";

/// Try every call that the node needs at a backend of the configuration, and clean up.
///
/// Needs no running node, and does not disturb one. Objects of its own are written below
/// "s3-orchestrator-probe/" in a provider's bucket, or in a directory of their own on a disk, and
/// removed again. Exit code 0 if the backend can be used, 1 if not.
#[derive(Debug, clap::Args)]
pub struct ProbeArgs {
    /// The backend's name in the configuration.
    backend: String,
    /// The configuration; ./s3-orchestrator.toml by default.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One JSON document instead of text.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
pub struct Outcome {
    backend: String,
    kind: &'static str,
    /// Nothing that the node needs has failed.
    pub usable: bool,
    steps: Vec<Finding>,
    calls: u64,
    bytes_sent: u64,
    bytes_received: u64,
    /// Of which that was a part.
    monthly_limits: Monthly,
}

impl Outcome {
    /// The first call that the node cannot do without.
    pub fn failure(&self) -> Option<String> {
        let failed = self.steps.iter().find(|step| step.verdict == FAILS)?;
        Some(format!("{}: {}", failed.name, failed.note))
    }
}

#[derive(Debug, Serialize)]
struct Finding {
    name: &'static str,
    /// `works`, `missing` (the node does without) or `fails`.
    verdict: &'static str,
    milliseconds: f64,
    /// Of bodies that moved.
    bytes: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    note: String,
}

impl Run for ProbeArgs {
    fn run(&self, global: &Global) -> anyhow::Result<ExitCode> {
        output::told(self.json, self.work(global))
    }
}

impl ProbeArgs {
    fn work(&self, global: &Global) -> anyhow::Result<ExitCode> {
        let config = config_file::load(&config_file::in_use(self.config.as_deref())?)?;
        telemetry::init(global.log, &config.log, None, None)?;
        let chosen = choose(&config, &self.backend)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let outcome = runtime.block_on(probe(&config, &chosen, LARGE_BYTES))?;
        match self.json {
            true => output::json(&outcome)?,
            false => output::text(&shown(&outcome))?,
        }
        Ok(if outcome.usable { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Where no backend is configured, there is the embedded one; it has no name then.
fn choose(config: &Config, name: &str) -> anyhow::Result<Backend> {
    if let Some(found) = config.backends.iter().find(|backend| backend.name == name) {
        return Ok(found.clone());
    }
    let names: Vec<_> = config.backends.iter().map(|backend| backend.name.as_str()).collect();
    let there = match names.is_empty() {
        true => "it has no [[backends]]".to_owned(),
        false => format!("there are: {}", names.join(", ")),
    };
    anyhow::bail!("there is no backend \"{name}\" in {}; {there}", config.file.display())
}

/// With one body so large.
pub async fn probe(config: &Config, chosen: &Backend, large_bytes: usize) -> anyhow::Result<Outcome> {
    match &chosen.kind {
        Kind::Embedded => on_disk(&config.data_dir, chosen, large_bytes).await,
        Kind::Disk { path } => on_disk(path, chosen, large_bytes).await,
        Kind::S3(provider) => {
            let s3 = backend::S3::new(options::of_provider(provider));
            let mut steps = Vec::new();
            examine(&s3, large_bytes, &mut steps).await;
            if steps.first().is_some_and(|step| step.verdict == Verdict::Works) {
                s3.examine(blob(), &mut |step| steps.push(step)).await;
            }
            Ok(outcome(chosen, steps, backend::Backend::usage(&s3)))
        }
    }
}

/// In a directory of its own, which belongs to no node.
async fn on_disk(path: &Path, chosen: &Backend, large_bytes: usize) -> anyhow::Result<Outcome> {
    let place = path.join(format!(".s3-orchestrator-probe-{}", blob()));
    std::fs::create_dir(&place).with_context(|| format!("cannot write to {}", path.display()))?;
    let disk = backend::Disk::new(backend::DiskOptions {
        path: place.clone(),
        node: "probe".to_owned(),
        backend: chosen.name.clone(),
        initialised: false,
        sync: backend::SyncRule { file: true, directory: true },
    });
    let mut steps = Vec::new();
    examine(&disk, large_bytes, &mut steps).await;
    let usage = backend::Backend::usage(&disk);
    drop(disk);
    std::fs::remove_dir_all(&place).with_context(|| format!("cannot remove {}", place.display()))?;
    Ok(outcome(chosen, steps, usage))
}

async fn examine(backend: &dyn backend::Backend, large_bytes: usize, steps: &mut Vec<Step>) {
    Examiner::new(backend, &mut blob, &mut |step| steps.push(step)).run(large_bytes).await;
}

/// At random: a name that no replica of a node has.
fn blob() -> BlobId {
    BlobId(options::random())
}

fn outcome(chosen: &Backend, steps: Vec<Step>, usage: backend::Usage) -> Outcome {
    Outcome {
        backend: chosen.name.clone(),
        kind: chosen.kind.name(),
        usable: steps.iter().all(|step| step.verdict != Verdict::Fails),
        steps: steps.into_iter().map(Finding::from).collect(),
        calls: usage.calls,
        bytes_sent: usage.ingress_bytes,
        bytes_received: usage.egress_bytes,
        monthly_limits: match &chosen.kind {
            Kind::S3(provider) => provider.monthly,
            _ => Monthly::default(),
        },
    }
}

impl From<Step> for Finding {
    fn from(step: Step) -> Self {
        let verdict = match step.verdict {
            Verdict::Works => "works",
            Verdict::Missing => "missing",
            Verdict::Fails => FAILS,
        };
        let milliseconds = (step.took.as_secs_f64() * 1e5).round() / 100.0;
        Self { name: step.name, verdict, milliseconds, bytes: step.bytes, note: step.note }
    }
}

fn shown(outcome: &Outcome) -> String {
    let rows: Vec<_> = outcome.steps.iter().map(row).collect();
    let mut text = words::table(&["STEP", "RESULT", "TIME", "SPEED", "NOTE"], &rows);
    let verdict = if outcome.usable { "can be used" } else { "cannot be used" };
    let (calls, sent) = (words::count(outcome.calls, "call"), words::size(outcome.bytes_sent));
    let received = words::size(outcome.bytes_received);
    text.push_str(&format!("\n{} {verdict} ({calls}, {sent} sent, {received} received)\n", outcome.backend));
    text
}

fn row(finding: &Finding) -> Vec<String> {
    let Finding { name, verdict, milliseconds, bytes, note } = finding;
    let seconds = Duration::from_secs_f64(milliseconds / 1000.0).as_secs_f64();
    // Of a small body the time says it all.
    let speed = match *bytes >= 1 << 20 && seconds > 0.0 {
        true => format!("{}/s", words::size((*bytes as f64 / seconds) as u64)),
        false => String::new(),
    };
    vec![(*name).to_owned(), (*verdict).to_owned(), format!("{milliseconds:.1} ms"), speed, note.clone()]
}
