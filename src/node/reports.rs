//! What ordered work that looks at bytes has found, line by line, for whoever asks. It is kept in memory:
//! after a restart the work goes on from its record, and its counts with it, but lines that were not asked
//! for are in the log only.

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Lines kept of one job; more are counted.
const LINES_MAX: usize = 10_000;
/// Jobs whose lines are kept: there is one of each kind and backend.
const JOBS_MAX: usize = 64;

/// How often each thing was found; what it is called is stable.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally(pub BTreeMap<String, u64>);

impl Tally {
    pub fn add(&mut self, what: &str, count: u64) {
        *self.0.entry(what.to_owned()).or_default() += count;
    }

    pub fn get(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or(0)
    }

    /// `3 adopted, 10 names`.
    pub fn words(&self) -> String {
        let found = self.0.iter().filter(|(_, count)| **count > 0);
        found.map(|(what, count)| format!("{count} {what}")).collect::<Vec<_>>().join(", ")
    }
}

/// One thing that was found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Line {
    pub what: String,
    /// A name on the backend.
    pub location: String,
    pub bytes: u64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

#[derive(Debug, Clone, Default)]
pub struct Report {
    pub tally: Tally,
    pub lines: Vec<Line>,
    /// Lines for which there was no room.
    pub dropped: u64,
}

#[derive(Default)]
pub struct Reports(Mutex<BTreeMap<String, Report>>);

impl Reports {
    /// Work of this name begins anew.
    pub fn begin(&self, job: &str) {
        let mut reports = self.0.lock();
        if reports.len() >= JOBS_MAX && !reports.contains_key(job) {
            reports.pop_first();
        }
        reports.insert(job.to_owned(), Report::default());
    }

    pub fn tell(&self, job: &str, tally: &Tally, lines: Vec<Line>) {
        let mut reports = self.0.lock();
        let report = reports.entry(job.to_owned()).or_default();
        report.tally.clone_from(tally);
        for line in lines {
            match report.lines.len() < LINES_MAX {
                true => report.lines.push(line),
                false => report.dropped += 1,
            }
        }
    }

    /// The lines behind the first `from`, `max` at most.
    pub fn read(&self, job: &str, from: usize, max: usize) -> Report {
        let reports = self.0.lock();
        let Some(report) = reports.get(job) else { return Report::default() };
        let lines = report.lines.iter().skip(from).take(max).cloned().collect();
        Report { tally: report.tally.clone(), lines, dropped: report.dropped }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_in_pieces_and_bounded() {
        let reports = Reports::default();
        let line = |n: usize| Line {
            what: "missing".into(),
            location: n.to_string(),
            bytes: 1,
            note: String::new(),
        };
        let mut tally = Tally::default();
        tally.add("missing", 3);
        reports.begin("x");
        reports.tell("x", &tally, (0..LINES_MAX + 5).map(line).collect());
        let read = reports.read("x", 9_999, 10);
        assert_eq!((read.lines.len(), read.dropped, read.tally.words()), (1, 5, "3 missing".to_owned()));
        assert_eq!(reports.read("y", 0, 10).lines.len(), 0);
        reports.begin("x");
        assert_eq!(reports.read("x", 0, 10).lines.len(), 0);
    }
}
