//! The configuration file: read, checked as a whole, and turned into values that are right.
//!
//! Nothing else in the node reads TOML. A mistake is reported with line, column and what would be
//! right; all mistakes are reported at once. Keys of features that this version does not have are
//! known, and refused: a node never ignores what its owner asked for.

mod admin;
mod backends;
mod buckets;
pub mod changes;
mod cors;
mod difference;
mod expand;
mod keys;
mod lifecycle;
mod mounts;
mod problem;
mod rates;
mod reader;
mod s3;
mod scrub;
mod secret;
mod snapshots;
mod telemetry;
pub mod tls;
mod webhooks;

pub use admin::Admin;
pub use backends::{Backend, Kind, Monthly, Provider};
pub use buckets::{Bucket, Credential, Origin, check_access_key_id};
pub use changes::Change;
pub use difference::{Difference, Settings};
pub use expand::Env;
pub use mounts::{DEFAULT_DIR_MODE, DEFAULT_FILE_MODE, Mount, check_mode, check_prefix};
pub use problem::Problem;
pub use s3::{S3, parse_listen};
pub use scrub::Scrub;
pub use secret::judge as check_secret;
pub use snapshots::Snapshots;
pub use telemetry::Telemetry;
pub use webhooks::Webhook;

use problem::Problems;
use reader::{Reader, Section};
use std::fmt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::de::DeTable;

/// Where the node looks when it is not told.
pub const DEFAULT_FILE: &str = "s3-orchestrator.toml";
const DEFAULT_DATA_DIR: &str = "data";
const STUCK_AFTER: Duration = Duration::from_secs(300);

#[derive(Debug, Clone)]
pub struct Config {
    pub file: PathBuf,
    pub data_dir: PathBuf,
    pub durability: Durability,
    /// Of a queue that has work and settles none.
    pub stuck_after: Duration,
    pub s3: S3,
    pub buckets: Vec<Bucket>,
    /// As configured; without any there is the embedded one.
    pub backends: Vec<Backend>,
    pub mounts: Vec<Mount>,
    pub log: Log,
    pub admin: Admin,
    pub telemetry: Telemetry,
    pub webhooks: Vec<Webhook>,
    pub scrub: Scrub,
    pub snapshots: Snapshots,
    /// The file's own words, to be compared with those of another.
    pub settings: Settings,
}

