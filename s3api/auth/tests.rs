//! Requests signed here and then changed: every change of what is signed must be refused.

#![allow(clippy::unwrap_used)]

use super::canonical::{self, Signed};
use super::scope::Scope;
use super::testing::{self, ACCESS_KEY, NOW};
use super::*;
use sha2::{Digest, Sha256};

const SIGNED: &str = "content-type;host;x-amz-content-sha256;x-amz-date;x-amz-meta-a";

#[derive(Clone)]
struct Request {
    method: Method,
    path: String,
    query: String,
    headers: HeaderMap,
    virtual_bucket: Option<&'static str>,
}

impl Request {
    fn new() -> Self {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("host", "s3.example.org:9000"),
            ("content-type", "text/plain"),
            ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
            ("x-amz-date", "20261124T015000Z"),
            ("x-amz-meta-a", "b"),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        let (path, query) = ("/app1-files/a%20b".to_owned(), "partNumber=1&uploadId=2".to_owned());
        Self { method: Method::PUT, path, query, headers, virtual_bucket: None }
    }

    fn head(&self) -> Head<'_> {
        let (method, headers) = (&self.method, &self.headers);
        Head { method, path: &self.path, query: &self.query, headers, virtual_bucket: self.virtual_bucket }
    }

    fn signature(&self, signed_headers: &str, payload: &str) -> String {
        let text = format!("{ACCESS_KEY}/20261124/eu/s3/aws4_request");
        let scope = Scope::parse(&text).unwrap();
        let canonical =
            canonical::request(&self.head(), &Signed { headers: signed_headers, payload, host: None });
        let mut to_sign = format!("AWS4-HMAC-SHA256\n20261124T015000Z\n{}\n", scope.scope);
        v4::push_hex(&Sha256::digest(&canonical), &mut to_sign);
        SigningKeys::new().get(Some(&testing::credential()), &scope).sign(to_sign.as_bytes())
    }

    fn sign(mut self) -> Self {
        let payload = self.headers["x-amz-content-sha256"].to_str().unwrap();
        let signature = self.signature(SIGNED, payload);
        let text = format!(
            "AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/20261124/eu/s3/aws4_request,SignedHeaders={SIGNED},Signature={signature}"
        );
        self.headers.insert("authorization", text.parse().unwrap());
        self
    }

    fn presign(mut self) -> Self {
        for name in ["content-type", "x-amz-content-sha256", "x-amz-date", "x-amz-meta-a"] {
            self.headers.remove(name);
        }
        self.query = format!(
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={ACCESS_KEY}%2F20261124%2Feu%2Fs3%2Faws4_request&X-Amz-Date=20261124T015000Z&X-Amz-Expires=300&X-Amz-SignedHeaders=host"
        );
        let signature = self.signature("host", "UNSIGNED-PAYLOAD");
        self.query.push_str("&X-Amz-Signature=");
        self.query.push_str(&signature);
        self
    }

    fn presign_v2(mut self) -> Self {
        self.headers.remove("x-amz-date");
        let text = "PUT\n\ntext/plain\n1795485300\nx-amz-content-sha256:UNSIGNED-PAYLOAD\nx-amz-meta-a:b\n/app1-files/a%20b?partNumber=1&uploadId=2";
        let signature = hmac_sha1::sign(testing::SECRET, text.as_bytes());
        let signature = percent_encoding::utf8_percent_encode(&signature, percent_encoding::NON_ALPHANUMERIC);
        self.query
            .push_str(&format!("&AWSAccessKeyId={ACCESS_KEY}&Expires=1795485300&Signature={signature}"));
        self
    }

    fn judge_with(&self, options: &Options, now: Timestamp) -> std::result::Result<Access, Code> {
        authenticate(&self.head(), options, &SigningKeys::new(), now).map_err(|error| error.code)
    }

    fn judge(&self) -> Option<Code> {
        self.judge_with(&testing::options(), NOW).err()
    }
}

fn changed(request: &Request, change: impl FnOnce(&mut Request)) -> Option<Code> {
    let mut request = request.clone();
    change(&mut request);
    request.judge()
}

#[test]
fn each_part_of_a_signed_request_counts() {
    let request = Request::new().sign();
    assert_eq!(request.judge(), None);
    let mismatch = Some(Code::SignatureDoesNotMatch);
    assert_eq!(changed(&request, |r| r.method = Method::POST), mismatch);
    assert_eq!(changed(&request, |r| r.query.push_str("&acl")), mismatch);
    assert_eq!(changed(&request, |r| r.query.clear()), mismatch);
    for name in ["host", "content-type", "x-amz-meta-a"] {
        assert_eq!(
            changed(&request, |r| drop(r.headers.insert(name, "x".parse().unwrap()))),
            mismatch,
            "{name}"
        );
        assert_eq!(changed(&request, |r| drop(r.headers.remove(name))), mismatch, "{name}");
        assert_eq!(
            changed(&request, |r| assert!(r.headers.append(name, "x".parse().unwrap()))),
            mismatch,
            "{name}"
        );
    }
    assert_eq!(
        changed(&request, |r| drop(r.headers.insert("x-amz-acl", "x".parse().unwrap()))),
        Some(Code::AccessDenied)
    );
    assert_eq!(
        changed(&request, |r| assert!(r.headers.append("authorization", "x".parse().unwrap()))),
        Some(Code::InvalidArgument)
    );
}

