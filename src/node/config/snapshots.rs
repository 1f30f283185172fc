//! `[snapshots]`: where copies of the records are kept, how often they are taken, how many are kept.

use super::backends::{Backend, Kind};
use super::keys;
use super::reader::{Reader, Section};
use std::time::Duration;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshots {
    /// None: all but the data directory.
    pub backends: Vec<String>,
    /// `None`: only on demand.
    pub every: Option<Duration>,
    /// On each backend.
    pub keep: usize,
}

impl Default for Snapshots {
    fn default() -> Self {
        // Two days of hourly ones.
        Self { backends: Vec::new(), every: None, keep: 48 }
    }
}

const EVERY: Duration = Duration::from_secs(3600);

pub fn read<'a>(reader: &mut Reader<'a>, top: &Section<'a>, backends: &[Backend]) -> Snapshots {
    let Some(section) = reader.table(top, "snapshots", "[snapshots]", keys::SNAPSHOTS) else {
        return Snapshots::default();
    };
    let usable = |backend: &&Backend| !matches!(backend.kind, Kind::Embedded);
    let usable: Vec<&str> = backends.iter().filter(usable).map(|backend| backend.name.as_str()).collect();
    if usable.is_empty() {
        let message = "there is no backend beside the data directory to keep snapshots";
        reader.problems.error(&section.span, message);
    }
    let mut snapshots = Snapshots { every: Some(EVERY), ..Snapshots::default() };
    for at in reader.texts(&section, "backends").unwrap_or_default() {
        if usable.contains(&at.value.as_str()) {
            snapshots.backends.push(at.value);
            continue;
        }
        let message =
            format!("\"{}\" is no backend for snapshots; there are: {}", at.value, usable.join(", "));
        reader.problems.error(&at.span, message);
    }
    snapshots.every = reader.duration(&section, "every").or(snapshots.every);
    snapshots.keep = reader.count(&section, "keep").unwrap_or(snapshots.keep);
    if snapshots.keep == 0 {
        reader.problems.error(&section.span_of("keep"), "`keep` is at least 1");
    }
    snapshots
}