impl Config {
    /// Takes over what a running node cannot change.
    pub fn keep_fixed(&mut self, running: &Self) {
        self.file.clone_from(&running.file);
        self.data_dir.clone_from(&running.data_dir);
        self.durability = running.durability;
        self.s3.listen = running.s3.listen;
        self.s3.max_buffer_bytes = running.s3.max_buffer_bytes;
        self.log.format = running.log.format;
        self.log.audit_file.clone_from(&running.log.audit_file);
        self.admin.clone_from(&running.admin);
        self.telemetry.clone_from(&running.telemetry);
        self.keep_backends(running);
        // A listener speaks TLS or not, for as long as it is there.
        if self.s3.tls.is_some() != running.s3.tls.is_some() {
            self.s3.tls.clone_from(&running.s3.tls);
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    PowerLoss,
    ProcessCrash,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Log {
    pub format: Option<LogFormat>,
    pub level: Option<String>,
    /// Audit lines go here instead of to standard error.
    pub audit_file: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object an event, for machines.
    Json,
}

/// A configuration that is good, and what its owner should still know.
#[derive(Debug)]
pub struct Loaded {
    pub config: Config,
    pub warnings: Vec<Problem>,
}

#[derive(Debug)]
pub enum LoadError {
    Unreadable { file: PathBuf, error: std::io::Error },
    Bad { file: PathBuf, problems: Vec<Problem> },
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { file, error } => {
                let hint = match error.kind() {
                    std::io::ErrorKind::PermissionDenied => "; do this as the user of the node, or as root",
                    _ => "",
                };
                write!(f, "{}: error: {error}{hint}", file.display())
            }
            Self::Bad { file, problems } => {
                let lines: Vec<_> = problems.iter().map(|p| p.in_file(file).to_string()).collect();
                f.write_str(&lines.join("\n"))
            }
        }
    }
}

impl std::error::Error for LoadError {}

pub fn load(file: &Path, env: Env<'_>) -> Result<Loaded, LoadError> {
    let unreadable = |error| LoadError::Unreadable { file: file.to_owned(), error };
    let text = std::fs::read_to_string(file).map_err(unreadable)?;
    let mode = std::fs::metadata(file).map_err(unreadable)?.permissions().mode();
    let dir = file.parent().unwrap_or(Path::new(""));
    let (config, problems) = parse(&text, file, dir, mode, env);
    match config {
        Some(config) => Ok(Loaded { config, warnings: problems }),
        None => Err(LoadError::Bad { file: file.to_owned(), problems }),
    }
}

/// Where the data is by a configuration.
#[derive(Debug)]
pub struct DataDir {
    pub path: PathBuf,
    /// The file says so; else it is the default.
    pub said: bool,
}

/// Only where the data is, for commands that ask a running node: the rest of the file may need an
/// environment that only the node has, or have a mistake that it was not started with.
pub fn data_dir_of(file: &Path, env: Env<'_>) -> Result<DataDir, LoadError> {
    let unreadable = |error| LoadError::Unreadable { file: file.to_owned(), error };
    let text = std::fs::read_to_string(file).map_err(unreadable)?;
    let (document, _) = DeTable::parse_recoverable(&text);
    let dir = file.parent().unwrap_or(Path::new(""));
    let mut reader = Reader { problems: Problems::new(&text), dir, env, inline_secret: false };
    let top = reader.section(document.get_ref(), 0..0, "the top level", keys::TOP);
    // Mistakes elsewhere are for `check` to tell.
    reader.problems = Problems::new(&text);
    let path = data_dir(&mut reader, &top);
    match reader.problems.any_error() {
        false => Ok(DataDir { path, said: top.has("data_dir") }),
        true => Err(LoadError::Bad { file: file.to_owned(), problems: reader.problems.into_sorted() }),
    }
}

/// The configuration in `text`, unless a problem is an error.
fn parse(text: &str, file: &Path, dir: &Path, mode: u32, env: Env<'_>) -> (Option<Config>, Vec<Problem>) {
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return (None, syntax_errors(text, &errors));
    }
    let problems = Problems::new(text);
    let mut reader = Reader { problems, dir, env, inline_secret: false };
    let top = reader.section(document.get_ref(), 0..0, "the top level", keys::TOP);
    let mut config = read_top(&mut reader, &top, file);
    config.settings = Settings::of(document.get_ref());
    if mode & 0o004 != 0 && reader.inline_secret {
        let message = "everybody on this machine can read the secrets in this file; chmod 600 it";
        reader.problems.warning(&(0..0), message);
    }
    let good = !reader.problems.any_error();
    (good.then_some(config), reader.problems.into_sorted())
}

/// Messages of the parser only: its own rendering would show the line, and a line may hold a secret.
fn syntax_errors(text: &str, errors: &[toml::de::Error]) -> Vec<Problem> {
    let mut problems = Problems::new(text);
    for error in errors {
        problems.error(&error.span().unwrap_or(0..0), error.message());
    }
    problems.into_sorted()
}

fn read_top<'a>(reader: &mut Reader<'a>, top: &Section<'a>, file: &Path) -> Config {
    let s3 = reader.table(top, "s3", "[s3]", keys::S3);
    let data_dir = data_dir(reader, top);
    let backends = backends::read(reader, top, &data_dir);
    let buckets = buckets::read(reader, top);
    let names: Vec<_> = buckets.iter().map(|bucket| bucket.name.clone()).collect();
    let mounts = mounts::read(reader, top, &buckets);
    Config {
        file: file.to_owned(),
        data_dir,
        durability: durability(reader, top),
        stuck_after: reader.duration(top, "stuck_after").unwrap_or(STUCK_AFTER),
        s3: s3.map(|section| s3::read(reader, &section)).unwrap_or_default(),
        webhooks: webhooks::read(reader, top, &names),
        telemetry: telemetry::read(reader, top),
        snapshots: snapshots::read(reader, top, &backends),
        buckets,
        backends,
        mounts,
        log: log(reader, top),
        admin: admin::read(reader, top),
        scrub: scrub::read(reader, top),
        settings: Settings::default(),
    }
}

fn data_dir<'a>(reader: &mut Reader<'a>, top: &Section<'a>) -> PathBuf {
    let text = reader.text(top, "data_dir");
    if let Some(text) = &text
        && text.value.is_empty()
    {
        reader.problems.error(&text.span, "`data_dir` is empty");
    }
    reader.dir.join(text.map_or(DEFAULT_DATA_DIR.to_owned(), |t| t.value))
}

fn durability<'a>(reader: &mut Reader<'a>, top: &Section<'a>) -> Durability {
    match reader.word(top, "durability", &["power-loss", "process-crash"]).as_deref() {
        Some("process-crash") => Durability::ProcessCrash,
        _ => Durability::PowerLoss,
    }
}

