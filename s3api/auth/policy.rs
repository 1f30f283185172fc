//! The policy of a form: until when, and what its fields may be
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTConstructPolicy.html>).

use super::date;
use super::form::{Fields, field};
use crate::error::{Code, Result, S3Error};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use types::Timestamp;

/// Policies have some hundred bytes; AWS takes 20 KB of fields before the file.
const MAX_POLICY_BYTES: usize = 20 * 1024;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Policy {
    expires_at: i64,
    conditions: Vec<Condition>,
    pub length_range: Option<(u64, u64)>,
}

#[derive(Debug, PartialEq, Eq)]
struct Condition {
    /// In lower case, without `$`.
    field: String,
    is_prefix: bool,
    value: String,
}

impl Policy {
    pub fn parse(encoded: &str) -> Result<Self> {
        // Browsers may fold the text of a field.
        let encoded: String =
            encoded.chars().filter(|c| !c.is_ascii_whitespace()).take(MAX_POLICY_BYTES + 1).collect();
        if encoded.len() > MAX_POLICY_BYTES {
            return Err(invalid("it is too large."));
        }
        let text = STANDARD.decode(encoded).map_err(|_| invalid("Invalid base64."))?;
        let json: Value = serde_json::from_slice(&text).map_err(|_| invalid("Invalid JSON."))?;
        let expiration = json
            .get("expiration")
            .and_then(Value::as_str)
            .ok_or_else(|| invalid("Policy missing expiration."))?;
        let expires_at = date::parse_iso(expiration).ok_or_else(|| invalid("Invalid 'expiration' value."))?;
        let listed = json
            .get("conditions")
            .and_then(Value::as_array)
            .ok_or_else(|| invalid("Policy missing conditions."))?;
        let mut policy = Self { expires_at, conditions: Vec::new(), length_range: None };
        for condition in listed {
            policy.add(condition)?;
        }
        Ok(policy)
    }

    fn add(&mut self, condition: &Value) -> Result<()> {
        match condition {
            Value::Object(fields) => fields.iter().try_for_each(|(name, value)| {
                let value = value
                    .as_str()
                    .ok_or_else(|| invalid("Invalid Simple-Condition: value must be a string."))?;
                self.expect(name, false, value);
                Ok(())
            }),
            Value::Array(parts) => self.add_operation(parts),
            _ => Err(invalid("Invalid condition.")),
        }
    }

    fn add_operation(&mut self, parts: &[Value]) -> Result<()> {
        let [operation, first, second] = parts else {
            return Err(invalid("a condition has three parts."));
        };
        let operation = operation.as_str().unwrap_or_default().to_ascii_lowercase();
        if operation == "content-length-range" {
            return self.add_range(first, second);
        }
        let (name, value) =
            first.as_str().zip(second.as_str()).ok_or_else(|| invalid("Invalid condition."))?;
        let name = name.strip_prefix('$').ok_or_else(|| invalid("a condition's field begins with $."))?;
        match operation.as_str() {
            "eq" => self.expect(name, false, value),
            "starts-with" => self.expect(name, true, value),
            _ => return Err(invalid("unknown operation.")),
        }
        Ok(())
    }

    fn expect(&mut self, field: &str, is_prefix: bool, value: &str) {
        self.conditions.push(Condition {
            field: field.to_ascii_lowercase(),
            is_prefix,
            value: value.to_owned(),
        });
    }

    /// Several ranges: all of them hold.
    fn add_range(&mut self, min: &Value, max: &Value) -> Result<()> {
        let (min, max) =
            number(min).zip(number(max)).ok_or_else(|| invalid("Invalid content-length-range."))?;
        let (lower, upper) = self.length_range.unwrap_or((0, u64::MAX));
        self.length_range = Some((min.max(lower), max.min(upper)));
        Ok(())
    }

    pub fn check(&self, fields: Fields<'_>, bucket: &str, now: Timestamp) -> Result<()> {
        if i64::try_from(now.secs()).is_ok_and(|now| now > self.expires_at) {
            return Err(denied("Policy expired."));
        }
        for condition in &self.conditions {
            condition.check(fields, bucket)?;
        }
        fields.iter().try_for_each(|(name, _)| self.check_covered(name))
    }

