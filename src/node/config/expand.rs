//! `${VAR}` inside string values.
//!
//! `$${` stands for a literal `${`; every other `$` is itself, so that a secret with a dollar sign
//! needs no care.

/// Where values of variables come from: the environment, or a test.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The text with its variables replaced. A value is inserted as it is, never expanded again.
pub fn expand(text: &str, env: Env<'_>) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        if let Some(kept) = before.strip_suffix('$') {
            out.push_str(kept);
            out.push_str("${");
            rest = from.get(2..).unwrap_or_default();
            continue;
        }
        out.push_str(before);
        let (name, after) = variable(from)?;
        out.push_str(&value_of(name, env)?);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// Splits `${NAME}rest`.
fn variable(from: &str) -> Result<(&str, &str), String> {
    let inside = from.get(2..).unwrap_or_default();
    let Some((name, after)) = inside.split_once('}') else {
        return Err("`${` without `}`; write `$${` for a literal `${`".to_owned());
    };
    if is_name(name) {
        Ok((name, after))
    } else {
        Err("`${...}` does not name a variable; write `$${` for a literal `${`".to_owned())
    }
}

fn is_name(name: &str) -> bool {
    let begins = |c: char| c.is_ascii_alphabetic() || c == '_';
    let goes_on = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.starts_with(begins) && name.chars().all(goes_on)
}

fn value_of(name: &str, env: Env<'_>) -> Result<String, String> {
    env(name).ok_or_else(|| format!("the environment variable {name} is not set"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "A" => Some("1".to_owned()),
            "NESTED" => Some("${A}".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn variables_and_escapes() {
        for (text, value) in [
            ("plain", "plain"),
            ("${A}", "1"),
            ("x${A}y${A}", "x1y1"),
            ("$A $ $$ a$", "$A $ $$ a$"),
            ("$${A}", "${A}"),
            ("$$${A}", "$${A}"),
            ("${NESTED}", "${A}"),
            ("é${EMPTY}é", "éé"),
        ] {
            assert_eq!(expand(text, &env).unwrap(), value, "{text}");
        }
    }

    #[test]
    fn mistakes_are_errors() {
        for (text, part) in [
            ("${MISSING}", "MISSING is not set"),
            ("${A", "without `}`"),
            ("${}", "does not name"),
            ("${A-default}", "does not name"),
            ("${1}", "does not name"),
        ] {
            let error = expand(text, &env).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
