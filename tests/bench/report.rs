//! Lines as they are measured, and all that has a limit once more at the end.

/// What a figure must be.
#[derive(Clone, Copy)]
pub enum Limit {
    AtLeast(f64),
    AtMost(f64),
}

#[derive(Default)]
pub struct Report {
    section: &'static str,
    lines: Vec<(String, bool)>,
}

impl Report {
    pub fn section(&mut self, name: &'static str) {
        self.section = name;
        println!("\n== {name} ==");
    }

    /// A figure without a limit.
    pub fn note(&self, text: &str) {
        println!("    {text}");
    }

    /// A figure with a limit; `how` says what it was made from.
    pub fn figure(&mut self, what: &str, value: f64, unit: &str, limit: Limit, how: &str) {
        let (met, sign, bound) = match limit {
            Limit::AtLeast(bound) => (value >= bound, ">=", bound),
            Limit::AtMost(bound) => (value <= bound, "<=", bound),
        };
        let verdict = if met { "ok" } else { "MISSED" };
        let line = format!("{verdict:6} {what:52} {:>9} {unit:5} {sign} {}", number(value), number(bound));
        println!("{line}    {how}");
        self.lines.push((line, met));
    }

    pub fn skip(&mut self, what: &str, why: &str) {
        let line = format!("SKIP   {what}: {why}");
        println!("{line}");
        self.lines.push((line, false));
    }

    pub fn end(&self) {
        println!("\n== all figures with a limit ==");
        self.lines.iter().for_each(|(line, _)| println!("{line}"));
        let met = self.lines.iter().filter(|(_, met)| *met).count();
        println!("{met} of {} met", self.lines.len());
    }
}

fn number(value: f64) -> String {
    if value.abs() >= 100.0 { format!("{value:.0}") } else { format!("{value:.3}") }
}

pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match (sorted.get(middle.wrapping_sub(1)), sorted.get(middle)) {
        (Some(below), Some(above)) if sorted.len().is_multiple_of(2) => (below + above) / 2.0,
        (_, Some(middle)) => *middle,
        _ => f64::NAN,
    }
}

/// The median of what each round's pair comes to: noise that lasts longer than a round cancels out.
pub fn median_ratio(ours: &[f64], theirs: &[f64]) -> f64 {
    let ratios: Vec<f64> = ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect();
    median(&ratios)
}