#[test]
fn each_byte_of_path_and_authorization_counts() {
    for request in [Request::new().sign(), Request::new().presign(), Request::new().presign_v2()] {
        assert_eq!(request.judge(), None);
        for at in 1..request.path.len() {
            let change = |r: &mut Request| {
                r.path.replace_range(at..=at, if &r.path[at..=at] == "x" { "y" } else { "x" })
            };
            assert_eq!(changed(&request, change), Some(Code::SignatureDoesNotMatch));
        }
        for at in 0..request.query.len() {
            let change = |r: &mut Request| {
                r.query.replace_range(at..=at, if &r.query[at..=at] == "7" { "6" } else { "7" })
            };
            assert!(changed(&request, change).is_some(), "{at} of {}", request.query);
        }
    }
    let request = Request::new().sign();
    let text = request.headers["authorization"].to_str().unwrap().to_owned();
    for at in 0..text.len() {
        let mut other = text.clone();
        other.replace_range(at..=at, if &text[at..=at] == "7" { "6" } else { "7" });
        assert!(
            changed(&request, |r| drop(r.headers.insert("authorization", other.parse().unwrap()))).is_some(),
            "{other}"
        );
    }
}

#[test]
fn each_digit_of_date_and_hash_counts() {
    let request = Request::new().sign();
    for (name, other) in [
        ("x-amz-date", "20261124T015001Z"),
        ("x-amz-date", "20261123T015000Z"),
        ("x-amz-content-sha256", &"0".repeat(64)),
    ] {
        assert!(changed(&request, |r| drop(r.headers.insert(name, other.parse().unwrap()))).is_some());
    }
}

#[test]
fn signatures_end() {
    let options = testing::options();
    let late = |secs: u64| NOW.saturating_add_ms(secs * 1000);
    let code = |request: &Request, now| request.judge_with(&options, now).err();
    let header = Request::new().sign();
    assert_eq!(code(&header, late(900)), None);
    assert_eq!(code(&header, late(901)), Some(Code::RequestTimeTooSkewed));
    for request in [Request::new().presign(), Request::new().presign_v2()] {
        assert_eq!(code(&request, late(300)), None);
        assert_eq!(code(&request, late(301)), Some(Code::AccessDenied));
    }
    assert_eq!(code(&Request::new().presign(), NOW.saturating_sub_ms(901_000)), Some(Code::AccessDenied));
    assert_eq!(
        code(&Request::new().presign_v2(), NOW.saturating_sub_ms(604_800_000)),
        Some(Code::AccessDenied)
    );
}

#[test]
fn a_proxy_may_rewrite_the_host() {
    let mut request = Request::new().sign();
    request.headers.insert("host", "127.0.0.1:9000".parse().unwrap());
    let mut options = testing::options();
    assert!(request.judge_with(&options, NOW).is_err());
    options.external_url = Some("https://s3.example.org:9000/".into());
    assert!(request.judge_with(&options, NOW).is_ok());
    request.virtual_bucket = Some("app1-files");
    assert!(request.judge_with(&options, NOW).is_err());
    options.external_url = Some("https://example.org".into());
    assert!(request.judge_with(&options, NOW).is_err());
}

#[test]
fn version_2_names_the_bucket_wherever_it_stands() {
    let mut request = Request::new().presign_v2();
    request.path = "/a%20b".into();
    assert_eq!(request.judge(), Some(Code::SignatureDoesNotMatch));
    request.virtual_bucket = Some("app1-files");
    assert_eq!(request.judge(), None);
}

#[test]
fn version_2_can_be_switched_off() {
    let options = Options { sigv2_presigned: false, ..testing::options() };
    assert_eq!(Request::new().presign_v2().judge_with(&options, NOW).err(), Some(Code::InvalidRequest));
    let mut request = Request::new();
    request.headers.insert("authorization", "AWS a:b".parse().unwrap());
    assert_eq!(request.judge(), Some(Code::InvalidRequest));
}

#[test]
fn tokens_of_temporary_credentials_are_refused() {
    let mut request = Request::new().sign();
    request.headers.insert("x-amz-security-token", "t".parse().unwrap());
    assert_eq!(request.judge(), Some(Code::InvalidToken));
    let mut request = Request::new().presign();
    request.query.push_str("&X-Amz-Security-Token=t");
    assert_eq!(request.judge(), Some(Code::InvalidToken));
}

#[test]
fn the_payload_is_what_was_signed() {
    let payload = |text: &str| {
        let mut request = Request::new();
        request.headers.insert("x-amz-content-sha256", text.parse().unwrap());
        match request.sign().judge_with(&testing::options(), NOW).unwrap() {
            Access::Signed(who) => who.payload,
            Access::Anonymous => panic!("it is signed"),
        }
    };
    assert!(matches!(payload("UNSIGNED-PAYLOAD"), Payload::Unsigned));
    assert!(matches!(payload(&"1a".repeat(32)), Payload::Sha256(hash) if hash == [0x1a; 32]));
    assert!(matches!(payload("STREAMING-UNSIGNED-PAYLOAD-TRAILER"), Payload::UnsignedChunks));
    assert!(payload("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER").refuse_chunked().is_err());
}

#[test]
fn no_signature_is_anonymous() {
    assert!(matches!(Request::new().judge_with(&testing::options(), NOW), Ok(Access::Anonymous)));
}

/// A secret never reaches a log by way of `Debug`.
#[test]
fn nothing_secret_is_shown() {
    let mut request = Request::new();
    request.headers.insert("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD".parse().unwrap());
    let request = request.sign();
    let signature = request.headers["authorization"].to_str().unwrap().rsplit('=').next().unwrap().to_owned();
    let Ok(Access::Signed(who)) = request.judge_with(&testing::options(), NOW) else {
        panic!("it is signed")
    };
    let shown = format!("{who:?}");
    assert!(!shown.contains(testing::SECRET) && !shown.contains(&signature), "{shown}");
}