fn log<'a>(reader: &mut Reader<'a>, top: &Section<'a>) -> Log {
    let Some(section) = reader.table(top, "log", "[log]", keys::LOG) else {
        return Log::default();
    };
    let format = reader.word(&section, "format", &["text", "json"]).map(|word| match word.as_str() {
        "text" => LogFormat::Text,
        _ => LogFormat::Json,
    });
    let level = reader.word(&section, "level", &["error", "warn", "info", "debug", "trace"]);
    let audit_file = reader.text(&section, "audit_file").map(|at| reader.dir.join(at.value));
    Log { format, level, audit_file }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::time::Duration;

    const GOOD: &str = r#"
data_dir = "/var/lib/x"
[s3]
listen = "127.0.0.1:0"
max_object_size = "1GiB"
[[buckets]]
name = "app1-files"
quota = "100GB"
copies = 1
acknowledge = "all"
placement = "pack"
anonymous = ["read"]
  [[buckets.credentials]]
  access_key_id = "AKID_APP1_WRITER"
  secret_access_key = "${APP1_SECRET}"
  rights = ["read", "write"]
[[backends]]
name = "local"
kind = "embedded"
quota = "50GB"
[admin]
"#;

    fn env(name: &str) -> Option<String> {
        (name == "APP1_SECRET").then(|| "correct-horse-battery".to_owned())
    }

    fn read(text: &str) -> (Option<Config>, Vec<Problem>) {
        parse(text, Path::new("x.toml"), Path::new("/etc"), 0o600, &env)
    }

    #[test]
    fn a_good_file() {
        let (config, problems) = read(GOOD);
        assert_eq!(problems, []);
        let config = config.unwrap();
        assert_eq!(config.data_dir, Path::new("/var/lib/x"));
        assert_eq!(config.s3.max_object_size_bytes, 1 << 30);
        assert_eq!(config.s3.multipart_expiry, Duration::from_secs(86_400));
        assert_eq!(config.backends.first().unwrap().quota_bytes, Some(50_000_000_000));
        let bucket = config.buckets.first().unwrap();
        assert_eq!(bucket.quota_bytes, Some(100_000_000_000));
        assert!(bucket.anonymous.read && !bucket.anonymous.write);
        let credential = bucket.credentials.first().unwrap();
        assert!(credential.rights.write && !credential.rights.delete);
        assert_eq!(credential.secret.expose(), "correct-horse-battery");
    }

    #[test]
    fn placement_is_a_buckets_own_or_that_of_all() {
        let placed = |text: &str| {
            let (config, problems) = read(text);
            assert_eq!(problems, []);
            config.unwrap().buckets.first().unwrap().policy.placement
        };
        let own = GOOD.replace("data_dir", "placement = \"spread\"\ndata_dir");
        let unsaid = own.replace("placement = \"pack\"", "");
        assert_eq!(placed(&own), store::Placement::Pack);
        assert_eq!(placed(&unsaid), store::Placement::Spread);
        assert_eq!(placed(&GOOD.replace("placement = \"pack\"", "")), store::Placement::Pack);
        let (config, problems) = read(&own.replace("\"spread\"", "\"spraed\""));
        assert!(config.is_none() && problems.len() == 1, "{problems:?}");
    }

    #[test]
    fn debug_output_has_no_secret() {
        let (config, _) = read(GOOD);
        assert!(!format!("{config:?}").contains("correct-horse"));
    }

    #[test]
    fn relative_paths_begin_at_the_file() {
        let (config, _) = read(&GOOD.replace("/var/lib/x", "here"));
        assert_eq!(config.unwrap().data_dir, Path::new("/etc/here"));
    }

    #[test]
    fn every_mistake_of_a_file_is_reported() {
        let text = GOOD.replace("listen", "lisen").replace("100GB", "lots").replace("[admin]", "x = 1");
        let (config, problems) = read(&text);
        assert!(config.is_none());
        let found: Vec<_> = problems.iter().map(|p| p.line).collect();
        assert_eq!(found, [4, 8, 21], "{problems:?}");
    }

    #[test]
    fn readable_secrets_are_warned_about() {
        let warned = |text: &str| {
            let (config, problems) = parse(text, Path::new("x"), Path::new(""), 0o644, &env);
            assert!(config.is_some());
            !problems.is_empty()
        };
        assert!(!warned(GOOD));
        assert!(warned(&GOOD.replace("${APP1_SECRET}", "correct-horse-battery")));
    }
}
