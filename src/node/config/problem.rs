//! What is wrong with a configuration, and where: all of it, not only the first.

use std::fmt;
use std::ops::Range;
use std::path::Path;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Error,
    Warning,
}

impl Severity {
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One finding. Lines and columns count from 1, columns in characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub severity: Severity,
    pub line: usize,
    pub column: usize,
    pub message: String,
}

impl Problem {
    /// `FILE:LINE:COLUMN: error: MESSAGE`, the form that editors and terminals make clickable.
    pub fn in_file<'a>(&'a self, file: &'a Path) -> impl fmt::Display + 'a {
        InFile { problem: self, file }
    }
}

struct InFile<'a> {
    problem: &'a Problem,
    file: &'a Path,
}

impl fmt::Display for InFile<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem { severity, line, column, message } = self.problem;
        let severity = severity.name();
        let file = self.file.display();
        write!(f, "{file}:{line}:{column}: {severity}: {message}")
    }
}

/// Collects findings while a text is read.
#[derive(Debug)]
pub struct Problems<'a> {
    text: &'a str,
    found: Vec<(usize, Problem)>,
}

impl<'a> Problems<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { text, found: Vec::new() }
    }

    pub fn error(&mut self, span: &Range<usize>, message: impl Into<String>) {
        self.add(Severity::Error, span.start, message.into());
    }

    pub fn warning(&mut self, span: &Range<usize>, message: impl Into<String>) {
        self.add(Severity::Warning, span.start, message.into());
    }

    pub fn any_error(&self) -> bool {
        let is_error = |(_, p): &(usize, Problem)| p.severity == Severity::Error;
        self.found.iter().any(is_error)
    }

    /// In the order of the text.
    pub fn into_sorted(mut self) -> Vec<Problem> {
        self.found.sort_by_key(|(offset, _)| *offset);
        self.found.into_iter().map(|(_, problem)| problem).collect()
    }

    pub fn line(&self, offset: usize) -> usize {
        position(self.text, offset).0
    }

    fn add(&mut self, severity: Severity, offset: usize, message: String) {
        let (line, column) = position(self.text, offset);
        let problem = Problem { severity, line, column, message };
        self.found.push((offset, problem));
    }
}

fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
    let column = before.get(line_start..).map_or(0, |line| line.chars().count()) + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        let text = "a = 1\né = 2\n";
        assert_eq!(position(text, 0), (1, 1));
        assert_eq!(position(text, 4), (1, 5));
        assert_eq!(position(text, 11), (2, 5));
        assert_eq!(position(text, 999), (3, 1));
    }

    #[test]
    fn findings_come_in_the_order_of_the_text() {
        let mut problems = Problems::new("a\nb\n");
        problems.error(&(2..3), "second");
        problems.warning(&(0..1), "first");
        assert!(problems.any_error());
        let shown: Vec<_> =
            problems.into_sorted().iter().map(|p| p.in_file(Path::new("x.toml")).to_string()).collect();
        assert_eq!(shown, ["x.toml:1:1: warning: first", "x.toml:2:1: error: second"]);
    }
}
