//! `s3-orchestrator credentials`: who may do what with which bucket.

use super::{Ask, Global, Run, words};
use crate::admin::credentials::{Credentials, Line, Request, Right, Source};
use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum as _};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// List credentials, or change them while the node runs.
///
/// Changes are kept in credentials.toml in the data directory, and win over the configuration.
#[derive(Debug, Args)]
pub struct CredentialsArgs {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    ask: Ask,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show all credentials, without their secrets; the same as no action.
    List,
    /// Make a credential for a bucket. Its secret is shown once.
    Add {
        /// The bucket that it is for, and no other.
        bucket: String,
        /// Its access key id; a random one by default.
        #[arg(long, value_name = "ID")]
        access_key_id: Option<String>,
        #[command(flatten)]
        secret: Given,
        #[command(flatten)]
        rights: Rights,
    },
    /// Give a credential another secret, which is shown once. The old one is refused at once; to
    /// have both for a while, add a second credential and remove the first later.
    Rotate {
        /// The access key id.
        id: String,
        #[command(flatten)]
        secret: Given,
    },
    /// Say what a credential may do.
    Limit {
        /// The access key id.
        id: String,
        /// read, write, delete: any of them, with commas between.
        #[arg(value_enum, value_delimiter = ',', required = true)]
        rights: Vec<Right>,
    },
    /// Take a credential away.
    Remove {
        /// The access key id.
        id: String,
    },
    /// Have a credential of the configuration again as the configuration has it.
    Restore {
        /// The access key id.
        id: String,
    },
}

#[derive(Debug, Args)]
struct Given {
    /// Use the secret in this file ("-": standard input) instead of a random one.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Rights {
    /// read, write, delete: any of them, with commas between; all by default.
    #[arg(long, value_enum, value_delimiter = ',')]
    rights: Option<Vec<Right>>,
}

impl Run for CredentialsArgs {
    fn run(&self, _: &Global) -> anyhow::Result<ExitCode> {
        self.ask.show("credentials", &self.request()?, text)
    }
}

impl CredentialsArgs {
    fn request(&self) -> anyhow::Result<Request> {
        Ok(match &self.action {
            None | Some(Action::List) => Request::List {},
            Some(Action::Add { bucket, access_key_id, secret, rights }) => Request::Add {
                bucket: bucket.clone(),
                access_key_id: access_key_id.clone(),
                secret_access_key: secret.read()?,
                rights: rights.rights.clone(),
            },
            Some(Action::Rotate { id, secret }) => {
                Request::Rotate { access_key_id: id.clone(), secret_access_key: secret.read()? }
            }
            Some(Action::Limit { id, rights }) => {
                Request::Limit { access_key_id: id.clone(), rights: rights.clone() }
            }
            Some(Action::Remove { id }) => Request::Remove { access_key_id: id.clone() },
            Some(Action::Restore { id }) => Request::Restore { access_key_id: id.clone() },
        })
    }
}

impl Given {
    fn read(&self) -> anyhow::Result<Option<String>> {
        let Some(file) = &self.secret_file else { return Ok(None) };
        let mut text = String::new();
        let read = match file == Path::new("-") {
            true => std::io::stdin().read_to_string(&mut text),
            false => std::fs::File::open(file).and_then(|mut file| file.read_to_string(&mut text)),
        };
        read.with_context(|| format!("cannot read the secret in {}", file.display()))?;
        // Editors and `echo` end a file with a line end that is not part of the secret.
        Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
    }
}

fn text(answer: &Credentials) -> String {
    let row = |line: &Line| {
        let origin = match line.origin {
            Source::Configuration => "configuration",
            Source::Changed => "configuration, changed by command",
            Source::Added => "command",
        };
        vec![line.bucket.clone(), line.access_key_id.clone(), rights(&line.rights), origin.to_owned()]
    };
    let rows: Vec<_> = answer.credentials.iter().map(row).collect();
    let mut text = match rows.is_empty() {
        true => "no credential\n".to_owned(),
        false => words::table(&["bucket", "access key id", "rights", "from"], &rows),
    };
    if let Some(made) = &answer.made {
        text.push_str(&format!(
            "\nShown this once:\n  access_key_id     {}\n  secret_access_key {}\n",
            made.access_key_id, made.secret_access_key
        ));
    }
    text
}

fn rights(rights: &[Right]) -> String {
    let names = rights.iter().filter_map(|right| right.to_possible_value());
    let names: Vec<_> = names.map(|value| value.get_name().to_owned()).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(",") }
}
