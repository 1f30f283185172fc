//! Numbers and tables as people read them.

use std::time::Duration;

const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/// `1.5 GiB`: three digits at least, rounded down.
pub fn size(bytes: u64) -> String {
    let mut unit = 0;
    let mut scale = 1u64;
    while bytes / scale >= 1024 && unit + 1 < UNITS.len() {
        scale <<= 10;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or_default();
    let (whole, tenths) = (bytes / scale, u128::from(bytes % scale) * 10 / u128::from(scale));
    match unit {
        0 => format!("{bytes} {name}"),
        _ if whole < 100 => format!("{whole}.{tenths} {name}"),
        _ => format!("{whole} {name}"),
    }
}

/// The two largest units: `3 d 4 h`, `59 s`.
pub fn duration(time: Duration) -> String {
    let secs = time.as_secs();
    let parts = [(secs / 86_400, "d"), (secs / 3600 % 24, "h"), (secs / 60 % 60, "min"), (secs % 60, "s")];
    let mut shown = parts.iter().skip_while(|(count, _)| *count == 0).take(2);
    let first = shown.next().map_or("0 s".to_owned(), |(count, unit)| format!("{count} {unit}"));
    match shown.next() {
        Some((count, unit)) if *count > 0 => format!("{first} {count} {unit}"),
        _ => first,
    }
}

/// `1 bucket`, `2 buckets`, `2 copies`.
pub fn count(number: u64, noun: &str) -> String {
    match noun.strip_suffix('y') {
        _ if number == 1 => format!("1 {noun}"),
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{number} {stem}ies"),
        _ => format!("{number} {noun}s"),
    }
}

/// Columns as wide as their widest cell, two spaces apart; columns of numbers stand to the right.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let columns: Vec<_> = head.iter().enumerate().map(|(at, name)| Column::of(at, name, rows)).collect();
    let mut text = line(head.iter().copied(), &columns);
    for row in rows {
        text.push_str(&line(row.iter().map(String::as_str), &columns));
    }
    text
}

struct Column {
    width: usize,
    numbers: bool,
}

impl Column {
    fn of(at: usize, name: &str, rows: &[Vec<String>]) -> Self {
        let cells = || rows.iter().filter_map(|row| row.get(at));
        let width = cells().map(|cell| cell.chars().count()).fold(name.len(), usize::max);
        let number = |cell: &String| cell.starts_with(|c: char| c.is_ascii_digit()) || cell == "-";
        Self { width, numbers: !rows.is_empty() && cells().all(number) }
    }
}

fn line<'a>(cells: impl Iterator<Item = &'a str>, columns: &[Column]) -> String {
    let padded = cells.zip(columns).map(|(cell, Column { width, numbers })| match numbers {
        true => format!("{cell:>width$}"),
        false => format!("{cell:<width$}"),
    });
    let line = padded.collect::<Vec<_>>().join("  ");
    format!("  {}\n", line.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536 << 20, "1.5 GiB"),
            (150 << 20, "150 MiB"),
            (u64::MAX, "16383 PiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn counts() {
        let counted =
            [count(1, "copy"), count(2, "copy"), count(0, "key"), count(1, "blob"), count(3, "blob")];
        assert_eq!(counted, ["1 copy", "2 copies", "0 keys", "1 blob", "3 blobs"]);
    }

    #[test]
    fn durations() {
        for (secs, text) in
            [(0, "0 s"), (59, "59 s"), (60, "1 min"), (90_061, "1 d 1 h"), (3_661, "1 h 1 min")]
        {
            assert_eq!(duration(Duration::from_secs(secs)), text);
        }
    }

    #[test]
    fn tables_are_aligned() {
        let rows = [vec!["a".to_owned(), "10".to_owned()], vec!["long".to_owned(), "5".to_owned()]];
        assert_eq!(table(&["name", "n"], &rows), "  name   n\n  a     10\n  long   5\n");
    }
}
