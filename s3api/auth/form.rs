//! Signatures in a form: a browser's POST upload with a policy
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-authentication-HTTPPOST.html>; version 2:
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/HTTPPOSTForms.html>).
//!
//! What is signed is the policy, in base64; the policy says what the other fields may be.

use super::payload::Payload;
use super::policy::Policy;
use super::scope::Scope;
use super::{
    Authenticated, SigningKeys, Via, constant_time, date, hmac_sha1, refusal, refuse_session_token, v4,
};
use crate::error::{Code, Result, S3Error};
use crate::options::{Credential, Options};
use types::Timestamp;

/// Fields before the file, in order: names in any case, `${filename}` already replaced.
pub(super) type Fields<'a> = &'a [(String, String)];

/// Whether a form claims no signature at all: a bucket may allow anonymous writing.
pub fn form_is_anonymous(fields: &[(String, String)]) -> bool {
    ["policy", "signature", "awsaccesskeyid", "x-amz-signature", "x-amz-credential", "x-amz-algorithm"]
        .iter()
        .all(|name| field(fields, name).is_none())
}

/// Who made this form, and that its policy allows the fields. The size of the file is for the caller
/// to hold against [`Authenticated::length_range`].
pub fn authenticate_form(
    fields: &[(String, String)],
    bucket: &str,
    options: &Options,
    keys: &SigningKeys,
    now: Timestamp,
) -> Result<Authenticated> {
    let policy = require(fields, "policy")?;
    refuse_session_token(field(fields, "x-amz-security-token").is_some())?;
    let credential = match is_v4(fields) {
        true => verify_v4(fields, policy, options, keys)?,
        false => verify_v2(fields, policy, options)?,
    };
    let policy = Policy::parse(policy)?;
    policy.check(fields, bucket, now)?;
    Ok(Authenticated {
        credential,
        payload: Payload::Unsigned,
        via: Via::Form,
        length_range: policy.length_range,
    })
}

fn is_v4(fields: Fields<'_>) -> bool {
    ["x-amz-signature", "x-amz-credential", "x-amz-algorithm"]
        .iter()
        .any(|name| field(fields, name).is_some())
}

fn verify_v4(fields: Fields<'_>, policy: &str, options: &Options, keys: &SigningKeys) -> Result<Credential> {
    if require(fields, "x-amz-algorithm")? != v4::ALGORITHM {
        return Err(S3Error::new(
            Code::InvalidArgument,
            "X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\"",
        ));
    }
    let (text, date) = (require(fields, "x-amz-credential")?, require(fields, "x-amz-date")?);
    let signature = require(fields, "x-amz-signature")?;
    let scope = Scope::parse(text).map_err(|why| {
        S3Error::new(Code::InvalidArgument, format!("Error parsing the X-Amz-Credential parameter; {why}"))
    })?;
    if date::parse_amz(date).is_none() || !date.starts_with(scope.day) {
        return Err(S3Error::invalid_argument(
            "X-Amz-Date is malformed or not of the credential's day",
            "X-Amz-Date",
            date,
        ));
    }
    let credential = options.credentials.get(scope.access_key);
    let computed = keys.get(credential, &scope).sign(policy.as_bytes());
    judge(credential, scope.access_key, &computed, signature, policy)
}

/// boto3 makes such forms.
fn verify_v2(fields: Fields<'_>, policy: &str, options: &Options) -> Result<Credential> {
    let (access_key, signature) = (require(fields, "awsaccesskeyid")?, require(fields, "signature")?);
    if !options.sigv2_presigned {
        return Err(refusal::unsupported_mechanism());
    }
    let credential = options.credentials.get(access_key);
    let secret = credential.map_or("nobody", |credential| credential.secret.expose());
    judge(credential, access_key, &hmac_sha1::sign(secret, policy.as_bytes()), signature, policy)
}

fn judge(
    credential: Option<&Credential>,
    access_key: &str,
    computed: &str,
    claimed: &str,
    signed: &str,
) -> Result<Credential> {
    let right = constant_time::equal(computed.as_bytes(), claimed.as_bytes());
    let credential = credential.ok_or_else(|| refusal::unknown_key(access_key))?;
    match right {
        true => Ok(credential.clone()),
        false => Err(refusal::mismatch()
            .with("AWSAccessKeyId", access_key)
            .with("StringToSign", signed)
            .with("SignatureProvided", claimed)),
    }
}

