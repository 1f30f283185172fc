//! The configuration: there, good, and not for everybody's eyes.

use super::{Check, Verdict};
use crate::config::{self, Config, LoadError};
use crate::config_file;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

const NAME: &str = "configuration";

pub fn check(named: Option<&Path>) -> (Vec<Check>, Option<Config>) {
    let file = match config_file::in_use(named) {
        Ok(file) => file,
        Err(error) => {
            let remedy = "make one: s3-orchestrator init";
            return (vec![Check::bad(NAME, Verdict::Warning, error.to_string(), remedy)], None);
        }
    };
    match config::load(&file, &config_file::environment) {
        Err(error) => {
            let remedy = match error {
                LoadError::Unreadable { .. } => {
                    "run this as the user of the node, which must be able to read it"
                }
                LoadError::Bad { .. } => {
                    "correct it; variables come from the environment that the node is started with"
                }
            };
            (vec![Check::bad(NAME, Verdict::Error, error.to_string(), remedy)], None)
        }
        Ok(loaded) => {
            let mut checks = vec![Check::good(NAME, format!("{} is good", file.display()))];
            for warning in &loaded.warnings {
                let message = warning.in_file(&file).to_string();
                checks.push(Check::bad(NAME, Verdict::Warning, message, "see s3-orchestrator.toml(5)"));
            }
            checks.extend(permissions(&file));
            (checks, Some(loaded.config))
        }
    }
}

/// Who can write to it decides who gets in.
fn permissions(file: &Path) -> Option<Check> {
    let mode = std::fs::metadata(file).ok()?.permissions().mode();
    let show = file.display();
    (mode & 0o022 != 0).then(|| {
        let message = format!("others than its owner may change {show}");
        Check::bad("configuration-permissions", Verdict::Error, message, format!("chmod go-w {show}"))
    })
}
