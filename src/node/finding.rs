//! What is not as it should be, and what to do about it.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something does not work, or is about to stop working.
    Error,
    /// It works, but somebody should look.
    Warning,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub severity: Severity,
    /// Stable, for scripts.
    pub code: String,
    pub message: String,
    pub remedy: String,
}

impl Finding {
    pub fn error(code: &str, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, message.into(), remedy.into())
    }

    pub fn warning(code: &str, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, message.into(), remedy.into())
    }

    fn new(severity: Severity, code: &str, message: String, remedy: String) -> Self {
        Self { severity, code: code.to_owned(), message, remedy }
    }

    pub fn text(&self) -> String {
        let word = match self.severity {
            Severity::Error => "ERROR",
            Severity::Warning => "warning",
        };
        format!("{word}: {}\n  -> {}\n", self.message, self.remedy)
    }
}