/// The first field of this name; a second one does not count, here or in the policy.
pub(super) fn field<'a>(fields: Fields<'a>, name: &str) -> Option<&'a str> {
    fields.iter().find(|(candidate, _)| candidate.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

fn require<'a>(fields: Fields<'a>, name: &str) -> Result<&'a str> {
    field(fields, name).ok_or_else(|| {
        let message = format!("Bucket POST must contain a field named '{name}'.  If it is specified, please check the order of the fields.");
        S3Error::new(Code::InvalidArgument, message).with("ArgumentName", name)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::auth::testing;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    const TEXT: &str = r#"{"expiration": "2026-11-24T02:00:00Z", "conditions": [{"bucket": "app1-files"},
        ["starts-with", "$key", "user/"], {"x-amz-algorithm": "AWS4-HMAC-SHA256"}, {"x-amz-date": "20261124T015000Z"},
        ["starts-with", "$x-amz-credential", ""], ["content-length-range", 1, 10]]}"#;

    fn v4_form(change: impl Fn(&mut Vec<(String, String)>)) -> Result<Authenticated> {
        let (options, keys) = (testing::options(), SigningKeys::new());
        let policy = STANDARD.encode(TEXT);
        let text = format!("{}/20261124/eu/s3/aws4_request", testing::ACCESS_KEY);
        let scope = Scope::parse(&text).unwrap();
        let signature =
            keys.get(options.credentials.get(testing::ACCESS_KEY), &scope).sign(policy.as_bytes());
        let mut fields: Vec<(String, String)> = [
            ("key", "user/a"),
            ("X-Amz-Algorithm", v4::ALGORITHM),
            ("X-Amz-Credential", &text),
            ("X-Amz-Date", "20261124T015000Z"),
            ("Policy", &policy),
            ("X-Amz-Signature", &signature),
        ]
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
        change(&mut fields);
        authenticate_form(&fields, "app1-files", &options, &keys, testing::NOW)
    }

    fn code(change: impl Fn(&mut Vec<(String, String)>)) -> Code {
        v4_form(change).unwrap_err().code
    }

    #[test]
    fn a_signed_form_passes() {
        let who = v4_form(|_| {}).unwrap();
        assert_eq!((who.via, who.length_range), (Via::Form, Some((1, 10))));
    }

    #[test]
    fn a_changed_form_is_refused() {
        assert_eq!(code(|fields| fields[0].1 = "other/a".into()), Code::AccessDenied);
        assert_eq!(code(|fields| fields.push(("acl".into(), "public".into()))), Code::AccessDenied);
        assert_eq!(code(|fields| fields[3].1 = "20261124T015001Z".into()), Code::AccessDenied);
        assert_eq!(code(|fields| fields[4].1.insert(0, 'A')), Code::SignatureDoesNotMatch);
        assert_eq!(code(|fields| fields[5].1.push('0')), Code::SignatureDoesNotMatch);
        assert_eq!(code(|fields| fields[2].1.insert(0, 'A')), Code::InvalidAccessKeyId);
        assert_eq!(code(|fields| fields[1].1.clear()), Code::InvalidArgument);
        for n in 1..6 {
            assert_eq!(code(|fields| drop(fields.remove(n))), Code::InvalidArgument);
        }
    }

    #[test]
    fn version_2() {
        let policy = STANDARD
            .encode(r#"{"expiration": "2026-11-24T02:00:00.000Z", "conditions": [["eq", "$key", "a"]]}"#);
        let form = |key: &str, secret: &str, options: &Options| {
            let fields = [
                ("key", key),
                ("AWSAccessKeyId", testing::ACCESS_KEY),
                ("policy", &policy),
                ("signature", &hmac_sha1::sign(secret, policy.as_bytes())),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
            authenticate_form(&fields, "app1-files", options, &SigningKeys::new(), testing::NOW)
                .map_err(|error| error.code)
        };
        let mut options = testing::options();
        assert!(form("a", testing::SECRET, &options).is_ok());
        assert_eq!(form("b", testing::SECRET, &options).unwrap_err(), Code::AccessDenied);
        assert_eq!(form("a", "wrong", &options).unwrap_err(), Code::SignatureDoesNotMatch);
        options.sigv2_presigned = false;
        assert_eq!(form("a", testing::SECRET, &options).unwrap_err(), Code::InvalidRequest);
    }

    #[test]
    fn anonymous_forms() {
        assert!(form_is_anonymous(&[("key".into(), "a".into())]));
        assert!(!form_is_anonymous(&[("Policy".into(), String::new())]));
    }
}
