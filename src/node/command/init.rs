//! `s3-orchestrator init`: a new configuration.

use super::{Global, Run, output};
use crate::config::{DEFAULT_FILE, S3, parse_listen};
use crate::first_run::{self, BUCKET, Wanted};
use serde::Serialize;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use types::BucketName;

/// Write a commented configuration with a random credential, which is shown.
///
/// On a terminal what was not given is asked for. A file that is there is never replaced.
#[derive(Debug, clap::Args)]
pub struct InitArgs {
    /// The file to write.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_FILE)]
    config: PathBuf,
    /// Where the node keeps everything; a relative path begins at the folder of the file.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Where S3 is served.
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = parse_listen)]
    listen: Option<SocketAddr>,
    /// The first bucket's name.
    #[arg(long, value_name = "BUCKET", value_parser = parse_bucket)]
    bucket: Option<String>,
    /// What the bucket may hold, as in 100GB; no limit by default.
    #[arg(long, value_name = "SIZE", value_parser = parse_quota)]
    quota: Option<String>,
    /// Ask nothing, also on a terminal.
    #[arg(long)]
    yes: bool,
    /// One JSON document instead of text.
    #[arg(long)]
    json: bool,
}

/// What was written.
#[derive(Serialize)]
struct Written<'a> {
    configuration: &'a Path,
    data_dir: &'a str,
    listen: SocketAddr,
    bucket: &'a str,
    access_key_id: &'a str,
    secret_access_key: &'a str,
}

impl Run for InitArgs {
    fn run(&self, _: &Global) -> anyhow::Result<ExitCode> {
        output::told(self.json, self.work())
    }
}

impl InitArgs {
    fn work(&self) -> anyhow::Result<ExitCode> {
        let file = &self.config;
        anyhow::ensure!(file.symlink_metadata().is_err(), "{} is there already", file.display());
        let ask = !self.yes && !self.json && std::io::stdin().is_terminal();
        let data_dir = answer(ask, "Data directory", self.data_dir.clone(), "data", any)?;
        let listen = answer(ask, "Listen at", self.listen, &S3::default().listen.to_string(), parse_listen)?;
        let bucket = answer(ask, "First bucket", self.bucket.clone(), BUCKET, parse_bucket)?;
        let (dir, quota) = (Path::new(&data_dir), self.quota.as_deref());
        let made = first_run::write(&Wanted { file, listen, data_dir: dir, bucket: &bucket, quota })?;
        let written = Written {
            configuration: file,
            data_dir: &data_dir,
            listen,
            bucket: &bucket,
            access_key_id: &made.access_key_id,
            secret_access_key: &made.secret_access_key,
        };
        match self.json {
            true => output::json(&written)?,
            false => output::text(&text(&written))?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// What was given, or what the person at the terminal says, or the default.
fn answer<T>(
    ask: bool,
    question: &str,
    given: Option<T>,
    default: &str,
    parse: fn(&str) -> Result<T, String>,
) -> anyhow::Result<T> {
    if let Some(given) = given {
        return Ok(given);
    }
    loop {
        let said = if ask { read(question, default)? } else { String::new() };
        match parse(if said.is_empty() { default } else { &said }) {
            Ok(value) => return Ok(value),
            Err(why) if ask => output::text(&format!("{why}\n"))?,
            Err(why) => anyhow::bail!(why),
        }
    }
}

fn read(question: &str, default: &str) -> anyhow::Result<String> {
    output::text(&format!("{question} [{default}]: "))?;
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line)?;
    anyhow::ensure!(read > 0, "nothing was written: the answers ended");
    std::io::stdout().flush()?;
    Ok(line.trim().to_owned())
}

fn any(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

fn parse_bucket(text: &str) -> Result<String, String> {
    let bad = |why| format!("bad bucket name \"{text}\": {why}");
    BucketName::new(text).map(|name| name.as_str().to_owned()).map_err(bad)
}

fn parse_quota(text: &str) -> Result<String, String> {
    types::parse_size(text).map(|_| text.to_owned())
}

fn text(written: &Written<'_>) -> String {
    let Written { access_key_id, secret_access_key, .. } = written;
    let file = written.configuration.display();
    format!(
        "{file} was written, readable by you only.\n\n  access_key_id     {access_key_id}\n  \
         secret_access_key {secret_access_key}\n\nStart the node with: s3-orchestrator serve --config {file}\n"
    )
}
