//! Credentials: listed without their secrets, made, changed and removed while the node runs.

use super::{Fault, FaultCode};
use crate::config::{self, Change, Config, Origin, check_access_key_id, check_secret};
use crate::new_key;
use crate::node::Node;
use s3api::{Rights, Secret};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    List {},
    /// What is left open is made up.
    Add {
        bucket: String,
        access_key_id: Option<String>,
        secret_access_key: Option<String>,
        rights: Option<Vec<Right>>,
    },
    /// Another secret; the old one is refused from now on.
    Rotate {
        access_key_id: String,
        secret_access_key: Option<String>,
    },
    Limit {
        access_key_id: String,
        rights: Vec<Right>,
    },
    Remove {
        access_key_id: String,
    },
    /// As the configuration has it.
    Restore {
        access_key_id: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Right {
    Read,
    Write,
    Delete,
}

#[derive(Clone, Serialize, Deserialize)]
pub struct Credentials {
    pub credentials: Vec<Line>,
    /// A secret that was made up: shown this once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made: Option<Made>,
}

#[derive(Clone, Serialize, Deserialize)]
pub struct Made {
    pub access_key_id: String,
    pub secret_access_key: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Line {
    pub access_key_id: String,
    pub bucket: String,
    pub rights: Vec<Right>,
    pub origin: Source,
}

/// Who says that it is so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    Configuration,
    /// In the configuration, and changed by command.
    Changed,
    /// Made by command.
    Added,
}

pub async fn answer(node: Arc<Node>, request: Request) -> Result<Credentials, Fault> {
    let mut control = node.control.lock().await;
    let Some(edit) = edit(&node.config(), control.changes(), request)? else {
        return Ok(Credentials { credentials: lines(&node.config(), None), made: None });
    };
    node.change_credentials(&mut control, edit.changes).await?;
    tracing::info!(access_key_id = edit.id, what = edit.what, "credential changed by command");
    Ok(Credentials { credentials: lines(&node.config(), Some(&edit.id)), made: edit.made })
}

/// A change that may be made.
struct Edit {
    id: String,
    what: &'static str,
    changes: Vec<Change>,
    made: Option<Made>,
}

fn edit(config: &Config, changes: &[Change], request: Request) -> Result<Option<Edit>, Fault> {
    let changes = changes.to_vec();
    Ok(Some(match request {
        Request::List {} => return Ok(None),
        Request::Add { bucket, access_key_id, secret_access_key, rights } => {
            add(config, changes, bucket, access_key_id, secret_access_key, rights)?
        }
        Request::Rotate { access_key_id, secret_access_key } => {
            present(config, &access_key_id)?;
            let (secret, made) = secret_or_made(&access_key_id, secret_access_key)?;
            let change = |change: &mut Change| change.secret = Some(secret);
            Edit { made, ..edited("rotated", changes, access_key_id, change) }
        }
        Request::Limit { access_key_id, rights } => {
            present(config, &access_key_id)?;
            let rights = Some(granted(&rights));
            edited("limited", changes, access_key_id, |change| change.rights = rights)
        }
        Request::Remove { access_key_id } => remove(config, changes, access_key_id)?,
        Request::Restore { access_key_id } => restore(changes, access_key_id)?,
    }))
}

fn add(
    config: &Config,
    mut changes: Vec<Change>,
    bucket: String,
    access_key_id: Option<String>,
    secret: Option<String>,
    rights: Option<Vec<Right>>,
) -> Result<Edit, Fault> {
    if !config.buckets.iter().any(|known| known.name.as_str() == bucket) {
        return Err(Fault::not_found(format!("there is no bucket {bucket} in the configuration")));
    }
    let id = access_key_id.map_or_else(|| new_key::access_key_id().map_err(failed), Ok)?;
    check_access_key_id(&id).map_err(Fault::bad_request)?;
    if find(config, &id).is_some() || changes.iter().any(|change| change.access_key_id == id) {
        let hint = "; one that was removed by command comes back with `credentials restore`";
        return Err(conflict(format!("there is a credential {id} already{hint}")));
    }
    let (secret, made) = secret_or_made(&id, secret)?;
    let rights = rights.as_deref().map(granted);
    changes.push(Change { bucket: Some(bucket), secret: Some(secret), rights, ..Change::to(&id) });
    Ok(Edit { id, what: "added", changes, made })
}

/// Changes the entry of an id, making it if need be.
fn edited(
    what: &'static str,
    mut changes: Vec<Change>,
    id: String,
    change: impl FnOnce(&mut Change),
) -> Edit {
    match changes.iter_mut().find(|entry| entry.access_key_id == id) {
        Some(entry) => change(entry),
        None => {
            let mut entry = Change::to(&id);
            change(&mut entry);
            changes.push(entry);
        }
    }
    Edit { id, what, changes, made: None }
}

fn remove(config: &Config, mut changes: Vec<Change>, id: String) -> Result<Edit, Fault> {
    if present(config, &id)?.origin == Origin::Added {
        changes.retain(|entry| entry.access_key_id != id);
        return Ok(Edit { id, what: "removed", changes, made: None });
    }
    Ok(edited("removed", changes, id, |change| change.removed = true))
}

fn restore(mut changes: Vec<Change>, id: String) -> Result<Edit, Fault> {
    let is_change = |entry: &Change| entry.access_key_id == id && entry.bucket.is_none();
    if !changes.iter().any(is_change) {
        return Err(Fault::not_found(format!(
            "no credential {id} of the configuration was changed by command"
        )));
    }
    changes.retain(|entry| !is_change(entry));
    Ok(Edit { id, what: "restored", changes, made: None })
}

fn find<'a>(config: &'a Config, id: &str) -> Option<&'a config::Credential> {
    config.buckets.iter().flat_map(|bucket| &bucket.credentials).find(|c| c.access_key_id == id)
}

