//! Typed access to the tables of a parsed file. A value of the wrong type is noted with its place
//! and then treated as absent, so that one mistake does not hide the next.

use super::expand::{Env, expand};
use super::keys;
use super::problem::Problems;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

pub type Span = Range<usize>;

/// A value and where it stands.
#[derive(Debug, Clone)]
pub struct At<T> {
    pub value: T,
    pub span: Span,
}

/// One table of the file, its unknown keys already reported.
#[derive(Debug, Clone)]
pub struct Section<'a> {
    pub span: Span,
    table: &'a DeTable<'a>,
}

impl<'a> Section<'a> {
    pub fn get(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.table.get(key)
    }

    pub fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Where the value of `key` stands, or the table if there is none.
    pub fn span_of(&self, key: &str) -> Span {
        self.get(key).map_or(self.span.clone(), Spanned::span)
    }
}

pub struct Reader<'a> {
    pub problems: Problems<'a>,
    /// Relative paths begin here: the folder of the file.
    pub dir: &'a Path,
    pub env: Env<'a>,
    /// A secret stands in the file itself, rather than in a variable or another file.
    pub inline_secret: bool,
}

impl<'a> Reader<'a> {
    pub fn section(
        &mut self,
        table: &'a DeTable<'a>,
        span: Span,
        title: &str,
        valid: &[&str],
    ) -> Section<'a> {
        for key in table.keys() {
            let name: &str = key.get_ref();
            if !valid.contains(&name) {
                let message = keys::unknown(name, title, valid);
                self.problems.error(&key.span(), message);
            }
        }
        Section { span, table }
    }

    /// `[key]`; `None` if the file does not have it.
    pub fn table(
        &mut self,
        parent: &Section<'a>,
        key: &str,
        title: &str,
        valid: &[&str],
    ) -> Option<Section<'a>> {
        let value = parent.get(key)?;
        match value.get_ref() {
            DeValue::Table(table) => Some(self.section(table, value.span(), title, valid)),
            other => {
                self.wrong_type(value.span(), key, &format!("a table, {title}"), other);
                None
            }
        }
    }

    /// `[[key]]`, as often as the file has it.
    pub fn tables(
        &mut self,
        parent: &Section<'a>,
        key: &str,
        title: &str,
        valid: &[&str],
    ) -> Vec<Section<'a>> {
        let Some(value) = parent.get(key) else {
            return Vec::new();
        };
        let expected = format!("a list of tables, {title}");
        let DeValue::Array(items) = value.get_ref() else {
            self.wrong_type(value.span(), key, &expected, value.get_ref());
            return Vec::new();
        };
        let mut sections = Vec::with_capacity(items.len());
        for item in items {
            match item.get_ref() {
                DeValue::Table(table) => {
                    sections.push(self.section(table, item.span(), title, valid));
                }
                other => self.wrong_type(item.span(), key, &expected, other),
            }
        }
        sections
    }

    pub fn text(&mut self, section: &Section<'a>, key: &str) -> Option<At<String>> {
        let value = section.get(key)?;
        self.text_of(value, key)
    }

    /// Like `text`; its absence is an error.
    pub fn required(&mut self, section: &Section<'a>, key: &str) -> Option<At<String>> {
        if !section.has(key) {
            let message = format!("`{key}` is missing");
            self.problems.error(&section.span, message);
        }
        self.text(section, key)
    }

    /// A list of strings; `None` if the key is absent.
    pub fn texts(&mut self, section: &Section<'a>, key: &str) -> Option<Vec<At<String>>> {
        let value = section.get(key)?;
        let DeValue::Array(items) = value.get_ref() else {
            self.wrong_type(value.span(), key, "a list of strings", value.get_ref());
            return None;
        };
        Some(items.iter().filter_map(|item| self.text_of(item, key)).collect())
    }

    /// A list of words out of `valid`; `None` if the key is absent.
    pub fn words(&mut self, section: &Section<'a>, key: &str, valid: &[&str]) -> Option<Vec<String>> {
        let value = section.get(key)?;
        let DeValue::Array(items) = value.get_ref() else {
            self.wrong_type(value.span(), key, "a list of strings", value.get_ref());
            return None;
        };
        let mut words = Vec::with_capacity(items.len());
        for item in items {
            if let Some(word) = self.text_of(item, key) {
                words.extend(self.one_of(word, key, valid));
            }
        }
        Some(words)
    }

    /// A word out of `valid`.
    pub fn word(&mut self, section: &Section<'a>, key: &str, valid: &[&str]) -> Option<String> {
        let word = self.text(section, key)?;
        self.one_of(word, key, valid)
    }

    pub fn boolean(&mut self, section: &Section<'a>, key: &str) -> Option<bool> {
        let value = section.get(key)?;
        if value.get_ref().as_bool().is_none() {
            self.wrong_type(value.span(), key, "true or false", value.get_ref());
        }
        value.get_ref().as_bool()
    }

    /// A count of things, at least 1.
    pub fn count(&mut self, section: &Section<'a>, key: &str) -> Option<usize> {
        let value = section.get(key)?;
        match value.get_ref() {
            DeValue::Integer(_) => {
                let count = integer(value.get_ref()).and_then(|n| usize::try_from(n).ok());
                self.positive(count, value.span(), key)
            }
            other => {
                self.wrong_type(value.span(), key, "a whole number", other);
                None
            }
        }
    }

    /// A number of 32 bits, also zero.
    pub fn number(&mut self, section: &Section<'a>, key: &str) -> Option<u32> {
        let value = section.get(key)?;
        let number = integer(value.get_ref()).and_then(|n| u32::try_from(n).ok());
        if number.is_none() {
            self.wrong_type(value.span(), key, "a whole number of 32 bits", value.get_ref());
        }
        number
    }

    /// `"64KiB"`, or a number of bytes.
    pub fn size(&mut self, section: &Section<'a>, key: &str) -> Option<u64> {
        let value = section.get(key)?;
        match value.get_ref() {
            DeValue::Integer(_) => self.positive(integer(value.get_ref()), value.span(), key),
            DeValue::String(_) => {
                let text = self.text_of(value, key)?;
                let size = self.parsed(&text, types::parse_size(&text.value))?;
                self.positive(Some(size), text.span, key)
            }
            other => {
                let expected = "a size such as \"64KiB\" or \"5GB\"";
                self.wrong_type(value.span(), key, expected, other);
                None
            }
        }
    }

    /// `"500ms"`, `"24h"`.
    pub fn duration(&mut self, section: &Section<'a>, key: &str) -> Option<Duration> {
        let value = section.get(key)?;
        let DeValue::String(_) = value.get_ref() else {
            let expected = "a duration such as \"500ms\" or \"24h\"";
            self.wrong_type(value.span(), key, expected, value.get_ref());
            return None;
        };
        let text = self.text_of(value, key)?;
        let duration = self.parsed(&text, types::parse_duration(&text.value))?;
        if duration.is_zero() {
            self.problems.error(&text.span, format!("`{key}` must be more than zero"));
            return None;
        }
        Some(duration)
    }

    /// The value of a check of `at`, or its complaint noted.
    pub fn parsed<T, V>(&mut self, at: &At<T>, result: Result<V, String>) -> Option<V> {
        result.map_err(|message| self.problems.error(&at.span, message)).ok()
    }

    fn text_of(&mut self, value: &Spanned<DeValue<'a>>, key: &str) -> Option<At<String>> {
        let span = value.span();
        let Some(text) = value.get_ref().as_str() else {
            self.wrong_type(span, key, "a string", value.get_ref());
            return None;
        };
        match expand(text, self.env) {
            Ok(value) => Some(At { value, span }),
            Err(message) => {
                self.problems.error(&span, format!("`{key}`: {message}"));
                None
            }
        }
    }

    fn one_of(&mut self, word: At<String>, key: &str, valid: &[&str]) -> Option<String> {
        if valid.contains(&word.value.as_str()) {
            return Some(word.value);
        }
        let hint = keys::nearest(&word.value, valid)
            .map_or(String::new(), |near| format!("; did you mean \"{near}\"?"));
        let quoted: Vec<_> = valid.iter().map(|v| format!("\"{v}\"")).collect();
        let message = format!("`{key}` takes {}{hint}", quoted.join(", "));
        self.problems.error(&word.span, message);
        None
    }

    fn positive<N: PartialOrd + From<u8>>(&mut self, number: Option<N>, span: Span, key: &str) -> Option<N> {
        let number = number.filter(|n| *n >= N::from(1));
        if number.is_none() {
            self.problems.error(&span, format!("`{key}` must be more than zero"));
        }
        number
    }

    fn wrong_type(&mut self, span: Span, key: &str, expected: &str, found: &DeValue<'_>) {
        let found = found.type_str();
        let message = format!("`{key}` must be {expected}; this is of type {found}");
        self.problems.error(&span, message);
    }
}

/// The number that an integer of TOML stands for; `None` below zero and above 64 bits.
pub fn integer(value: &DeValue<'_>) -> Option<u64> {
    let integer = value.as_integer()?;
    u64::from_str_radix(integer.as_str(), integer.radix()).ok()
}
