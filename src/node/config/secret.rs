//! Secret access keys: given in the file, through the environment, or in a file of their own.

use super::reader::{At, Reader, Section};
use s3api::Secret;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use zeroize::Zeroizing;

/// Shorter ones can be tried out; AWS's own have 40.
const MIN_SECRET_CHARS: usize = 8;
/// A secret is one line; a larger file is a mistake.
const MAX_SECRET_FILE_BYTES: u64 = 4096;

/// Defaults and placeholders that everybody knows, and that scanners try first.
const WELL_KNOWN: &[&str] = &[
    "minioadmin",
    "minio123",
    "rustfsadmin",
    "password",
    "password1",
    "password123",
    "passw0rd",
    "changeme",
    "changeit",
    "change-me",
    "secretkey",
    "secret-key",
    "secret_key",
    "secret_access_key",
    "my-secret-key",
    "accesskey",
    "access_key",
    "adminadmin",
    "admin123",
    "administrator",
    "testtest",
    "test1234",
    "12345678",
    "123456789",
    "1234567890",
    "qwertyuiop",
    "s3orchestrator",
    "s3-orchestrator",
    "your_secret_key",
    "your-secret-key",
];

/// The key pair of AWS's documentation: in every tutorial, and in every scanner.
const AWS_EXAMPLE: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

/// The secret of a table that has `secret_access_key` or `secret_access_key_file`.
pub fn read_secret<'a>(
    reader: &mut Reader<'a>,
    section: &Section<'a>,
    access_key_id: &str,
) -> Option<Secret> {
    let secret = one_source(reader, section, "secret_access_key", "secret_access_key_file")?;
    if let Err(why) = judge(&secret.value, access_key_id) {
        reader.problems.error(&secret.span, why);
        return None;
    }
    if *secret.value == AWS_EXAMPLE {
        reader.problems.warning(&secret.span, "this is the secret of AWS's documentation");
    }
    Some(Secret::new(secret.value.to_string()))
}

/// The secret of a provider's account. The provider has made it: whether it is a good one is not ours
/// to judge.
pub fn read_secret_of_provider<'a>(reader: &mut Reader<'a>, section: &Section<'a>) -> Option<Secret> {
    let secret = one_source(reader, section, "secret_access_key", "secret_access_key_file")?;
    if let Err(why) = well_formed(&secret.value) {
        reader.problems.error(&secret.span, why);
        return None;
    }
    Some(Secret::new(secret.value.to_string()))
}

/// A secret that two sides know, under the names of its keys.
pub fn read_named_secret<'a>(
    reader: &mut Reader<'a>,
    section: &Section<'a>,
    key: &str,
    file: &str,
) -> Option<Secret> {
    let secret = one_source(reader, section, key, file)?;
    if let Err(why) = judge(&secret.value, "") {
        reader.problems.error(&secret.span, why);
        return None;
    }
    Some(Secret::new(secret.value.to_string()))
}

fn one_source<'a>(
    reader: &mut Reader<'a>,
    section: &Section<'a>,
    key: &str,
    file: &str,
) -> Option<At<Zeroizing<String>>> {
    match (section.has(key), section.has(file)) {
        (true, true) => {
            let message = format!("`{key}` and `{file}` exclude each other");
            reader.problems.error(&section.span_of(file), message);
            None
        }
        (false, false) => {
            let message = format!("`{key}` or `{file}` is missing");
            reader.problems.error(&section.span, message);
            None
        }
        (true, false) => {
            let raw = section.get(key).and_then(|v| v.get_ref().as_str());
            reader.inline_secret |= raw.is_some_and(|text| !text.contains("${"));
            let At { value, span } = reader.text(section, key)?;
            let value = Zeroizing::new(value);
            Some(At { value, span })
        }
        (false, true) => {
            let path = reader.text(section, file)?;
            let secret = from_file(reader, &path);
            let value = reader.parsed(&path, secret)?;
            let span = path.span;
            Some(At { value, span })
        }
    }
}

fn from_file(reader: &mut Reader<'_>, path: &At<String>) -> Result<Zeroizing<String>, String> {
    let file = reader.dir.join(PathBuf::from(&path.value));
    let show = file.display();
    let failed = |error: std::io::Error| format!("cannot read the secret in {show}: {error}");
    let about = std::fs::metadata(&file).map_err(failed)?;
    if about.len() > MAX_SECRET_FILE_BYTES {
        return Err(format!("{show} has more than {MAX_SECRET_FILE_BYTES} bytes"));
    }
    if about.permissions().mode() & 0o004 != 0 {
        let message = format!("everybody on this machine can read {show}; chmod 600 it");
        reader.problems.warning(&path.span, message);
    }
    let text = Zeroizing::new(std::fs::read_to_string(&file).map_err(failed)?);
    Ok(Zeroizing::new(without_line_end(&text).to_owned()))
}

/// Editors and `echo` end a file with a line end that is not part of the secret.
fn without_line_end(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}

/// The complaint never repeats the secret.
pub fn judge(secret: &str, access_key_id: &str) -> Result<(), String> {
    well_formed(secret)?;
    let say = |why: &str| Err(format!("the secret {why}"));
    if secret.eq_ignore_ascii_case(access_key_id)
        || WELL_KNOWN.contains(&secret.to_ascii_lowercase().as_str())
    {
        return say("is one that everybody knows; make one with: openssl rand -hex 20");
    }
    if secret.chars().count() < MIN_SECRET_CHARS {
        return say("is shorter than 8 characters; make one with: openssl rand -hex 20");
    }
    Ok(())
}

fn well_formed(secret: &str) -> Result<(), String> {
    let say = |why: &str| Err(format!("the secret {why}"));
    if secret.is_empty() {
        return say("is empty");
    }
    if secret.chars().any(char::is_control) {
        return say("has a line end or another control character in it");
    }
    if secret.trim() != secret {
        return say("begins or ends with a space");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn weak_secrets_are_refused_without_repeating_them() {
        for weak in ["", "minioadmin", "MinioAdmin", "xyz12", " padded-secret", "a\nb-c-d-e-f", "AKID1234"] {
            let why = judge(weak, "AKID1234").unwrap_err();
            assert!(weak.is_empty() || !why.contains(weak.trim()), "{why}");
        }
        assert_eq!(judge("wJalrXUtnFEMI/K7MDENG+bPxRfi...", "AKID"), Ok(()));
    }

    #[test]
    fn one_line_end_is_not_part_of_a_secret() {
        assert_eq!(without_line_end("abc\n"), "abc");
        assert_eq!(without_line_end("abc\r\n"), "abc");
        assert_eq!(without_line_end("abc\n\n"), "abc\n");
        assert_eq!(without_line_end("abc"), "abc");
    }
}
