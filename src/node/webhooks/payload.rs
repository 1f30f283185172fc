//! What a receiver reads: the form of S3's event notifications
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html>).

use crate::finding::Finding;
use serde_json::{Value, json};
use store::{Cause, Event};
use types::{BucketId, Timestamp};

/// One document for a batch. `bucket_name` knows the names that ids stand for.
pub fn document(
    hook: &str,
    events: &[(u64, Event)],
    bucket_name: impl Fn(BucketId) -> Option<String>,
) -> String {
    let records: Vec<Value> =
        events.iter().map(|(sequence, event)| record(hook, *sequence, event, &bucket_name)).collect();
    json!({ "Records": records }).to_string()
}

/// What is noted of a finding. `state`: begun, or over.
pub fn trouble(finding: &Finding, state: &str) -> String {
    let Finding { severity, code, message, remedy } = finding;
    json!({ "code": code, "state": state, "severity": severity, "message": message, "remedy": remedy })
        .to_string()
}

fn record(
    hook: &str,
    sequence: u64,
    event: &Event,
    bucket_name: &impl Fn(BucketId) -> Option<String>,
) -> Value {
    // Grows with every change of a key, so that a receiver can put them in order.
    let sequencer = format!("{sequence:016X}");
    let mut record = json!({
        "eventVersion": "2.3",
        "eventSource": "s3-orchestrator:s3",
        "awsRegion": "",
        "eventTime": time(event.at()),
        "eventName": name(event),
    });
    match event {
        Event::Created { bucket, key, size, etag, .. } => {
            record["s3"] = object(hook, bucket_name(*bucket), key.as_str(), &sequencer);
            record["s3"]["object"]["size"] = json!(size);
            record["s3"]["object"]["eTag"] = json!(etag.to_string().trim_matches('"'));
        }
        Event::Removed { bucket, key, .. } => {
            record["s3"] = object(hook, bucket_name(*bucket), key.as_str(), &sequencer);
        }
        Event::Notice { text, .. } => {
            record["trouble"] = serde_json::from_str(text).unwrap_or_else(|_| json!(text));
            record["trouble"]["sequencer"] = json!(sequencer);
        }
    }
    record
}

fn object(hook: &str, bucket: Option<String>, key: &str, sequencer: &str) -> Value {
    json!({
        "s3SchemaVersion": "1.0",
        "configurationId": hook,
        "bucket": { "name": bucket },
        "object": { "key": encoded(key), "sequencer": sequencer },
    })
}

fn name(event: &Event) -> String {
    match event {
        Event::Created { cause: Cause::Put, .. } => "ObjectCreated:Put".to_owned(),
        Event::Created { cause: Cause::Copy, .. } => "ObjectCreated:Copy".to_owned(),
        Event::Created { cause: Cause::Complete, .. } => "ObjectCreated:CompleteMultipartUpload".to_owned(),
        Event::Removed { .. } => "ObjectRemoved:Delete".to_owned(),
        Event::Notice { text, .. } => {
            let notice: Value = serde_json::from_str(text).unwrap_or_default();
            format!("Trouble:{}", camel(notice["code"].as_str().unwrap_or("unknown")))
        }
    }
}

/// `disk-full` as S3 would write it.
fn camel(code: &str) -> String {
    let word = |word: &str| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect::<String>()
    };
    code.split('-').map(word).collect()
}

/// As in a form, which is how S3 writes keys here: a space is a plus.
fn encoded(key: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(key.len());
    for byte in key.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' | b'/' => {
                out.push(byte as char)
            }
            b' ' => out.push('+'),
            // Writing to a String cannot fail.
            _ => drop(write!(out, "%{byte:02X}")),
        }
    }
    out
}

fn time(at: Timestamp) -> String {
    let at = jiff::Timestamp::from_millisecond(i64::try_from(at.0).unwrap_or(0)).unwrap_or_default();
    at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use types::{ETag, Key};

    #[test]
    fn records_have_the_form_that_receivers_of_s3_know() {
        let created = Event::Created {
            bucket: BucketId(1),
            key: Key::new("a b/ü+1.jpg").unwrap(),
            cause: Cause::Put,
            size: 5,
            etag: ETag { md5: [0xab; 16], parts: None },
            at: Timestamp(1_700_000_000_123),
        };
        let text = document("h", &[(255, created)], |_| Some("photos".to_owned()));
        let value: Value = serde_json::from_str(&text).unwrap();
        let record = &value["Records"][0];
        assert_eq!(record["eventName"], "ObjectCreated:Put");
        assert_eq!(record["eventTime"], "2023-11-14T22:13:20.123Z");
        assert_eq!(record["s3"]["bucket"]["name"], "photos");
        assert_eq!(record["s3"]["object"]["key"], "a+b/%C3%BC%2B1.jpg");
        assert_eq!(record["s3"]["object"]["eTag"], "ab".repeat(16));
        assert_eq!(record["s3"]["object"]["size"], 5);
        assert_eq!(record["s3"]["object"]["sequencer"], "00000000000000FF");
        assert_eq!(record["s3"]["configurationId"], "h");
    }

    #[test]
    fn trouble_is_told_in_its_own_words() {
        let text = trouble(&Finding::error("disk-full", "the disk is full", "make room"), "begun");
        let notice = Event::Notice { text, at: Timestamp(0) };
        let value: Value = serde_json::from_str(&document("h", &[(1, notice)], |_| None)).unwrap();
        assert_eq!(value["Records"][0]["eventName"], "Trouble:DiskFull");
        assert_eq!(value["Records"][0]["trouble"]["state"], "begun");
        assert_eq!(value["Records"][0]["trouble"]["severity"], "error");
    }
}