    /// A field that no condition names was added by somebody else than the signer.
    fn check_covered(&self, name: &str) -> Result<()> {
        let name = name.to_ascii_lowercase();
        let free =
            matches!(name.as_str(), "policy" | "file" | "x-amz-signature" | "signature" | "awsaccesskeyid");
        if free
            || name.starts_with("x-ignore-")
            || self.conditions.iter().any(|condition| condition.field == name)
        {
            return Ok(());
        }
        Err(denied(&format!("Extra input fields: {name}")))
    }
}

impl Condition {
    /// The bucket is the one that is written to, whatever a field says.
    fn check(&self, fields: Fields<'_>, bucket: &str) -> Result<()> {
        let mut given = fields
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case(&self.field))
            .map(|(_, value)| value.as_str());
        let holds = match self.field.as_str() {
            "bucket" => self.allows(bucket),
            // Every line of a repeated field, since it is not known here which one will count.
            field_name => {
                given.all(|value| self.allows(value))
                    && self.allows(field(fields, field_name).unwrap_or_default())
            }
        };
        match holds {
            true => Ok(()),
            false => Err(denied(&format!(
                "Policy Condition failed: [\"{}\", \"${}\", \"{}\"]",
                self.operation(),
                self.field,
                self.value
            ))),
        }
    }

    fn allows(&self, value: &str) -> bool {
        match self.is_prefix {
            true => value.starts_with(&self.value),
            false => value == self.value,
        }
    }

    fn operation(&self) -> &'static str {
        if self.is_prefix { "starts-with" } else { "eq" }
    }
}

/// Some clients write numbers as text.
fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

fn invalid(why: &str) -> S3Error {
    S3Error::new(Code::InvalidPolicyDocument, format!("Invalid Policy: {why}"))
}

fn denied(why: &str) -> S3Error {
    S3Error::new(Code::AccessDenied, format!("Invalid according to Policy: {why}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn check(conditions: &str, fields: &[(&str, &str)]) -> std::result::Result<Option<(u64, u64)>, Code> {
        let text = format!(r#"{{"expiration": "2026-11-24T02:00:00Z", "conditions": {conditions}}}"#);
        let policy = Policy::parse(&STANDARD.encode(text)).map_err(|error| error.code)?;
        let fields: Vec<_> =
            fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        policy.check(&fields, "files", Timestamp::from_secs(1_795_485_000)).map_err(|error| error.code)?;
        Ok(policy.length_range)
    }

    #[test]
    fn conditions_hold_or_not() {
        let key = r#"[["starts-with", "$Key", "user/"], {"bucket": "files"}]"#;
        assert_eq!(check(key, &[("key", "user/a"), ("bucket", "other"), ("x-ignore-me", "")]), Ok(None));
        assert_eq!(check(key, &[("key", "user"), ("policy", "")]), Err(Code::AccessDenied));
        assert_eq!(check(key, &[("key", "user/a"), ("key", "other")]), Err(Code::AccessDenied));
        assert_eq!(check(r#"[{"bucket": "others"}]"#, &[]), Err(Code::AccessDenied));
        assert_eq!(check("[]", &[("key", "a")]), Err(Code::AccessDenied));
        assert_eq!(check(r#"[["eq", "$acl", "private"]]"#, &[]), Err(Code::AccessDenied));
    }

    #[test]
    fn ranges_meet() {
        let ranges = r#"[["content-length-range", 1, "10"], ["content-length-range", 5, 20]]"#;
        assert_eq!(check(ranges, &[]), Ok(Some((5, 10))));
        assert_eq!(check(r#"[["content-length-range", -1, 10]]"#, &[]), Err(Code::InvalidPolicyDocument));
    }

    #[test]
    fn rubbish_is_refused() {
        for bad in [
            "{}",
            "[1]",
            "[[]]",
            r#"[["eq", "key", "a"]]"#,
            r#"[["ne", "$key", "a"]]"#,
            r#"[{"key": 1}]"#,
            "[",
        ] {
            assert_eq!(check(bad, &[]), Err(Code::InvalidPolicyDocument), "{bad}");
        }
        for bad in ["", "!", &STANDARD.encode("{}"), &"A".repeat(30_000)] {
            assert_eq!(Policy::parse(bad).unwrap_err().code, Code::InvalidPolicyDocument);
        }
    }

    #[test]
    fn policies_expire() {
        let policy =
            Policy::parse(&STANDARD.encode(r#"{"expiration": "2026-11-24T02:00:00Z", "conditions": []}"#))
                .unwrap();
        assert!(policy.check(&[], "files", Timestamp::from_secs(1_795_485_601)).is_err());
    }
}