fn present<'a>(config: &'a Config, id: &str) -> Result<&'a config::Credential, Fault> {
    find(config, id).ok_or_else(|| Fault::not_found(format!("there is no credential {id}")))
}

/// The secret, and what to show if it was made up here.
fn secret_or_made(id: &str, given: Option<String>) -> Result<(Secret, Option<Made>), Fault> {
    let Some(given) = given else {
        let secret = new_key::secret_access_key().map_err(failed)?;
        let made = Made { access_key_id: id.to_owned(), secret_access_key: secret.clone() };
        return Ok((Secret::new(secret), Some(made)));
    };
    check_secret(&given, id).map_err(Fault::bad_request)?;
    Ok((Secret::new(given), None))
}

fn conflict(message: String) -> Fault {
    Fault::new(FaultCode::Conflict, message)
}

fn failed(error: anyhow::Error) -> Fault {
    Fault::new(FaultCode::Failed, error.to_string())
}

fn granted(rights: &[Right]) -> Rights {
    let has = |right| rights.contains(&right);
    Rights { read: has(Right::Read), write: has(Right::Write), delete: has(Right::Delete) }
}

/// All credentials, or one.
fn lines(config: &Config, only: Option<&str>) -> Vec<Line> {
    let all = config.buckets.iter().flat_map(|bucket| bucket.credentials.iter().map(move |c| (bucket, c)));
    let wanted = all.filter(|(_, c)| only.is_none_or(|id| c.access_key_id == id));
    wanted
        .map(|(bucket, credential)| Line {
            access_key_id: credential.access_key_id.clone(),
            bucket: bucket.name.as_str().to_owned(),
            rights: words(credential.rights),
            origin: match credential.origin {
                Origin::Configuration => Source::Configuration,
                Origin::Changed => Source::Changed,
                Origin::Added => Source::Added,
            },
        })
        .collect()
}

fn words(rights: Rights) -> Vec<Right> {
    let all = [(rights.read, Right::Read), (rights.write, Right::Write), (rights.delete, Right::Delete)];
    all.into_iter().filter(|(has, _)| *has).map(|(_, right)| right).collect()
}
