//! The policy of a form.
//!
//! Input: a line with fields (`name=value&name=value`), then the policy before its base64.

use crate::text::first_line;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use s3api::fuzz::auth::{NOW, check_policy};

pub fn run(data: &[u8]) {
    let (line, policy) = first_line(data);
    let Ok(line) = std::str::from_utf8(line) else { return };
    let mut fields: Vec<(String, String)> = line
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let encoded = STANDARD.encode(policy);
    if check_policy(&encoded, &fields, "app1-files", NOW).is_ok() {
        fields.push(("a field that nobody allowed".to_owned(), String::new()));
        let named =
            policy.windows(27).any(|window| window.eq_ignore_ascii_case(b"a field that nobody allowed"));
        assert!(named || check_policy(&encoded, &fields, "app1-files", NOW).is_err());
    }
    // And as a client may send it: base64 or not.
    let _ = std::str::from_utf8(policy).map(|text| check_policy(text, &fields, "app1-files", NOW));
}
