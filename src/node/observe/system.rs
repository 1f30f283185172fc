//! The process and its build, under the names that every exporter uses.

use super::encode::Figure;
use types::Timestamp;

/// The process, from `/proc/self` (proc(5)). What cannot be read is left out.
pub fn of_process(started: Timestamp) -> Vec<Figure> {
    let mut figures =
        vec![Figure::gauge("process_start_time_seconds", "When the process began", started.secs())];
    figures.extend(memory());
    figures.extend(files());
    figures.extend(cpu());
    figures
}

pub fn of_build() -> Figure {
    let label = |key, value: &str| (key, value.to_owned());
    let labels = vec![
        label("version", env!("CARGO_PKG_VERSION")),
        label("architecture", std::env::consts::ARCH),
        label("system", std::env::consts::OS),
    ];
    Figure::each("s3o_build", "Always 1; the labels say what runs", vec![(labels, 1.0)])
}

fn memory() -> Option<Figure> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    let bytes = pages * rustix::param::page_size() as u64;
    Some(Figure::gauge("process_resident_memory_bytes", "Memory that is resident", bytes))
}

fn files() -> Vec<Figure> {
    let open = std::fs::read_dir("/proc/self/fd").map(Iterator::count).ok();
    let open = open.map(|open| Figure::gauge("process_open_fds", "Open files", open));
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let limit = limit.map(|limit| Figure::gauge("process_max_fds", "Files that may be open", limit));
    open.into_iter().chain(limit).collect()
}

fn cpu() -> Option<Figure> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name before it is in parentheses and may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let user: u64 = fields.nth(11)?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    let seconds = (user + system) as f64 / rustix::param::clock_ticks_per_second() as f64;
    Some(Figure::counter("process_cpu_seconds", "Time on processors, user and system", seconds))
}

#[cfg(test)]
mod tests {
    use super::super::encode::Values;
    use super::*;

    #[test]
    fn the_process_shows_all_of_itself() {
        let figures = of_process(Timestamp::from_secs(1));
        let names: Vec<_> = figures.iter().map(|figure| figure.name).collect();
        assert_eq!(
            names,
            [
                "process_start_time_seconds",
                "process_resident_memory_bytes",
                "process_open_fds",
                "process_max_fds",
                "process_cpu_seconds"
            ]
        );
        let above_zero = |figure: &Figure| match &figure.values {
            Values::Gauge(values) | Values::Counter(values) => values.iter().all(|(_, value)| *value > 0.0),
            Values::Histogram(_) => false,
        };
        let all_known = figures.iter().take(4).all(above_zero);
        assert!(all_known, "{figures:?}");
    }
}
