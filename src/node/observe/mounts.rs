//! What mounts were asked for, and what the kernel keeps of them.

use super::encode::{Figure, Labels, Spread};
use crate::mounts::Running;
use fuse::{Asked, BOUNDS, Report};
use std::collections::BTreeMap;

/// By their path: of two that have one, as while the older one is leaving, the newer.
pub fn of(running: &[Running]) -> Vec<Figure> {
    let path = |running: &Running| running.mount.path().display().to_string();
    let reports: BTreeMap<String, Report> = running.iter().map(|r| (path(r), r.mount.report())).collect();
    let mut figures = of_requests(&reports);
    figures.extend(of_state(&reports));
    figures
}

fn of_requests(reports: &BTreeMap<String, Report>) -> Vec<Figure> {
    let asked: Vec<(&String, &Asked)> = reports
        .iter()
        .flat_map(|(path, report)| report.asked.iter().map(move |asked| (path, asked)))
        .collect();
    let labels = |path: &str, asked: &Asked| -> Labels {
        vec![("mount", path.to_owned()), ("operation", asked.operation.to_owned())]
    };
    let mut answers = Vec::new();
    let mut seconds = Vec::new();
    for (path, asked) in asked {
        let own = labels(path, asked);
        answers.extend(asked.answers.iter().map(|(errno, count)| {
            let errno = ("errno", (*errno).to_owned());
            (own.iter().cloned().chain([errno]).collect::<Labels>(), *count as f64)
        }));
        seconds.push((own, spread(asked)));
    }
    vec![
        Figure::each_counter("mount_requests", "Requests of the kernel, by what was answered", answers),
        Figure::each_spread("mount_request_seconds", "From the kernel's request to the answer", seconds),
    ]
}

fn spread(asked: &Asked) -> Spread {
    let bounds = BOUNDS.iter().map(|bound| bound.as_secs_f64()).chain([f64::INFINITY]);
    Spread { sum: asked.total.as_secs_f64(), buckets: bounds.zip(asked.buckets).collect() }
}

fn of_state(reports: &BTreeMap<String, Report>) -> Vec<Figure> {
    let each = |value: fn(&Report) -> f64| -> Vec<(Labels, f64)> {
        reports.iter().map(|(path, report)| (vec![("mount", path.clone())], value(report))).collect()
    };
    vec![
        Figure::each("mount_requests_in_flight", "Requests without an answer", each(|r| r.in_flight as f64)),
        Figure::each("mount_open_handles", "Open files and directories", each(|r| r.open_handles as f64)),
        Figure::each("mount_inodes", "What the kernel remembers", each(|r| r.inodes as f64)),
        Figure::each("mount_staged_files", "Files that are being written", each(|r| r.staged_files as f64)),
        Figure::each("mount_staged_bytes", "Their bytes", each(|r| r.staged_bytes as f64)),
        Figure::each_counter(
            "mount_notices",
            "Names and inodes that the kernel was told to let go of",
            each(|r| r.notices as f64),
        ),
        Figure::each(
            "mount_notices_waiting",
            "Commits that the kernel is being told of",
            each(|r| r.notices_waiting as f64),
        ),
    ]
}
